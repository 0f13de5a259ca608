"""From a registry through a sync to a subscriber, all three real."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from demo.postgres import Postgres
from services.notify import app as notify_app
from services.notify.settings import Settings
from tests.nodes import Registry, eventually, new_registry, new_sync
from tests.notify.test_changes import Notify, Stream


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """What asks."""
    async with aiohttp.ClientSession() as client:
        yield client


@pytest.fixture
async def federation(
    postgres: Postgres, tmp_path: Path, client: aiohttp.ClientSession
) -> AsyncIterator[tuple[Registry, Registry, list[Notify]]]:
    """Two registries, a sync that listens to both, and two processes' worth of one notify that follows it."""
    urls = [await postgres.create_database() for _ in range(4)]
    registries = [
        await new_registry(client, url, tmp_path / f"registry-{n}") for n, url in enumerate(urls[:2])
    ]
    for registry in registries:
        await registry.start()
    sync = await new_sync(client, urls[2], tmp_path / "sync", registries).start()
    async with AsyncExitStack() as stack:
        settings = Settings(database_url=urls[3], follow=sync.url, port=0)
        ports = [await stack.enter_async_context(notify_app.serving(settings)) for _ in range(2)]
        yield registries[0], registries[1], [Notify(f"http://127.0.0.1:{port}", client) for port in ports]
    for service in (sync, *registries):
        await service.stop()
    for url in urls:
        await postgres.drop_database(url)


async def following(notify: Notify) -> None:
    """Wait until the sync's log has been read for the first time."""

    async def live() -> bool:
        return (await notify.ask("/readyz"))[1]["log"] == "live"

    await eventually(live)


async def next_change(stream: Stream) -> tuple[str, str, dict[str, object]]:
    """The next change of a stream: what it does, to which place, and the place as it is told."""
    while True:
        kind, _, data = await stream.event()
        if kind == "change":
            return data["view"], data["id"], data["place"]


async def test_a_coordinators_edit_reaches_subscribers_of_her_departement(
    federation: tuple[Registry, Registry, list[Notify]],
) -> None:
    """A place opens in Ille-et-Vilaine, is joined with another network's, moves to Finistère and comes back."""
    one, two, (notify, spare) = federation
    await following(notify)
    async with notify.stream("departement=35") as here, spare.stream("departement=29") as there:
        opened = (await one.add(name="La Fabrique", address={"postcode": "35000"}))["id"]
        view, id, place = await next_change(here)
        assert (view, id, place["name"]) == ("entered", opened, "La Fabrique")

        twin = (await two.add(name="La Fabrique (Réseau 2)", address={"postcode": "35000"}))["id"]
        assert (await next_change(here))[:2] == ("entered", twin)
        await one.claim(opened, twin)
        await two.claim(twin, opened)
        told = [await next_change(here)]
        while {told[-1][0]} != {"left"}:
            told.append(await next_change(here))
        assert told[-1][1] in (opened, twin)
        elder = min(opened, twin, key=lambda id: id.split(":")[1])
        assert {id for view, id, _ in told if view == "left"} == {
            max(opened, twin, key=lambda id: id.split(":")[1])
        }

        await one.withdraw(opened)
        await two.change(twin, address={"postcode": "29000"})
        async with asyncio.timeout(60):
            while (await next_change(there))[:2] != ("entered", elder):
                pass
            while (await next_change(here))[0] != "left":
                pass
    page = await notify.changes("departement=29")
    assert [(change["view"], change["id"]) for change in page["changes"]][-1] == ("entered", elder)
    assert await spare.changes("departement=29") == page
