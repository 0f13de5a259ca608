"""The command line of notify: `python -m services.notify serve | doctor`."""

import os

import services.notify
from services import cli, doctor, settings
from services.notify import app, checks
from services.notify.settings import PREFIX, Settings


def configured() -> Settings:
    """The settings of this process."""
    return settings.load(Settings, PREFIX, os.environ)


async def serve() -> None:
    """Serve with the settings of this process."""
    await app.serve(configured())


main = cli.commands(
    "notify",
    services.notify.__doc__,
    serve,
    doctor.command("notify", configured, app.SCRIPTS, checks.CHECKS),
)

if __name__ == "__main__":
    main()
