"""What `repair` says in both services: what is damaged, what is mended, and what to do."""

from collections.abc import Sequence

import click

from services import cli
from services.errors import Args
from services.mending import Told

from_option = click.option(
    "--from", "url", metavar="URL", help="Another holder: a sync, or the node itself. Without it, only tell."
)


def report(found: Sequence[Told], command: str) -> int:
    """Say what was found; the exit code: 0 where nothing is damaged any more."""
    for one in found:
        line = cli.phrase(one.what, one.args)
        whole = cli.phrase("{what} Mended.", {"what": line}) if one.mended else line
        click.echo(f"{one.whose}: {whole}" if one.whose else whole)
    left = sum(not one.mended for one in found)
    if not found:
        click.echo(cli.phrase("Nothing is damaged.", {}))
    elif left:
        args: Args = {"count": left, "command": f"{command} repair --from URL"}
        click.echo(cli.phrase("Damages that remain: {count}. Mend them from another holder: {command}", args))
    return 1 if left else 0
