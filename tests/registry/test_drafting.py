"""Lists are read beside the service: in whichever way, the same comes out, and whatever happens to the reader."""

import asyncio
from asyncio.subprocess import Process
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.errors import Unavailable, Unsupported
from services.registry import drafting, importing, mapping
from services.registry.drafting import Order
from services.registry.reading import Format
from tests.nodes import Registry
from tests.registry.test_imports import counts, ended, rows, table, upload

SOURCE = mapping.Source(system="l", license="etalab-2.0", today=date(2026, 1, 31), namespace="l")
DIRTY = (
    table(rows(2500)).decode()
    + '1,Lieu répété,35000,Rennes,x\n7777,,35000,Rennes,sans nom\n8888,"a\nb",1500,"Bourg ""x""",y\n9,a,b,c,d,e\n'
).encode()


async def read(file: Path, aside: int, monkeypatch: pytest.MonkeyPatch, format: Format = "csv") -> list[Any]:
    """All batches of a list that is read aside from so many bytes on, as JSON."""
    monkeypatch.setattr(drafting, "ASIDE_BYTES", aside)
    with file.open("rb") as opened:
        order = Order(format=format, mapping=importing.guessed(opened, format, {}), source=SOURCE)
        return [msgspec.json.encode(batch) async for batch in drafting.batches(opened, order)]


async def test_both_ways_of_reading_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list read in a process of its own gives the rows, repairs and refusals that it gives in a thread."""
    file = tmp_path / "l.csv"
    file.write_bytes(DIRTY)
    started = note_processes(monkeypatch)
    here = await read(file, 2**40, monkeypatch)
    assert not started
    there = await read(file, 0, monkeypatch)
    assert len(started) == 1
    assert len(here) == 3
    assert here == there
    assert b"same row as line" in here[-1]


def note_processes(monkeypatch: pytest.MonkeyPatch) -> list[Process]:
    """The processes that are started from now on."""
    started: list[Process] = []
    start = asyncio.create_subprocess_exec

    async def noted(*words: Any, **options: Any) -> Process:
        started.append(await start(*words, **options))
        return started[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    return started


async def test_what_the_other_process_refuses_is_refused_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure keeps its kind, words and arguments on the way; a bug there is one here."""
    file = tmp_path / "l.geojson"
    file.write_text(
        '{"type":"FeatureCollection","features":[],"crs":{"properties":{"name":"urn:ogc:def:crs:EPSG::99999"}}}'
    )
    order = Order(format="geojson", mapping=mapping.Mapping({}), source=SOURCE)
    monkeypatch.setattr(drafting, "ASIDE_BYTES", 0)
    with file.open("rb") as opened:
        with pytest.raises(Unsupported) as refused:
            await anext(drafting.batches(opened, order))
        assert refused.value.arguments == {"code": "99999"}
        odd = msgspec.structs.replace(order, format="csv", mapping=mapping.Mapping({"x": None}))  # type: ignore[dict-item]
        with pytest.raises(ValueError, match="bug"):
            await anext(drafting.batches(opened, odd))


async def test_a_killed_reader_is_weather(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the other process is killed in the middle, nobody takes what came for the whole list."""
    file = tmp_path / "l.csv"
    file.write_bytes(table(rows(30_000)))
    started = note_processes(monkeypatch)
    monkeypatch.setattr(drafting, "ASIDE_BYTES", 0)
    with file.open("rb") as opened:
        order = Order(format="csv", mapping=importing.guessed(opened, "csv", {}), source=SOURCE)
        coming = drafting.batches(opened, order)
        assert len((await anext(coming)).rows) == drafting.READ
        started[0].kill()
        with pytest.raises(Unavailable):
            while True:
                await anext(coming)
    assert started[0].returncode == -9


async def test_an_import_outlives_its_reader(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """An import whose reading process is killed starts again, and ends with every row once."""
    started = note_processes(monkeypatch)
    monkeypatch.setattr(drafting, "ASIDE_BYTES", 0)
    status, job = await upload(registry, table(rows(3000)), mode="apply", source="l")
    assert status == 202
    async with asyncio.timeout(20):
        while not started:
            await asyncio.sleep(0.01)
    started[0].kill()
    done = await ended(registry, job)
    assert done["state"] == "done"
    assert started[0].returncode == -9
    assert len(started) > 1
    assert sum(counts(done).values()) == 3000
    assert len(await registry.feed()) == 3000
