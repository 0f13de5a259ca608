"""`python -m maillage`: a view from the shell; answers are JSON, one a line."""

import asyncio
import os
from collections.abc import AsyncIterable, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import click
import msgspec

from maillage.asking import base
from maillage.client import START, Client, Filters, Selection
from maillage.problems import Failure
from maillage.release import __version__


def address(_: click.Context, __: click.Parameter, url: str) -> str:
    """An address, where it can be one."""
    try:
        return str(base(url))
    except ValueError as why:
        raise click.BadParameter(str(why)) from None


URL = click.argument("url", callback=address)
FILTERS = click.argument("filters", nargs=-1, metavar="[NAME=VALUE]...")
AFTER = click.option("--after", default=START, show_default=True, help="The cursor to read on from.")
NOW = "now"
# Whoever waits at a terminal wants to know.
PATIENCE_S = 15.0
WAIT = click.option("--wait/--no-wait", default=True, help="Wait for what comes next, or end.")


@click.group()
@click.version_option(__version__, prog_name="maillage")
def main() -> None:
    """Read a common view, a registry or a notify at URL, and follow what changes."""


@main.command()
@URL
@FILTERS
def items(url: str, filters: tuple[str, ...]) -> None:
    """Places of a view, by filters such as q=atelier, departement=35,22 or bbox=-2,48,-1,49."""
    asked = cast(Filters, pairs(filters))
    ask(url, lambda view: printed(view.items(**asked)))


@main.command()
@URL
@click.argument("id")
def place(url: str, id: str) -> None:
    """One place with every voice; any id that it has ever had finds it."""

    async def show(view: Client) -> None:
        say(await view.place(id))

    ask(url, show)


@main.command()
@URL
@AFTER
@WAIT
def changes(url: str, after: str, wait: bool) -> None:
    """What changes in a view or a registry, also from `--after now` on.

    Each line has the cursor to read on from.
    """

    async def follow(node: Client) -> None:
        await printed(node.changes(await node.now() if after == NOW else after, wait=wait))

    ask(url, follow)


@main.command()
@URL
@FILTERS
@AFTER
@WAIT
def selected(url: str, filters: tuple[str, ...], after: str, wait: bool) -> None:
    """What changes in a selection, by filters such as departement=35, at a notify."""
    asked = cast(Selection, pairs(filters))
    ask(url, lambda notify: printed(notify.selected(after, wait=wait, **asked)))


@main.command()
@URL
@click.argument("path", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--etalab", is_flag=True, help="What is free under etalab-2.0 alone.")
@click.option("--as-of", help="As it was at a time, or on a day.")
def export(url: str, path: Path, etalab: bool, as_of: str | None) -> None:
    """All places as a file, whose ending says how: places.geojsonl, places.csv."""

    if not path.suffix:
        raise click.UsageError(f"Say by its ending what to write: {path}.geojsonl, {path}.csv.")

    async def fetch(view: Client) -> None:
        say(await view.export(path.suffix.removeprefix("."), path, etalab=etalab, as_of=as_of))

    ask(url, fetch)


def ask(url: str, question: Callable[[Client], Awaitable[None]]) -> None:
    """Ask an address; a failure is told in lines, with exit code 2."""

    async def asked() -> None:
        async with Client(url, language=language(), patience=PATIENCE_S) as client:
            await question(client)

    try:
        asyncio.run(asked())
    except (Failure, FileNotFoundError, PermissionError) as trouble:
        click.echo(str(trouble), err=True)
        click.get_current_context().exit(2)


async def printed(answers: AsyncIterable[Any]) -> None:
    """Print answers as they come."""
    async for answer in answers:
        say(answer)


def say(answer: Any) -> None:
    """Print an answer on one line."""
    click.echo(msgspec.json.encode(answer, enc_hook=str))


def pairs(words: tuple[str, ...]) -> dict[str, str]:
    """Parameters that are given as `name=value`."""
    found = dict(word.partition("=")[::2] for word in words)
    if missing := [name for name, value in found.items() if not value]:
        raise click.UsageError(f"Write {missing[0]}=VALUE.")
    return found


def language() -> str:
    """The language of whoever sits at the terminal."""
    said = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "fr" if said.lower().startswith("fr") else "en"


if __name__ == "__main__":
    main(prog_name="python -m maillage")
