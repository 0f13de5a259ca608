"""The doctor: every check is made whatever others do; what is found is told once, plainly and without secrets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import asyncpg
import click
import msgspec
import pytest

from demo.postgres import Postgres
from demo.process import free_port
from services import checks, doctor, ledger
from services.doctor import Check, Findings, Patient, attention, broken, well
from services.errors import NotFound
from services.registry.__main__ import main
from services.registry.settings import Settings
from tests.conftest import Federation
from tests.doctors import environ, findings, healthy_registry, run, settled, sql, visit
from tests.engines import Server
from tests.nodes import Registry

SECRET = "s3cr3t-w0rd"


async def fine(at: Patient[Any]) -> Findings:
    """All is well."""
    yield well("All {count} are well.", {"count": 3})


async def worrying(at: Patient[Any]) -> Findings:
    """Something is to be done."""
    yield attention("Look at this.", todo="Do that.")


async def bad(at: Patient[Any]) -> Findings:
    """Something is broken."""
    yield broken("This is broken.", todo="Mend it.")


async def hanging(at: Patient[Any]) -> Findings:
    """Something is found, then nothing answers any more."""
    yield well("So far all is well.")
    await asyncio.sleep(3600)


async def buggy(at: Patient[Any]) -> Findings:
    """A check that has a bug."""
    yield well("So far all is well.")
    raise KeyError(f"postgresql://me:{SECRET}@host/x")


async def failing(at: Patient[Any]) -> Findings:
    """A check that meets a failure of ours."""
    raise NotFound("There is no {thing}.", {"thing": "thing"})
    yield well("Never said.")


NOWHERE = Settings(database_url=f"postgresql://me:{SECRET}@127.0.0.1:1/x")


async def test_a_check_that_hangs_or_has_a_bug_holds_up_nobody() -> None:
    """Whatever a check does, it is told in its own line, with what it had found, and the others are made."""
    started = monotonic()
    made = (Check("hanging", hanging), Check("buggy", buggy), Check("failing", failing), Check("fine", fine))
    found = await findings(main, NOWHERE, *made, within=0.3)
    assert monotonic() - started < 60
    assert [f.mark for f in found["hanging"]] == ["ok", "broken"]
    assert [f.mark for f in found["buggy"]] == ["ok", "broken"]
    assert found["failing"][0].what == "There is no {thing}."
    assert [f.mark for f in found["fine"]] == ["ok"]
    assert SECRET not in repr(found)


async def test_what_needs_something_broken_is_not_looked_at() -> None:
    """One fault is told once: what leans on it is named, not guessed at."""
    made = (
        Check("bad", bad),
        Check("next", fine, ("bad",)),
        Check("last", fine, ("next",)),
        Check("fine", fine),
    )
    found = await findings(main, NOWHERE, *made)
    assert list(found) == ["bad", "fine", "skipped"]
    assert found["skipped"][0].args == {"checks": "next, last"}


async def test_what_needs_only_something_worrying_is_looked_at() -> None:
    """A worry is no reason to look away."""
    found = await findings(main, NOWHERE, Check("worrying", worrying), Check("next", fine, ("worrying",)))
    assert list(found) == ["worrying", "next"]


@pytest.mark.parametrize(
    ("look", "code", "line"),
    [
        (fine, 0, "ok        here         All 3 are well.\n"),
        (worrying, 1, "attention here         Look at this. → Do that.\n"),
        (bad, 2, "broken    here         This is broken. → Mend it.\n"),
    ],
)
async def test_the_exit_code_is_the_gravest_finding(
    look: Callable[..., Findings], code: int, line: str
) -> None:
    """0 is well, 1 needs attention, 2 is broken; each finding is one line with what to do."""
    said = doctor.command("registry", lambda: NOWHERE, (), (Check("here", look),))
    result = await run(wrapped(said), environ("registry", NOWHERE))
    assert result.exit_code == code
    assert result.output.endswith(line)
    assert result.output.count("\n") == 2
    quiet = await run(wrapped(said), environ("registry", NOWHERE), "--quiet")
    assert quiet.output == ("" if code == 0 else line)
    assert quiet.exit_code == code


def wrapped(command: Any) -> Any:
    """A group of this command alone."""
    return click.Group(name="python -m services.registry", commands=[command])


async def test_what_a_neighbour_says_is_one_line_without_its_tricks() -> None:
    """Line feeds, terminal escapes and passwords in what others sent us are not printed."""

    async def tricky(at: Patient[Any]) -> Findings:
        yield well("{alias} is heard.", {"alias": f"x\n\x1b[2Jy https://u:{SECRET}@host/"})

    said = doctor.command("registry", lambda: NOWHERE, (), (Check("here", tricky),))
    for words in ((), ("--json",)):
        result = await run(wrapped(said), environ("registry", NOWHERE), *words)
        assert "\x1b" not in result.output
        assert "\\u001b" not in result.output
        assert result.output.count("\n") == (1 if words else 2)
        assert SECRET not in result.output


async def test_settings_that_are_wrong_are_named_and_not_repeated() -> None:
    """Without settings nothing else is looked at; the variable is named, its value is not."""
    env = environ("registry", NOWHERE, MAILLAGE_REGISTRY_PORT=SECRET)
    result = await run(main, env)
    assert result.exit_code == 2
    assert result.output.startswith("broken    settings     MAILLAGE_REGISTRY_PORT")
    assert SECRET not in result.output
    assert result.output.count("\n") == 1
    told = json.loads((await run(main, env, "--json")).stdout)
    assert (told["code"], [f["check"] for f in told["findings"]]) == (2, ["settings"])


async def test_a_database_that_is_away_is_said_at_once() -> None:
    """Nobody listens at the address of the database: one line says so, what leans on it is not looked at."""
    seen = await visit(main, NOWHERE)
    assert seen.code == 2
    assert seen.troubles["database"] == "broken"
    assert "tokens" in seen.told("skipped")
    assert "Start PostgreSQL" in seen.told("database")
    assert SECRET not in seen.output


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}/x@127.0.0.1/x",
        f"postgresql://me:{SECRET}@127.0.0.1:{SECRET}/x",
        f"mysql://me:{SECRET}@127.0.0.1/x",
    ],
)
async def test_a_url_that_cannot_be_read_is_not_repeated(url: str) -> None:
    """A password with a slash makes a URL unreadable; no piece of it is printed."""
    seen = await visit(main, Settings(database_url=url, amqp_url=url))
    assert seen.troubles["database"] == "broken"
    assert seen.troubles["broker"] == "attention"
    assert SECRET not in seen.output


async def test_a_server_that_is_stopped_and_started_again(private_postgres: Postgres) -> None:
    """While the database server is stopped the doctor says so, and no more once it is back."""
    url = await private_postgres.create_database()
    settings = Settings(database_url=url)
    made = checks.CHECKS[:2]
    assert [f.mark for f in (await findings(main, settings, *made))["database"]] == ["ok"]
    await private_postgres.stop()
    (stopped,) = (await findings(main, settings, *made))["database"]
    assert (stopped.mark, stopped.what) == ("broken", "The database does not answer: {reason}")
    await private_postgres.start()
    assert [f.mark for f in (await findings(main, settings, *made))["database"]] == ["ok"]


async def test_a_wrong_password_and_a_wrong_name_are_refusals(database_url: str) -> None:
    """Who is refused is told to put the URL right, and the password is not printed."""
    password = database_url.split(":")[2].partition("@")[0]
    for url in (database_url.replace(password, SECRET), database_url + "-other"):
        seen = await visit(main, Settings(database_url=url))
        assert "The database refuses us" in seen.told("database")
        assert "MAILLAGE_REGISTRY_DATABASE_URL" in seen.told("database")
        assert SECRET not in seen.output
        assert password not in seen.output


async def test_an_empty_database_is_not_taken_for_a_node(database_url: str) -> None:
    """Where the service has never been, it is told to start; looking has made no table."""
    seen = await visit(main, Settings(database_url=database_url))
    assert seen.troubles["migrations"] == "broken"
    assert "never been here" in seen.told("migrations")
    connection = await asyncpg.connect(database_url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0
    finally:
        await connection.close()


@pytest.fixture
async def node(federation: Federation) -> Registry:
    """A registry in good health."""
    return await healthy_registry(federation)


async def test_all_that_services_share_is_quiet_on_a_healthy_node(node: Registry) -> None:
    """A healthy node has nothing to say; the exit code is 0, and every check has said a line."""
    seen = await visit(main, settled(node))
    assert seen.troubles == {}
    assert seen.code == 0
    assert {c.name for c in checks.CHECKS} <= {line.check for line in seen.report.findings}


async def older(node: Registry) -> None:
    await sql(node, "DELETE FROM migration WHERE name = 'registry/0001_registry'")


async def newer(node: Registry) -> None:
    await sql(node, "INSERT INTO migration (name, hash) VALUES ('registry/9999_later', 'x')")


async def other(node: Registry) -> None:
    await sql(node, "UPDATE migration SET hash = 'x' WHERE name = 'shared/ledger'")


@pytest.mark.parametrize(
    ("fault", "said"),
    [(older, "of an older version"), (newer, "by a newer version"), (other, "is not the one")],
)
async def test_tables_of_another_version_are_told(node: Registry, fault: Any, said: str) -> None:
    """Older, newer and other tables are told apart, and nothing is read from them."""
    await fault(node)
    seen = await visit(main, settled(node))
    assert seen.troubles["migrations"] == "broken"
    assert said in seen.told("migrations")
    assert "tokens" in seen.told("skipped")
    assert seen.code == 2


async def test_a_database_that_cannot_be_written_is_broken(node: Registry) -> None:
    """After a failover to a server that is only read, reading works and nothing can be written."""
    name = node.settings.database_url.rpartition("/")[2]
    await sql(node, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    seen = await visit(main, settled(node))
    assert "can only be read" in seen.told("database")
    assert seen.code == 2


async def test_a_server_that_is_too_old_is_told(node: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server older than the oldest that we work with is named."""
    monkeypatch.setattr(checks, "OLDEST_VERSION", 10**7)
    seen = await visit(main, settled(node))
    assert "is too old" in seen.told("database")


