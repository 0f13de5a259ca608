"""What `repair` says in both services: what is damaged, what is mended, and what to do."""

import os
from collections.abc import Sequence

import click

from services import cli
from services.errors import Args
from services.languages import Language, say
from services.mending import Told

from_option = click.option(
    "--from", "url", metavar="URL", help="Another holder: a sync, or the node itself. Without it, only tell."
)


def tell(what: str, args: Args, language: Language) -> str:
    """A line for whoever sits at the terminal."""
    return say(what, args, language)


def report(found: Sequence[Told], command: str) -> int:
    """Say what was found; the exit code: 0 where nothing is damaged any more."""
    language = cli.spoken(os.environ)
    for one in found:
        line = tell(one.what, one.args, language)
        whole = tell("{what} Mended.", {"what": line}, language) if one.mended else line
        click.echo(f"{one.whose}: {whole}" if one.whose else whole)
    left = sum(not one.mended for one in found)
    if not found:
        click.echo(tell("Nothing is damaged.", {}, language))
    elif left:
        args: Args = {"count": left, "command": f"{command} repair --from URL"}
        click.echo(
            tell("Damages that remain: {count}. Mend them from another holder: {command}", args, language)
        )
    return 1 if left else 0
