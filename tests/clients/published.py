"""A view of three hundred places for the clients of others, and what is true of it: known from what was written."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec import Struct

from demo.process import free_port
from services import ledger
from tests.conftest import Federation
from tests.nodes import Registry, Sync

# When each network said all that it says.
TIMES = (datetime(2025, 6, 15, 12, tzinfo=UTC), datetime(2026, 1, 10, 8, 30, tzinfo=UTC))
COMMUNES = (
    ("35238", "35000", "Rennes", 48.11, -1.68),
    ("2A004", "20000", "Ajaccio", 41.92, 8.74),
    ("97411", "97400", "Saint-Denis", -20.88, 55.45),
    ("75056", "75001", "Paris", 48.86, 2.35),
)
# West, south, east, north around Rennes.
RENNES = (-1.9, 47.9, -1.4, 48.3)
EACH = 150
CHUNK = 30
# Two on both sides of the antimeridian, one where the square of Web Mercator does not reach, and two nowhere.
ODD = ((-16.8, 179.97), (-16.9, -179.96), (89.0, 12.0), None, None)
Truth = Callable[["Written"], bool]


class Written(Struct, frozen=True):
    """A place as it was written into a registry; `id` is the common one, as no two records are of one place."""

    id: str
    place: dict[str, Any]
    updated: datetime

    @property
    def at(self) -> tuple[float, float] | None:
        """Longitude and latitude."""
        found = self.place.get("position")
        return (found["lon"], found["lat"]) if found else None

    @property
    def insee(self) -> str:
        """The code of its commune."""
        return str(self.place["address"]["insee"])


class Published(Struct, frozen=True):
    """A sync at work, and the places that were written into the registries that it listens to."""

    sync: Sync
    places: tuple[Written, ...]

    @property
    def url(self) -> str:
        """Where the sync answers."""
        return self.sync.url

    def ids(self, truth: Truth = lambda each: True) -> set[str]:
        """The places of which something is true."""
        return {each.id for each in self.places if truth(each)}


def within(west: float, south: float, east: float, north: float) -> Truth:
    """Whether a place lies in a box."""
    return lambda each: each.at is not None and west <= each.at[0] <= east and south <= each.at[1] <= north


def drawn(network: int) -> Iterator[dict[str, Any]]:
    """The places of a network: always the same."""
    chance = random.Random(network)
    for number in range(EACH):
        insee, postcode, city, lat, lon = chance.choice(COMMUNES)
        at = ODD[number] if network == 0 and number < len(ODD) else None
        nowhere = network == 0 and number < len(ODD) and at is None
        spread = (round(lat + chance.uniform(-0.5, 0.5), 5), round(lon + chance.uniform(-0.5, 0.5), 5))
        place: dict[str, Any] = {
            "name": f"L'« Atelier » n° {chance.getrandbits(40):x}, dit « {number} »",
            "status": chance.choice(("open", "closed", "project")),
            "families": sorted(chance.sample(("coworking", "fablab", "culturel"), chance.randint(1, 2))),
            "address": {"insee": insee, "city": city, "postcode": postcode},
            "summary": 'Un lieu ; avec "guillemets",\nvirgules et retours.',
            "license": "etalab-2.0",
        }
        if chance.random() < 0.5:
            place["opened_on"] = str(chance.randint(2010, 2020))
        if not nowhere:
            place["position"] = dict(zip(("lat", "lon"), at or spread, strict=True))
        yield place


async def write(registry: Registry, network: int) -> list[Written]:
    """Write the places of a network, some at a time."""
    places = list(drawn(network))
    written: list[Written] = []
    for first in range(0, len(places), CHUNK):
        some = places[first : first + CHUNK]
        answers = await asyncio.gather(*(registry.add(**place) for place in some))
        pairs = zip(answers, some, strict=True)
        written += [Written(answer["id"], place, TIMES[network]) for answer, place in pairs]
    return written


async def publish(federation: Federation) -> Published:
    """Two networks that have said all that they say, and a sync that has heard it."""
    registries, places = [], []
    for network, time in enumerate(TIMES):
        with pytest.MonkeyPatch.context() as patch:
            # A node keeps the clock that it was started with.
            patch.setattr(ledger, "clock", lambda time=time: time)
            registries.append(await federation.registry())
        places += await write(registries[-1], network)
    # Clients follow the links of its answers, which name its public address.
    port = free_port()
    sync = await federation.sync(registries, start=False, url=f"http://127.0.0.1:{port}")
    sync.port = port
    await sync.start()
    await sync.caught_up(registries)
    return Published(sync, tuple(places))
