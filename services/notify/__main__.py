"""The command line of notify: `python -m services.notify serve`."""

import os

import services.notify
from services import cli, settings
from services.notify import app
from services.notify.settings import PREFIX, Settings


async def serve() -> None:
    """Serve with the settings of this process."""
    await app.serve(settings.load(Settings, PREFIX, os.environ))


main = cli.commands("notify", services.notify.__doc__, serve)

if __name__ == "__main__":
    main()
