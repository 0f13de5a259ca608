"""The operator's commands about whom she listens to: they write `trust.toml`, which a running sync takes up itself."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import get_args

import click
import msgspec

from schemas.place import NodeId, RecordId
from services import follow_store, ledger, settings
from services.errors import Conflict, NotFound, Unavailable
from services.identity import Identity
from services.sync import amending, app, asking, asking_store, trust
from services.sync.amending import Amended
from services.sync.asking_store import Asked
from services.sync.settings import PREFIX, Settings
from services.sync.trust import Alias, Hidden, HideReason, Trusted


class Written(click.ParamType[str]):
    """An argument that has a written form, shown by an example where it has not."""

    def __init__(self, form: object, name: str, example: str) -> None:
        self.name, self._form, self._example = name, form, example

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, if it has the form."""
        try:
            return str(msgspec.convert(value, self._form))
        except msgspec.ValidationError:
            return self.fail(f"{value!r} is no {self.name}: it is written like {self._example}", param, ctx)


NODE = Written(NodeId, "node", "b3x5kv3u65z3z7l3k7ij6dssjv")
RECORD = Written(RecordId, "record", "b3x5kv3u65z3z7l3k7ij6dssjv:01890a5d-ac96-774b-bcce-b302099a8057")
NAME = Written(Alias, "alias", "tiers-lieux-35")


def configured() -> Settings:
    """The settings of this process."""
    return settings.load(Settings, PREFIX, os.environ)


def amend(path: Path, change: Callable[[str], Amended]) -> str:
    """Change the trust file, all of it or nothing; what changed, in a line."""
    before = ""
    with suppress(FileNotFoundError):
        before = path.read_bytes().decode(errors="replace")
        trust.load(path)
    after = change(before)
    if after.text != before:
        _write(path.resolve(), after.text)
    return after.said


def _write(path: Path, text: str) -> None:
    """Put a file in the place of another, whose owner and mode it takes."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode())
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            shutil.copymode(path, part)
            # Only root may give files away; whoever else writes it may own it.
            with suppress(PermissionError):
                shutil.chown(part, path.stat().st_uid, path.stat().st_gid)
        else:
            Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _amend(change: Callable[[str], Amended]) -> None:
    click.echo(amend(Path(configured().trust), change))


@click.command("follow")
@click.argument("url")
@click.option("--alias", type=NAME, help="What this sync calls it; else the short name that it gives itself.")
@click.option("--node", type=NODE, help="Who must answer there.")
@click.option("--muted", is_flag=True, help="Prove and keep what it says, and leave it out of the view.")
def follow(url: str, alias: str | None, node: str | None, muted: bool) -> None:
    """Listen to the node at URL, pinned by its id; one that has forked is accepted again."""
    s = configured()
    at = asking.tidy(url)
    whose = asyncio.run(_met(at, node))
    click.echo(_printable(f"{whose.descriptor.name} ({whose.descriptor.slug}): node {whose.node}"))
    if asyncio.run(_accept(s, whose.node)):
        click.echo("It had forked: it is read anew, from its snapshot.")
    click.echo(
        amend(Path(s.trust), partial(_following, whose, at, alias=alias, mode="muted" if muted else "follow"))
    )


def _following(whose: Identity, url: str, text: str, *, alias: str | None, mode: str) -> Amended:
    known = amending.known(text, whose.node)
    name = alias or (known.alias if known else whose.descriptor.slug)
    said = {"node": whose.node, "url": url, "alias": name, "mode": mode}
    return amending.follow(text, msgspec.convert(said, Trusted))


async def _met(url: str, expected: str | None) -> Identity:
    """Who answers at a URL."""
    try:
        async with asking.operator_client() as client:
            whose = await asking.introduced(client, url)
    except asking.AWAY as error:
        reason = str(error) or type(error).__name__
        raise Unavailable("Nobody answers at {url}: {reason}", {"url": url, "reason": reason}) from None
    if expected is not None and whose.node != expected:
        args = {"url": url, "node": whose.node, "expected": expected}
        raise Conflict("At {url} answers node {node}, not {expected}.", args)
    return whose


async def _accept(s: Settings, node: str) -> bool:
    """Begin anew with a node that has forked; whether it had."""
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        known = await follow_store.node(conn, node)
        if known is None or known.state != "forked":
            return False
        await follow_store.start_over(conn, node)
    return True


@click.command("mute")
@click.argument("alias_or_node")
def mute(alias_or_node: str) -> None:
    """Go on proving and keeping what a node says, and leave it out of the view."""
    _amend(partial(amending.mute, name=alias_or_node))


@click.command("unmute")
@click.argument("alias_or_node")
def unmute(alias_or_node: str) -> None:
    """Let a muted node into the view again."""
    _amend(partial(amending.unmute, name=alias_or_node))


@click.command("leave")
@click.argument("alias_or_node")
def leave(alias_or_node: str) -> None:
    """Listen to a node no longer."""
    _amend(partial(amending.leave, name=alias_or_node))


@click.command("hide")
@click.argument("record", type=RECORD)
@click.option(
    "--reason", type=click.Choice(get_args(HideReason)), required=True, help="Everybody can read it."
)
def hide(record: str, reason: HideReason) -> None:
    """Leave one record out of the view, at once."""
    _amend(partial(amending.hide, hidden=Hidden(record=record, reason=reason, since=ledger.clock().date())))


@click.command("unhide")
@click.argument("record", type=RECORD)
def unhide(record: str) -> None:
    """Show a hidden record again."""
    _amend(partial(amending.unhide, record=record))


@click.command("asking")
def list_asking() -> None:
    """List the nodes that asked to be heard, and what they were answered."""
    for asked in asyncio.run(_everybody(configured())):
        answer = " ".join(filter(None, (asked.state, asked.code)))
        click.echo(
            _printable(f"{asked.node}  {asked.asked_at:%Y-%m-%d}  {answer}  {asked.url}  {asked.name}")
        )


async def _everybody(s: Settings) -> list[Asked]:
    async with app.database(s) as pool, pool.acquire() as conn:
        return await asking_store.everybody(conn)


@click.command("answer")
@click.argument("node", type=NODE)
@click.option(
    "--refuse", type=click.Choice(get_args(asking.Refusal)), required=True, help="Why; everybody can read it."
)
def answer(node: str, refuse: str) -> None:
    """Refuse a node that asked to be heard; to accept it, follow it."""
    asyncio.run(_refuse(configured(), node, refuse))
    click.echo(f"{node} is refused ({refuse}).")


async def _refuse(s: Settings, node: str, code: str) -> None:
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        await asking_store.alone(conn)
        asked = await asking_store.asked(conn, node)
        if asked is None:
            raise NotFound("Node {node} has not asked to be heard.", {"node": node})
        if asked.state == "accepted":
            raise Conflict("Node {node} is listened to: leave it first.", {"node": node})
        await asking_store.refuse(conn, node, code, ledger.clock())


def _printable(text: str) -> str:
    """Words of others for a terminal: nothing that it would take for an order."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


COMMANDS = (follow, mute, unmute, leave, hide, unhide, list_asking, answer)
