"""The command line of the registry: `python -m services.registry serve | key | token | import | claim | doctor`."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from hashlib import sha256
from typing import BinaryIO
from uuid import UUID

import click
import msgspec
from prometheus_client import CollectorRegistry
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from uuid_utils import uuid7

import services.registry
from schemas.place import License
from services import cli, doctor, ledger
from services.bell import Bell
from services.errors import Fault, NotFound
from services.languages import Language
from services.postgres import Pool
from services.registry import (
    answering,
    app,
    checks,
    claiming,
    erasing,
    importing,
    keys,
    moving,
    repairing,
    reporting,
    store,
)
from services.registry.importing import Counts, Told
from services.registry.keys import configured
from services.registry.settings import Settings
from services.registry.store import Job, Token
from services.registry.writer import Gauges, Writer, writing


def _license(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    try:
        return msgspec.convert(value, License | None)
    except msgspec.ValidationError:
        raise click.BadParameter("A licence is written like etalab-2.0 or ODbL-1.0.") from None


async def serve() -> None:
    """Serve with the settings of this process."""
    await app.serve(configured())


main = cli.commands(
    "registry",
    services.registry.__doc__,
    serve,
    keys.key,
    claiming.command,
    answering.command,
    reporting.command,
    erasing.command,
    repairing.command,
    *moving.COMMANDS,
    doctor.command("registry", configured, app.SCRIPTS, checks.CHECKS),
)


@main.group()
def token() -> None:
    """Tokens with which people and programs write."""


@token.command("add")
@click.option("--role", type=click.Choice(["reader", "editor", "admin"]), required=True)
@click.option("--name", required=True, help="Who or what holds it.")
@click.option("--days", type=click.IntRange(1), help="Days until it expires; never without it.")
def add(role: str, name: str, days: int | None) -> None:
    """Make a token and print it, once."""
    now = ledger.clock()
    made = Token(
        id=UUID(str(uuid7())),
        name=name,
        role=role,
        created_at=now,
        expires_at=now + timedelta(days=days) if days else None,
        revoked_at=None,
    )
    click.echo(asyncio.run(_add(configured(), made)))


async def _add(s: Settings, made: Token) -> str:
    secret = "maillage_" + secrets.token_urlsafe(32)
    async with app.database(s) as pool, pool.acquire() as conn:
        await store.add_token(conn, made, sha256(secret.encode()).digest())
    return secret


@token.command("list")
def tokens() -> None:
    """Tokens, oldest first; their secrets are not kept."""
    for found in asyncio.run(_tokens(configured())):
        click.echo(f"{found.id}  {found.role:<6}  {found.name}  {_state(found, ledger.clock())}")


def _state(token: Token, now: datetime) -> str:
    if token.revoked_at is not None:
        return f"revoked {token.revoked_at:%Y-%m-%d}"
    if token.expires_at is not None:
        return f"{'expired' if token.expires_at <= now else 'expires'} {token.expires_at:%Y-%m-%d}"
    return "in force"


async def _tokens(s: Settings) -> list[Token]:
    async with app.database(s) as pool, pool.acquire() as conn:
        return await store.tokens(conn)


@token.command("revoke")
@click.argument("id", type=click.UUID)
def revoke(id: UUID) -> None:
    """Revoke a token by its id."""
    asyncio.run(_revoke(configured(), id))


async def _revoke(s: Settings, id: UUID) -> None:
    async with app.database(s) as pool, pool.acquire() as conn:
        if not await store.revoke_token(conn, id, ledger.clock()):
            raise NotFound("There is no such token in force.")


@main.command("import")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--format",
    "format",
    type=click.Choice(["csv", "tsv", "geojson", "json", "jsonl", "ndjson"]),
    help="Else by its content.",
)
@click.option("--source", help="Which list this is; rows that it no longer has are withdrawn.")
@click.option("--license", callback=_license, help="Licence of the list; else that of the network.")
@click.option("--map", "maps", multiple=True, metavar="COLUMN=FIELD", help="What a column means.")
@click.option("--keep-missing", is_flag=True, help="Keep places that the list no longer has.")
@click.option("--confirm", type=int, help="How many places may be withdrawn or closed.")
@click.option("--preview", is_flag=True, help="Say what would happen and change nothing.")
@click.option("--quiet", is_flag=True, help="No progress bar and no line by line report.")
def import_file(file: BinaryIO, quiet: bool, **options: object) -> None:
    """Import a list of places, with a report line by line."""
    s = configured()
    if options["source"] is None:
        click.echo(
            "Without --source, what another list without --source brought in may be withdrawn.", err=True
        )
    pairs = (str(m).partition("=") for m in options["maps"])  # type: ignore[attr-defined]
    request = importing.Request(
        source=str(options["source"] or "import"),
        mode="preview" if options["preview"] else "apply",
        format=options["format"],  # type: ignore[arg-type]
        license=options["license"] or s.license,  # type: ignore[arg-type]
        missing="keep" if options["keep_missing"] else "withdraw",
        confirm=options["confirm"],  # type: ignore[arg-type]
        author="admin:command line",
        mapping={column: field for column, _, field in pairs},
    )
    asyncio.run(_import(s, file, request, Console(stderr=True, quiet=quiet)))


async def _chunks(file: BinaryIO) -> AsyncIterator[bytes]:
    while chunk := file.read(1024 * 1024):
        yield chunk


async def _import(s: Settings, file: BinaryIO, request: importing.Request, console: Console) -> None:
    async with app.database(s) as pool:
        await app.identity(pool)
        writer = Writer(pool, app.pen_of(s), Bell(), Gauges(CollectorRegistry()))
        job = await importing.stored(pool, request, _chunks(file), file.name, queue=False)
        for column, field in msgspec.json.decode(job.mapping)["fields"].items():
            console.print(f"  {column} → {field or 'ignored'}", highlight=False, markup=False)
        with Progress(console=console) as progress:
            bar = progress.add_task(escape(file.name), total=1.0)

            async def tell(now: Told) -> None:
                progress.update(bar, completed=now.share)

            async with writing(writer):
                counts = await importing.run(pool, writer, job, tell)
        if not console.quiet:
            await _report(pool, job)
        async with pool.acquire() as conn:
            ended = await store.job(conn, job.id)
    if ended is not None and ended.confirm_needed is not None:
        click.echo(
            f"This would withdraw or close places: it needs --confirm {ended.confirm_needed}.", err=True
        )
    _sum(counts)


LINE: dict[Language, str] = {"fr": "ligne", "en": "line"}


async def _report(pool: Pool, job: Job) -> None:
    after, language = -1, cli.spoken(os.environ)
    while True:
        async with pool.acquire() as conn:
            lines = await store.lines(conn, job.id, after=after, limit=1000)
        if not lines:
            return
        for after, line in lines:  # noqa: B007 - the last one is where the next page starts
            for fault in msgspec.json.decode(line.faults, type=list[Fault]):
                told = cli.located(fault, language)
                click.echo(f"{LINE[language]} {line.line}: {line.outcome}: {told}", err=True)


def _sum(counts: Counts) -> None:
    parts = (f"{getattr(counts, f)} {f}" for f in counts.__struct_fields__)
    click.echo(", ".join(parts))


if __name__ == "__main__":
    main()
