"""What the doctor looks at in every service: its database, its machine, whether it answers."""

import asyncio
import shutil
import tempfile
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
from asyncpg import PostgresError

from services import doctor, doctor_store, legal, postgres
from services.doctor import Check, Finding, Findings, Patient, attention, broken, well
from services.errors import Args, Misconfigured

OLDEST_VERSION = 150000
LONGEST_TRANSACTION = timedelta(hours=1)
CLOCKS_APART = timedelta(seconds=5)
LITTLE_SPACE, NO_SPACE = 1024**3, 100 * 1024**2
RIGHT = "Put {variable} right: user, password, host and name of the database."
ROOM = "Make room on it, or give it more."
MEBIBYTE = 1024**2
DATABASE_TELLS = 3.0


async def database(at: Patient[Any]) -> Findings:
    """It answers, it is new enough, and it can be written."""
    variable = at.prefix + "DATABASE_URL"
    try:
        async with at.moment() as conn:
            server = await doctor_store.server(conn)
    except ValueError:
        # What cannot be read of a URL may be a piece of a password.
        yield broken("The URL of the database cannot be read.", {"variable": variable}, todo=RIGHT)
    except postgres.REFUSALS as error:
        args = {"reason": at.reason(error), "variable": variable}
        yield broken("The database refuses us: {reason}", args, todo=RIGHT)
    except postgres.WEATHER as error:
        todo = "Start PostgreSQL, or give it back its network, room or connections; the service goes on by itself."
        yield broken("The database does not answer: {reason}", {"reason": at.reason(error)}, todo=todo)
    else:
        yield _server(server)


def _server(server: doctor_store.Server) -> Finding:
    version = {"version": server.name}
    if server.version < OLDEST_VERSION:
        return broken(
            "PostgreSQL {version} is too old.",
            version,
            todo="Upgrade the database server to PostgreSQL 15 or newer.",
        )
    if server.readonly:
        todo = "Point the service to the primary server, or let this one be written."
        return broken("The database can only be read, so nothing can be written.", todo=todo)
    return well("The database answers: PostgreSQL {version}.", version)


async def notice(at: Patient[Any]) -> Findings:
    """A public site says who publishes and hosts it."""
    if not at.settings.public:
        yield well("The public is not invited: the legal notice may have gaps.")
        return
    if names := legal.missing(at.settings):
        args: Args = {"variables": legal.variables(names, at.prefix)}
        todo = "Say it in {variables}: the service will not start otherwise."
        yield broken("The legal notice of this public site is not complete.", args, todo=todo)
        return
    yield well("The legal notice says all that a public site has to say.")


async def migrations(at: Patient[Any]) -> Findings:
    """Its tables are those that this version works with."""
    async with at.moment() as conn:
        applied = await doctor_store.applied(conn)
    args = {"service": at.service}
    if applied is None:
        todo = "Start the service, which makes its tables: python -m services.{service} serve"
        yield broken("The database is empty: the service has never been here.", args, todo=todo)
        return
    try:
        postgres.check_applied(applied, at.scripts)
    except Misconfigured as failure:
        todo = "Run the doctor of the version that this database is of."
        yield Finding("broken", failure.detail, failure.arguments, todo=todo)
        return
    if missing := [name for name, _ in at.scripts if name not in applied]:
        todo = "Restart the service with this version: python -m services.{service} serve"
        args = {"service": at.service, "name": missing[0]}
        yield broken("The database is of an older version: {name} is still to come.", args, todo=todo)
        return
    yield well("The tables are those of this version.")


async def connections(at: Patient[Any]) -> Findings:
    """The service can open all the connections that its settings allow it."""
    async with at.moment() as conn:
        room = await doctor_store.room(conn)
    # One more than the pool, for the locks.
    wanted = at.settings.database_pool + 1 - room.ours
    args = {"free": max(0, room.free), "wanted": max(0, wanted), "variable": at.prefix + "DATABASE_POOL"}
    if room.free >= wanted:
        yield well("The database has {free} connections left.", args)
        return
    yield attention(
        "The database has {free} connections left, and the service may want {wanted} more.",
        args,
        todo="Raise max_connections of PostgreSQL, or lower {variable}.",
    )


