"""What a reader of the feed costs: so many bytes a page, and next to nothing while it waits."""

import asyncio
from typing import Any

import msgspec
import pytest

from services import ledger
from tests.conftest import Federation
from tests.nodes import Registry

BUDGET = 20_000


async def pages(registry: Registry, start: int = 0) -> list[list[int]]:
    """How many bytes each event has, page by page, to the end of the feed."""
    found: list[list[int]] = []
    while True:
        lines = (await registry.get(f"/feed?after=1.{start}&limit=1000")).splitlines()
        raws = [msgspec.json.decode(line)["raw"] for line in lines[:-1]]
        if not raws:
            return found
        found.append([len(raw.encode()) for raw in raws])
        start += len(raws)


async def test_a_page_has_a_budget_of_bytes(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long events make short pages, each with one checkpoint that proves it; one event always passes."""
    monkeypatch.setattr(ledger, "MAX_PAGE", BUDGET)
    for n in range(20):
        await registry.add(name=f"Lieu {n}", description="é" * 2000)
    await registry.add(name="Long", extensions={"essai": {"long": "x" * 15_000}}, description="é" * 3000)
    await registry.add(name="Court")
    found = await pages(registry)
    assert sum(map(len, found)) == 22
    assert all(sum(page) <= BUDGET or len(page) == 1 for page in found)
    assert max(len(page) for page in found) > 2
    line = (await registry.get("/feed?after=1.0")).splitlines()[-1]
    assert msgspec.json.decode(msgspec.json.decode(line)["checkpoint"]["raw"])["size"] == len(found[0])


async def test_a_batch_larger_than_a_page_is_followed(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no checkpoint stands within a page, its events prove themselves, and a sync arrives all the same."""
    monkeypatch.setattr(ledger, "MAX_PAGE", BUDGET)
    registry = await federation.registry(heartbeat_s=1)
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    rows = "".join(f"Lieu {n},35000,{'x' * 500}\n" for n in range(100))
    job = await registry.list_in(f"name,postcode,description\n{rows}".encode(), source="liste")
    assert job["state"] == "done", job
    found = await pages(registry)
    assert len(found) > 3
    assert all(sum(page) <= BUDGET for page in found)
    assert (await sync.caught_up([registry]))["count"] == sum(map(len, found)) == 100


async def test_who_waits_costs_a_glance_a_second(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a reader waits, pages are made when it comes and when there is something, or time is up."""
    made = 0
    page = ledger.page

    async def counted(*args: Any, **named: Any) -> ledger.Page:
        nonlocal made
        made += 1
        return await page(*args, **named)

    monkeypatch.setattr(ledger, "page", counted)
    readers = [asyncio.create_task(registry.get("/feed?after=1.0&wait=3")) for _ in range(5)]
    await asyncio.gather(*readers)
    assert made == 2 * len(readers)
    reader = asyncio.create_task(registry.get("/feed?after=1.0&wait=20"))
    await registry.add()
    async with asyncio.timeout(15):
        assert len((await reader).splitlines()) == 2
