"""The database of a service: migrations, weather and locks, on a real PostgreSQL."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from operator import gt

import asyncpg
import pytest

from demo.postgres import Postgres
from services import postgres, run
from services.errors import Misconfigured, Unavailable

OUTAGES = 100 if os.environ.get("MAILLAGE_SOAK") else 8
FIRST = ("place/0001_first", "CREATE TABLE place (id int PRIMARY KEY)")
# Of this database: sessions of another may still be ending.
LOCKS = """FROM pg_locks JOIN pg_database d ON d.oid = pg_locks.database
           WHERE locktype = 'advisory' AND datname = current_database()"""
SECOND = ("place/0002_second", "ALTER TABLE place ADD COLUMN name text")


async def until(true: Callable[[], Awaitable[bool]], within: float = 60.0) -> None:
    """Wait for something to be true."""
    async with asyncio.timeout(within):
        while not await true():
            await asyncio.sleep(0.02)


async def applied(url: str) -> list[str]:
    conn = await asyncpg.connect(url)
    try:
        return [
            row["name"] for row in await conn.fetch("SELECT name FROM migration ORDER BY applied_at, name")
        ]
    finally:
        await conn.close()


async def test_migrations_are_applied_once_and_in_order(database_url: str) -> None:
    """A database is brought up to date once, whoever starts and however often."""
    async with postgres.pool(database_url, migrations=[FIRST]):
        pass
    async with postgres.pool(database_url, migrations=[FIRST, SECOND]) as pool, pool.acquire() as conn:
        await conn.execute("INSERT INTO place (id, name) VALUES (1, 'La Quincaille')")
    assert await applied(database_url) == [FIRST[0], SECOND[0]]


async def test_processes_that_start_together_migrate_once(database_url: str) -> None:
    """Eight processes that start on an empty database make one set of tables and none fails."""
    async with AsyncExitStack() as stack:
        opened = [
            stack.enter_async_context(postgres.pool(database_url, size=2, migrations=[FIRST, SECOND]))
            for _ in range(8)
        ]
        # One after the other leaves the stack in order; each opens while the others migrate.
        for each in await asyncio.gather(*map(asyncio.ensure_future, opened)):
            async with each.acquire() as conn:
                assert await conn.fetchval("SELECT count(*) FROM place") == 0
    assert await applied(database_url) == [FIRST[0], SECOND[0]]


async def test_a_changed_migration_is_refused(database_url: str) -> None:
    """A script that changed after it was applied stops the service, by name."""
    async with postgres.pool(database_url, migrations=[FIRST]):
        pass
    changed = (FIRST[0], "CREATE TABLE place (id bigint PRIMARY KEY)")
    with pytest.raises(Misconfigured) as refused:
        async with postgres.pool(database_url, migrations=[changed]):
            pass
    assert refused.value.arguments["name"] == FIRST[0]


async def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    """An old program does not write into a database that a newer one has changed."""
    async with postgres.pool(database_url, migrations=[FIRST, SECOND]):
        pass
    with pytest.raises(Misconfigured, match="newer version"):
        async with postgres.pool(database_url, migrations=[FIRST]):
            pass


async def test_a_broken_migration_leaves_nothing_behind(database_url: str) -> None:
    """A migration is applied whole or not at all."""
    broken = ("place/0001_first", "CREATE TABLE place (id int); SELECT no_such_function()")
    with pytest.raises(asyncpg.UndefinedFunctionError):
        async with postgres.pool(database_url, migrations=[broken]):
            pass
    async with postgres.pool(database_url, migrations=[FIRST]) as pool, pool.acquire() as conn:
        assert await conn.fetchval("SELECT count(*) FROM place") == 0


async def test_a_url_that_cannot_be_read_is_not_repeated() -> None:
    """A password with a slash makes a URL unreadable: the operator is told so, without a piece of it."""
    with pytest.raises(Misconfigured) as refused:
        async with postgres.pool("postgresql://a:geheim/nis@h:x/db", migrations=[]):
            pass
    told = refused.value.detail.format(**refused.value.arguments)
    assert "Check its URL" in told
    assert "geheim" not in told
    assert "nis" not in told


async def test_a_wrong_password_is_said_at_once(database_url: str) -> None:
    """An operator who mistyped the password is told so, without waiting, and without seeing it again."""
    wrong = database_url.replace("@127.0.0.1", "wrong@127.0.0.1")
    with pytest.raises(Misconfigured) as refused:
        async with asyncio.timeout(30), postgres.pool(wrong, migrations=[]):
            pass
    assert "wrong" not in str(refused.value.arguments)


async def test_a_database_that_never_answers_is_named(unused_tcp_port: int) -> None:
    """A service whose database is absent gives up after the time that was set, and says so."""
    with pytest.raises(Unavailable, match="did not answer"):
        url = f"postgresql://a:b@127.0.0.1:{unused_tcp_port}/c"
        async with postgres.pool(url, migrations=[], wait=0.5):
            pass


async def test_a_service_waits_for_its_database_to_start(private_postgres: Postgres) -> None:
    """A service that is started before its database comes up with it."""
    url = await private_postgres.create_database()
    await private_postgres.stop()
    opening = postgres.pool(url, migrations=[FIRST])
    waiting = asyncio.ensure_future(opening.__aenter__())
    done, _ = await asyncio.wait([waiting], timeout=0.3)
    assert not done
    await private_postgres.start()
    pool = await waiting
    async with pool.acquire() as conn:
        assert await conn.fetchval("SELECT 1") == 1
    await opening.__aexit__(None, None, None)


async def test_a_killed_server_is_weather_and_passes(private_postgres: Postgres) -> None:
    """Statements fail with a named error while the server is gone, and work again on the same pool."""
    url = await private_postgres.create_database()
    async with postgres.pool(url, migrations=[FIRST]) as pool:
        async with pool.acquire() as conn:
            private_postgres.kill()
            with pytest.raises(postgres.WEATHER):
                async with conn.transaction():
                    await conn.execute("INSERT INTO place VALUES (1)")
        await private_postgres.start()

        async def works() -> bool:
            try:
                async with pool.acquire() as conn:
                    return bool(await conn.fetchval("SELECT true"))
            except postgres.WEATHER:
                return False

        await until(works)


async def test_a_start_outlives_a_database_that_goes_in_the_middle_of_it(private_postgres: Postgres) -> None:
    """What a service does before it serves is done again once a server that was killed is back."""
    url = await private_postgres.create_database()
    async with postgres.pool(url, migrations=[FIRST]) as pool:
        tries = 0

        async def note() -> None:
            nonlocal tries
            tries += 1
            async with pool.acquire() as conn, conn.transaction():
                if tries == 1:
                    private_postgres.kill()
                await conn.execute("INSERT INTO place VALUES (1)")

        async with asyncio.TaskGroup() as tasks:
            noting = tasks.create_task(postgres.insist(note, 20))
            await until(lambda: _truth(tries > 1))
            assert not noting.done()
            await private_postgres.start()
        with pytest.raises(Unavailable):
            private_postgres.kill()
            await postgres.insist(note, 0.5)


async def _truth(fact: bool) -> bool:
    return fact


async def test_a_connection_ended_between_two_statements_is_weather(database_url: str) -> None:
    """A loop that keeps one connection does not take the end of that connection for a bug."""
    async with (
        postgres.pool(database_url, size=1, migrations=[]) as pool,
        postgres.pool(database_url, size=1, migrations=[]) as other,
        other.acquire() as administrator,
    ):
        with pytest.raises(postgres.WEATHER):
            async with pool.acquire() as conn:
                pid = await conn.fetchval("SELECT pg_backend_pid()")
                assert await administrator.fetchval("SELECT pg_terminate_backend($1)", pid)
                async with asyncio.timeout(30):
                    while await conn.fetchval("SELECT 1"):
                        await asyncio.sleep(0.05)
        async with pool.acquire() as conn:
            assert await conn.fetchval("SELECT pg_backend_pid()") != pid


async def test_wrong_arguments_are_no_weather(database_url: str) -> None:
    """A value of the wrong type is a bug, which no loop may retry for ever."""
    async with postgres.pool(database_url, migrations=[FIRST]) as pool, pool.acquire() as conn:
        with pytest.raises(asyncpg.DataError) as bug:
            await conn.execute("INSERT INTO place VALUES ($1)", "one")
        assert not isinstance(bug.value, postgres.WEATHER)


async def test_one_of_two_processes_holds_a_lock(database_url: str) -> None:
    """A second process waits as a hot spare and takes over when the first lets go."""
    async with (
        postgres.pool(database_url, migrations=[]) as one,
        postgres.pool(database_url, migrations=[]) as two,
    ):

        async def spare() -> None:
            async with postgres.locked(two, "relay"):
                pass

        async with postgres.locked(one, "relay"), postgres.locked(two, "follow"):
            waiting = asyncio.create_task(spare())
            done, _ = await asyncio.wait([waiting], timeout=1.5)
            assert not done
        async with asyncio.timeout(30):
            await waiting


async def test_two_tasks_of_a_process_do_not_share_a_lock(database_url: str) -> None:
    """A lock is held by one task, although PostgreSQL would give it to one session twice."""
    async with postgres.pool(database_url, migrations=[]) as pool:
        async with postgres.locked(pool, "relay"):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(1.2), postgres.locked(pool, "relay"):
                    pass
        async with asyncio.timeout(30), postgres.locked(pool, "relay"):
            pass


async def test_a_lost_lock_interrupts_its_holder(database_url: str) -> None:
    """When the server ends the connection of a lock, whoever worked under it stops at once, as by weather."""
    async with postgres.pool(database_url, migrations=[]) as pool, pool.acquire() as conn:
        with pytest.raises(postgres.WEATHER):
            async with asyncio.timeout(30), postgres.locked(pool, "relay"):
                ended = await conn.fetchval(f"SELECT count(pg_terminate_backend(pid)) {LOCKS}")
                assert ended == 1
                await asyncio.Event().wait()
        async with asyncio.timeout(30), postgres.locked(pool, "relay"):
            pass


async def test_whoever_leaves_while_the_lock_is_being_lost_leaves_for_a_reason_of_her_own(
    database_url: str,
) -> None:
    """Between the server's word that it ends a connection and the end, letting go of its lock is no mistake."""
    async with postgres.pool(database_url, migrations=[]) as pool, pool.acquire() as conn:
        for turns in range(40):
            with pytest.raises((KeyError, *postgres.WEATHER)):
                async with asyncio.timeout(30), postgres.locked(pool, "relay"):
                    await conn.fetchval(f"SELECT count(pg_terminate_backend(pid)) {LOCKS}")
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    raise KeyError


