"""A transaction that takes long to commit, while others queue behind it and readers look every few milliseconds."""

from __future__ import annotations

import asyncio
from time import monotonic

import asyncpg

from tests.conftest import Federation
from tests.nodes import Registry, eventually
from tests.registry.test_writer import raws, twin, watching

SLOW_S = 2.0
# What is written by hand into the log at its very end: the commit itself takes its time, or fails.
SLOWLY = f"""
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep({SLOW_S});
    IF convert_from(NEW.raw, 'UTF8') LIKE '%jamais%' THEN
        RAISE EXCEPTION USING ERRCODE = '57P01', MESSAGE = 'the machine ends at the worst moment';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER slowly AFTER INSERT ON ledger_event DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (convert_from(NEW.raw, 'UTF8') LIKE '%"name":"Lent%') EXECUTE FUNCTION slowly();
"""


async def waiting(conn: asyncpg.Connection) -> int:
    """How many sessions of this database wait for a lock."""
    statement = """SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'"""
    return int(await conn.fetchval(statement))


async def slow_add(registry: Registry, name: str) -> tuple[int, float]:
    """Status of a place whose commit takes long, and how long it took."""
    began = monotonic()
    body = {"name": name, "status": "open", "kind": "virtual"}
    status, _, _ = await registry.call("POST", "/places", json=body)
    return status, monotonic() - began


async def test_a_slow_commit_shows_neither_hole_nor_disorder(federation: Federation) -> None:
    """While the one before is not committed, nobody sees what was written after it; one that fails leaves no hole."""
    registry = await federation.registry()
    await registry.add()
    conn = await asyncpg.connect(registry.settings.database_url)
    await conn.execute(SLOWLY)
    other = await twin(registry)
    try:
        async with watching(registry, other) as watcher:
            for name, wanted in (("Lent à venir", 201), ("Lent, jamais venu", 503), ("Lent encore", 201)):
                slow = asyncio.create_task(slow_add(registry, name))
                quick = [asyncio.create_task(other.add()) for _ in range(8)]
                quick += [asyncio.create_task(registry.add()) for _ in range(8)]
                await eventually(lambda: waiting(conn))
                before = watcher.polls
                status, took = await slow
                assert (status, took >= SLOW_S) == (wanted, True), (status, took)
                assert watcher.polls > before + 2, "nobody was looking meanwhile"
                answers = await asyncio.gather(*quick, return_exceptions=True)
                # What stood in one batch with the one that failed was not written either, and says so.
                assert wanted == 503 or not [a for a in answers if isinstance(a, BaseException)]
        sequence = [int(event["sequence"]) for event in watcher.events]
        assert sequence == list(range(1, len(sequence) + 1))
        names = [event["data"]["name"] for event in watcher.events]
        assert {"Lent à venir", "Lent encore"} <= set(names)
        assert "Lent, jamais venu" not in names
        for each in (registry, other):
            assert await raws(each) == watcher.raws
    finally:
        await other.stop()
        await conn.close()
