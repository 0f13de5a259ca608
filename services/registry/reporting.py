"""`python -m services.registry reports list | show | close`: the desk at a terminal."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import get_args
from uuid import UUID

import click
import msgspec

from services import cli, ledger
from services.errors import NotFound
from services.languages import Language
from services.ledger import stamp
from services.registry import app, reports, reports_store
from services.registry.keys import configured
from services.registry.reports import Decision
from services.registry.reports_store import Report, State
from services.registry.settings import Settings
from services.strict import decode_strict

AUTHOR = "admin:command line"
AT_ONCE = 1000
# As much of a text as stands in a line of the list.
EXCERPT = 60
KINDS: dict[Language, dict[str, str]] = {
    "en": {
        "wrong-value": "wrong value", "closed": "has closed", "duplicate": "listed twice",
        "missing": "missing place", "private": "should not be public", "other": "other",
    },
    "fr": {
        "wrong-value": "valeur fausse", "closed": "a fermé", "duplicate": "en double",
        "missing": "lieu manquant", "private": "ne devrait pas être public", "other": "autre",
    },
}  # fmt: skip
STATES: dict[Language, dict[State, str]] = {
    "en": {"open": "waits for an answer", "accepted": "accepted", "declined": "declined"},
    "fr": {"open": "attend une réponse", "accepted": "accepté", "declined": "écarté"},
}
Names = Mapping[UUID, str]


@click.group("reports")
def command() -> None:
    """Reports: what people say is wrong with places of this network, or missing."""


@command.command("list")
@click.option(
    "--state",
    type=click.Choice([*get_args(State), "all"]),
    default="open",
    show_default=True,
    help="Which ones.",
)
@click.option("--json", "machine", is_flag=True, help="For machines.")
def listing(state: str, *, machine: bool) -> None:
    """List reports, the first that was sent first: id, day, kind, place, beginning of the text."""
    wanted: State | None = None if state == "all" else state  # type: ignore[assignment] # one of the choices
    found, names = asyncio.run(_listed(configured(), wanted))
    if machine:
        click.echo(msgspec.json.encode({"reports": found}).decode())
        return
    for report in found:
        click.echo(_line(report, names))
    click.echo(cli.phrase("Reports: {count}.", {"count": len(found)}))


async def _listed(s: Settings, state: State | None) -> tuple[list[Report], Names]:
    found: list[Report] = []
    async with app.database(s) as pool, pool.acquire() as conn:
        while rows := await reports_store.listed(
            conn, state, after=str(found[-1].id) if found else None, limit=AT_ONCE
        ):
            found += rows
        return found, await reports.named(conn, found)


def _line(report: Report, names: Names) -> str:
    text = " ".join(report.text.split())
    words = (str(report.id), f"{report.sent_at:%Y-%m-%d}", _kind(report), _name(report, names))
    return "  ".join(filter(None, (*words, cli.printable(text, EXCERPT))))


def _kind(report: Report) -> str:
    kinds = KINDS[cli.spoken(os.environ)]
    return ", ".join(filter(None, (kinds.get(report.kind, report.kind), cli.printable(report.field or ""))))


def _name(report: Report, names: Names) -> str:
    return cli.printable(names.get(report.place, "")) if report.place else ""


@command.command("show")
@click.argument("id", type=click.UUID)
def show(id: UUID) -> None:
    """Show all of a report."""
    node, report, names = asyncio.run(_found(configured(), id))
    click.echo("\n".join(_lines(node, report, names)))


async def _found(s: Settings, id: UUID) -> tuple[str, Report, Names]:
    async with app.database(s) as pool, pool.acquire() as conn:
        node = await app.identity(pool)
        report = await reports_store.report(conn, str(id))
        if report is None:
            raise NotFound("There is no such report.")
        return node, report, await reports.named(conn, [report])


def _lines(node: str, report: Report, names: Names) -> Iterator[str]:
    """A report for people; what its sender wrote is indented, so that none of it looks like a line of ours."""
    state = STATES[cli.spoken(os.environ)][report.state]
    yield f"{report.id}  {stamp(report.sent_at)}  {_kind(report)}  ({state})"
    if report.place:
        yield from _told("Place: {said}", f"{_name(report, names)} {node}:{report.place}".strip())
    yield from _text("What is said:", report.text)
    yield from _text("What is proposed:", report.proposed)
    yield from _told("Seen on: {said}", report.page)
    yield from _told("Written in: {said}", report.language)
    yield from _told("To answer: {said}", report.contact)
    yield from _text("Answer:", report.answer)


def _told(what: str, said: str | None) -> Iterator[str]:
    if said:
        yield cli.phrase(what, {"said": cli.printable(said, AT_ONCE)})


def _text(what: str, text: str | None) -> Iterator[str]:
    if text:
        yield cli.phrase(what, {})
        yield from (f"    {cli.printable(line, len(line))}" for line in text.splitlines())


@command.command("close")
@click.argument("ids", metavar="ID...", type=click.UUID, nargs=-1, required=True)
@click.option("--accept", "state", flag_value="accepted", help="You agree; the record is changed by you.")
@click.option("--decline", "state", flag_value="declined", help="You do not.")
@click.option("--answer", metavar="TEXT", help="What its sender reads, in 2,000 characters at most.")
def close(ids: Sequence[UUID], state: str | None, answer: str | None) -> None:
    """Answer reports, one or several at once: their senders read it at the link that they were given."""
    if state is None:
        raise click.UsageError("Give --accept or --decline.")
    said = {"state": state, **({"answer": answer} if answer else {})}
    decision = decode_strict(msgspec.json.encode(said), Decision)
    for line in asyncio.run(_closed(configured(), ids, decision)):
        click.echo(line)


async def _closed(s: Settings, ids: Sequence[UUID], decision: Decision) -> list[str]:
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        for id in ids:
            await reports.answer(conn, str(id), decision, AUTHOR, ledger.clock())
    return [cli.phrase("Answered: {report}.", {"report": str(id)}) for id in ids]