async def transactions(at: Patient[Any]) -> Findings:
    """No transaction is open for so long that nothing can be tidied up behind it."""
    async with at.moment() as conn:
        now = (await doctor_store.server(conn)).clock
        oldest = await doctor_store.oldest_transaction(conn)
    if oldest is None or now - oldest[1] < LONGEST_TRANSACTION:
        yield well("No transaction is open for long.")
        return
    yield attention(
        "A transaction is open since {since}: the database cannot tidy up behind it.",
        {"since": doctor.since(oldest[1]), "pid": oldest[0]},
        todo="Find out who that is, and end it in the database: SELECT pg_terminate_backend({pid})",
    )


async def clock(at: Patient[Any]) -> Findings:
    """Our clock and that of the database say the same."""
    async with at.moment() as conn:
        before = at.now()
        there = (await doctor_store.server(conn)).clock
        after = at.now()
    apart = max(before - there, there - after)
    if apart < CLOCKS_APART:
        yield well("The clock of this machine agrees with that of the database.")
        return
    yield attention(
        "The clock of this machine and that of the database are {seconds} s apart.",
        {"seconds": int(apart.total_seconds())},
        todo="Let both machines keep their time by NTP (timedatectl set-ntp true).",
    )


async def disk(at: Patient[Any]) -> Findings:
    """There is room on the disks that we can see: those of the keys, of temporary files and of the database."""
    troubled = False
    for folder in {Path(tempfile.gettempdir()), *await _folders(at)}:
        try:
            free = shutil.disk_usage(folder).free
        except OSError:
            # Another account's folder, or one that is not there yet: others look at the keys.
            continue
        if free < LITTLE_SPACE:
            troubled = True
            args: Args = {"folder": str(folder), "free": free // MEBIBYTE}
            if free < NO_SPACE:
                yield broken("The disk of {folder} is full: {free} MiB are left.", args, todo=ROOM)
            else:
                yield attention("The disk of {folder} has {free} MiB left.", args, todo=ROOM)
    if not troubled:
        yield well("There is room on the disks.")


async def _folders(at: Patient[Any]) -> set[Path]:
    found = {Path(at.settings.key_dir)} if hasattr(at.settings, "key_dir") else set()
    # A database whose disk is full may be away: the disks that we can see are looked at all the same.
    with suppress(PostgresError, ValueError, *postgres.WEATHER):
        async with asyncio.timeout(DATABASE_TELLS), at.moment() as conn:
            if data := await doctor_store.data_folder(conn):
                found.add(Path(data))
    return found


async def serving(at: Patient[Any]) -> Findings:
    """The service runs, and says that it can work."""
    args = {"service": at.service, "variable": at.prefix + "PORT"}
    if at.settings.port == 0:
        todo = "Give the service a port of its own by {variable}."
        yield broken("Whether it runs is unknown, as it listens on any free port.", args, todo=todo)
        return
    url = doctor.url_of(at.settings.host, at.settings.port)
    args["url"] = url
    try:
        live, ready = await at.get(url + "/livez"), await at.get(url + "/readyz")
    except ConnectionError:
        todo = "Read the end of its log, then start it: python -m services.{service} serve"
        yield broken("Nothing answers at {url}: the service does not run, or hangs.", args, todo=todo)
        return
    yield _answered(live, ready, args)


def _answered(live: tuple[int, bytes], ready: tuple[int, bytes], args: dict[str, str]) -> Finding:
    said = _states(ready[1])
    if live[0] != 200 or _states(live[1]) != {"status": "ok"}:
        todo = "Stop what listens there, or choose another {variable}."
        return broken("At {url} answers something else than this service.", args, todo=todo)
    if ready[0] != 200:
        why = said.get("detail") or said.get("title") or str(ready[0])
        todo = "See what is said here of the database and in the log of the service; it goes on by itself."
        return broken("The service runs, and cannot work: {why}", {**args, "why": why}, todo=todo)
    leans = ", ".join(f"{name} {state}" for name, state in said.items() if name != "status")
    return well("The service answers at {url}: {leans}.", {**args, "leans": leans})


def _states(body: bytes) -> dict[str, str]:
    try:
        said = msgspec.json.decode(body)
    except ValueError:
        return {}
    return {k: v for k, v in said.items() if isinstance(v, str)} if isinstance(said, dict) else {}


CHECKS = (
    Check("disk", disk),
    Check("database", database),
    Check("migrations", migrations, ("database",)),
    Check("connections", connections, ("database",)),
    Check("transactions", transactions, ("database",)),
    Check("clock", clock, ("database",)),
    Check("serving", serving),
)