async def test_few_connections_are_told(node: Registry) -> None:
    """Where the service may want more connections than there are left, it is told before it fails."""
    await sql(node, f'ALTER DATABASE "{node.settings.database_url.rpartition("/")[2]}" CONNECTION LIMIT 6')
    (found,) = (await findings(main, settled(node), Check("connections", checks.connections)))["connections"]
    assert found.mark == "attention"
    assert int(found.args["free"]) < int(found.args["wanted"])


async def test_a_transaction_that_is_open_for_long_is_told(
    node: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A session that was forgotten in its transaction is named by its process."""
    monkeypatch.setattr(checks, "LONGEST_TRANSACTION", timedelta(milliseconds=50))
    connection = await asyncpg.connect(node.settings.database_url)
    try:
        async with connection.transaction():
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            await asyncio.sleep(0.1)
            seen = await visit(main, settled(node))
    finally:
        await connection.close()
    assert seen.troubles["transactions"] == "attention"
    assert f"pg_terminate_backend({pid})" in seen.told("transactions")


@pytest.mark.parametrize("hours", [-2, 2])
async def test_clocks_that_disagree_are_told(node: Registry, hours: int) -> None:
    """A clock that is ahead or behind by hours is seen from the database's."""

    def now() -> Any:
        return ledger.clock() + timedelta(hours=hours)

    (found,) = (await findings(main, settled(node), Check("clock", checks.clock), now=now))["clock"]
    assert found.mark == "attention"
    assert 7190 < int(found.args["seconds"]) < 7210


@pytest.mark.parametrize(("least", "mark"), [("LITTLE_SPACE", "attention"), ("NO_SPACE", "broken")])
async def test_a_disk_that_is_full_is_told(
    node: Registry, least: str, mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Little room needs attention, next to none is broken; the folder is named. A database need not answer."""
    monkeypatch.setattr(checks, "LITTLE_SPACE", 2**62)
    monkeypatch.setattr(checks, least, 2**62)
    settings = msgspec.structs.replace(settled(node), database_url=NOWHERE.database_url)
    seen = await visit(main, settings)
    assert seen.troubles["disk"] == mark
    assert node.settings.key_dir in seen.told("disk")


async def test_a_service_that_does_not_run_is_told(node: Registry) -> None:
    """Everything else is looked at all the same."""
    await node.stop()
    seen = await visit(main, settled(node))
    assert seen.troubles == {"serving": "broken", "skipped": "attention"}
    assert "python -m services.registry serve" in seen.told("serving")
    assert seen.told("skipped").startswith(
        "Not looked at, as what it needs is broken: checkpoint, addresses."
    )
    assert seen.code == 2


async def test_a_service_that_cannot_work_is_told(private_postgres: Server, federation: Federation) -> None:
    """A service that answers without its database says so itself."""
    await private_postgres.prepare()
    federation.postgres = private_postgres
    node = await healthy_registry(federation)
    private_postgres.kill()
    seen = await visit(main, settled(node))
    assert "The service runs, and cannot work" in seen.told("serving")
    assert seen.troubles["database"] == "broken"
    await private_postgres.start()


async def test_a_port_that_nobody_knows_is_told(node: Registry) -> None:
    """Where the service takes any port it cannot be asked, which is not the same as well."""
    seen = await visit(main, node.settings)
    assert seen.troubles["serving"] == "broken"
    assert "MAILLAGE_REGISTRY_PORT" in seen.told("serving")


async def test_somebody_else_on_our_port_is_told(node: Registry) -> None:
    """Another program that answers there is not taken for the service."""
    port = free_port()

    async def stranger(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(stranger, "127.0.0.1", port):
        seen = await visit(main, msgspec.structs.replace(node.settings, port=port))
    assert "answers something else" in seen.told("serving")


async def test_french_is_spoken_at_a_french_terminal(node: Registry) -> None:
    """What is found and what to do are said in the language of the terminal; names of checks stay."""
    await node.stop()
    result = await run(main, environ("registry", settled(node), LC_ALL="fr_FR.UTF-8"))
    assert result.exit_code == 2
    lines = result.output.splitlines()
    assert "bien      database     La base de données répond\u00a0: PostgreSQL" in result.output
    (serving,) = [line for line in lines if " serving " in line]
    assert serving.startswith("en panne  serving      Rien ne répond à http://127.0.0.1")
    assert "démarrez-le\u00a0: python -m services.registry serve" in serving
    told = json.loads((await run(main, environ("registry", settled(node), LC_ALL="fr_FR"), "--json")).stdout)
    assert "Les réglages sont lisibles." in [f["what"] for f in told["findings"]]
    assert {f["mark"] for f in told["findings"]} == {"ok", "attention", "broken"}


async def test_looking_changes_nothing(node: Registry) -> None:
    """No row of the database and no file is another after a look, deep or not."""
    await node.stop()
    folder = Path(node.settings.key_dir)
    rows = (
        "SELECT count(*) || ':' || sum(xmin::text::bigint) || ':' || max(n) FROM ledger_checkpoint",
        "SELECT xmin::text || ':' || size FROM ledger_head",
        "SELECT sum(xmin::text::bigint) FROM ledger_event",
        "SELECT sum(xmin::text::bigint) FROM place",
    )
    before = [await sql(node, row) for row in rows], {f: f.read_bytes() for f in folder.iterdir()}
    for words in ((), ("--deep",)):
        await visit(main, settled(node), *words)
    assert ([await sql(node, row) for row in rows], {f: f.read_bytes() for f in folder.iterdir()}) == before