async def test_an_interruption_that_left_as_weather_is_over(database_url: str) -> None:
    """Who was interrupted while a statement failed for the same reason can be interrupted again."""
    async with postgres.pool(database_url, migrations=[]) as pool, pool.acquire() as conn:
        for _ in range(3):
            with pytest.raises(postgres.WEATHER):
                async with asyncio.timeout(30), postgres.locked(pool, "relay"):
                    await conn.fetchval(f"SELECT count(pg_terminate_backend(pid)) {LOCKS}")
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        raise ConnectionError(
                            "as asyncpg does when a transaction cannot be rolled back"
                        ) from None
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0


async def test_loops_outlive_outage_after_outage(private_postgres: Postgres) -> None:
    """Loops that hold locks go on, all of them, each time a killed server is back."""
    url = await private_postgres.create_database()
    async with postgres.pool(url, migrations=[]) as pool:
        rounds = [0] * 20

        async def loop(number: int) -> None:
            async with postgres.locked(pool, f"follow {number}"):
                while True:
                    async with pool.acquire() as conn, conn.transaction():
                        await conn.execute("SELECT pg_sleep(0.002)")
                    run.calm()
                    rounds[number] += 1

        loops = [
            asyncio.create_task(run.keep("loop", partial(loop, n), postgres.WEATHER))
            for n in range(len(rounds))
        ]
        for _ in range(OUTAGES):
            before = list(rounds)
            await until(lambda before=before: _truth(all(map(gt, rounds, before))))
            assert not any(each.done() for each in loops)
            private_postgres.kill()
            await private_postgres.start()
        for each in loops:
            each.cancel()
        await asyncio.gather(*loops, return_exceptions=True)


async def test_many_locks_take_one_connection(database_url: str) -> None:
    """A service that follows a hundred nodes does not need a hundred connections for it."""
    async with postgres.pool(database_url, migrations=[]) as pool, AsyncExitStack() as stack:
        for number in range(100):
            await stack.enter_async_context(postgres.locked(pool, f"follow {number}"))
        async with pool.acquire() as conn:
            held = await conn.fetch(f"SELECT DISTINCT pid {LOCKS}")
            assert len(held) == 1


def test_scripts_come_in_order_with_names_that_last() -> None:
    """The shared store comes first, then the service's own files by number."""
    names = [name for name, _ in postgres.scripts("ledger", "services.registry")]
    shared = [name for name in names if name.startswith("shared/")]
    assert names[: len(shared)] == shared
    assert shared[:2] == ["shared/ledger", "shared/ledger.0002_proofs"]
    assert names[len(shared) :] == sorted(names[len(shared) :])
    assert all(name.startswith("registry/0") for name in names[len(shared) :])
