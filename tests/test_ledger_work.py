"""What runs unasked where a log is written."""

import asyncpg
import pytest

from services import ledger_store, ledger_work
from tests.nodes import Registry


def test_silence_is_counted_by_the_clock_that_nobody_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is overdue when its last signature is old, however the wall clock jumps."""
    now = 100.0
    monkeypatch.setattr(ledger_work, "monotonic", lambda: now)
    silence = ledger_work.Silence(60)
    assert not silence.overdue(7)
    now = 159.0
    assert not silence.overdue(7)
    now = 160.0
    assert silence.overdue(7)
    assert not silence.overdue(8)


async def test_a_snapshot_of_an_unchanged_log_signs_nothing_new(registry: Registry) -> None:
    """Reading is no write: twenty snapshots of one moment carry the same checkpoint."""
    await registry.add()
    heads = {(await registry.get("/snapshot")).splitlines()[0] for _ in range(20)}
    assert len(heads) <= 2, "a heartbeat may have come in between"


async def test_old_checkpoints_are_thinned(registry: Registry) -> None:
    """Of one size the last stays, of old ones one in 256 events; the newest full one is always there."""
    for _ in range(6):
        await registry.add()
    connection = await asyncpg.connect(registry.settings.database_url)
    try:
        before = await connection.fetchval("SELECT count(*) FROM ledger_checkpoint")
        await ledger_store.thin_checkpoints(connection, every=256, keep=4)
        sizes = [r["size"] for r in await connection.fetch("SELECT size FROM ledger_checkpoint ORDER BY n")]
        assert before > len(sizes)
        assert [s for s in sizes if s <= 4] in ([4], [0, 4])
        assert {5, 6} <= set(sizes)
        assert await ledger_store.complete_checkpoint(connection) is not None
    finally:
        await connection.close()
