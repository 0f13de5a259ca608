"""Text search at work: what changed a moment ago, what is erased, and what may not be asked."""

from typing import Any

import asyncpg
import pytest

from services.sync import items_store, searching
from services.sync.api import reading
from tests.conftest import Federation
from tests.nodes import Sync, eventually

ITEMS = "/collections/places/items"


async def lexicon(sync: Sync) -> set[str]:
    """The words that mistyped ones are compared with."""
    connection = await asyncpg.connect(sync.settings.database_url)
    try:
        return {row["word"] for row in await connection.fetch("SELECT word FROM lexicon")}
    finally:
        await connection.close()


async def names(sync: Sync, text: str) -> list[str]:
    """The names that a text finds."""
    found = await sync.get(f"{ITEMS}?q={text}")
    return sorted(feature["properties"]["name"] for feature in found["features"])


async def test_what_changed_is_found_before_it_is_read(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the loop that reads for searching has done, a search is right about the view as it stands."""
    registry = await federation.registry()
    old = (await registry.add(name="Zanzibar"))["id"]
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    await eventually(lambda: _has(sync, "zanzibar"))
    asked: list[object] = []

    async def nothing(conn: Any) -> int:
        asked.append(conn)
        return 0

    monkeypatch.setattr(searching, "read_changed", nothing)
    await registry.change(old, name="Tombouctou")
    await registry.add(name="Samarcande")
    await sync.caught_up([registry])
    assert await names(sync, "zanzibar") == []
    assert await names(sync, "tombouctou") == ["Tombouctou"]
    assert await names(sync, "samarc") == ["Samarcande"]
    assert asked


async def _has(sync: Sync, word: str) -> bool:
    return word in await lexicon(sync)


async def test_the_lexicon_forgets_with_the_last_place(federation: Federation) -> None:
    """A word that no place has any more, as one that was erased, is no suggestion; one that another has, stays."""
    registry = await federation.registry()
    erased = (await registry.add(name="Ornithorynque discret"))["id"]
    await registry.add(name="Bureau discret")
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    await eventually(lambda: _has(sync, "ornithorynque"))
    assert await names(sync, "ornitorynque") == ["Ornithorynque discret"]
    await registry.command("erase", erased, "--yes")
    await sync.caught_up([registry])

    async def forgotten() -> bool:
        known = await lexicon(sync)
        return "ornithorynque" not in known and {"bureau", "discret"} <= known

    await eventually(forgotten)
    assert await names(sync, "ornitorynque") == []


async def test_nobody_is_kept_waiting_by_a_dear_question(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that takes too long is given up, in the database too, and that is told; the next one is given."""
    sync = await federation.sync([])
    monkeypatch.setattr(reading, "WITHIN", 0.2)

    async def dear(conn: Any, *_: object) -> list[object]:
        await conn.execute("SELECT pg_sleep(60)")
        return []

    monkeypatch.setattr(items_store, "page", dear)
    status, problem, headers = await sync.call("GET", ITEMS)
    assert (status, problem["detail"][:10], headers["Retry-After"]) == (503, "This takes", "60")
    monkeypatch.undo()
    connection = await asyncpg.connect(sync.settings.database_url)
    try:
        still = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE $1"
        assert await connection.fetchval(still + " AND state = 'active'", "SELECT pg_sleep%") == 0
    finally:
        await connection.close()
    assert (await sync.get(ITEMS))["numberMatched"] == 0
