"""The command line of the sync: `python -m services.sync serve | follow | mute | leave | hide | answer | ...`."""

import os

import services.sync
from services import cli, settings
from services.sync import app, commands, comparing, repairing, verifying
from services.sync.settings import PREFIX, Settings


async def serve() -> None:
    """Serve with the settings of this process."""
    await app.serve(settings.load(Settings, PREFIX, os.environ))


COMMANDS = (
    *commands.COMMANDS,
    comparing.compare,
    verifying.verify,
    repairing.repair,
    repairing.reproject,
)
main = cli.commands("sync", services.sync.__doc__, serve, *COMMANDS)

if __name__ == "__main__":
    main()
