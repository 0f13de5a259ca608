"""The command line of the sync: `python -m services.sync serve | follow | mute | leave | hide | answer | ...`."""

import os

import services.sync
from services import cli, doctor, settings
from services.sync import app, checks, commands, comparing, making, repairing, ruling, verifying
from services.sync.settings import PREFIX, Settings


def configured() -> Settings:
    """The settings of this process."""
    return settings.load(Settings, PREFIX, os.environ)


async def serve() -> None:
    """Serve with the settings of this process."""
    await app.serve(configured())


COMMANDS = (
    *commands.COMMANDS,
    comparing.compare,
    verifying.verify,
    repairing.repair,
    repairing.reproject,
    making.rebuild,
    making.audit,
    ruling.group,
)
main = cli.commands(
    "sync",
    services.sync.__doc__,
    serve,
    *COMMANDS,
    doctor.command("sync", configured, app.SCRIPTS, checks.CHECKS),
)

if __name__ == "__main__":
    main()
