"""People who write into a registry whatever happens to it: each wish is repeated until it is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import uuid4

import aiohttp
import msgspec
from uuid_utils import uuid7

AGAIN_S = 0.02
MERGE = "application/merge-patch+json"
TOWNS = (("35000", "Rennes"), ("29200", "Brest"), ("44000", "Nantes"), ("56000", "Vannes"))
AWAY = (aiohttp.ClientError, ConnectionError)
# A wish that was given up might still be carried out: whoever writes waits for longer than any outage here.
PATIENCE = aiohttp.ClientTimeout(total=90)


def session() -> aiohttp.ClientSession:
    """A client that repeats nothing by itself, as aiohttp does on a connection that it had kept."""
    return aiohttp.ClientSession(timeout=PATIENCE, connector=aiohttp.TCPConnector(limit=0, force_close=True))


@dataclass
class Accepted:
    """What a registry said it has done."""

    id: str
    version: int
    cursor: str
    body: Any


@dataclass
class Door:
    """A registry as those who write see it, and what was said at it."""

    session: aiohttp.ClientSession
    url: str
    token: str
    accepted: list[Accepted] = field(default_factory=list)
    flying: int = 0
    lost: int = 0
    done_before: int = 0

    async def once(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """Status and body of one request; the errors of a connection are the caller's."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        self.flying += 1
        try:
            async with self.session.request(method, self.url + path, headers=headers, **options) as answer:
                return answer.status, msgspec.json.decode(await answer.read())
        finally:
            self.flying -= 1

    async def until_answered(self, method: str, path: str, **options: Any) -> tuple[int, Any, bool]:
        """Status and body of the first answer that is one, and whether an earlier one was lost."""
        tries = 0
        while True:
            tries += 1
            try:
                status, body = await self.once(method, path, **options)
            except AWAY:
                status, body = 0, None
            if status and status < 500:
                return status, body, tries > 1
            assert status in (0, 503), body
            self.lost += 1
            await asyncio.sleep(AGAIN_S)

    async def wish(
        self, method: str, path: str, granted: Callable[[], Any] | None = None, **options: Any
    ) -> Any:
        """What was answered to a wish. A refusal of a repeated one may mean that it was granted at first:
        `granted` then tells what stands, or None where that is not so."""
        status, body, repeated = await self.until_answered(method, path, **options)
        if status in (200, 201):
            self.accepted.append(Accepted(body["id"], body["version"], body["cursor"], body.get("place")))
            return body
        assert repeated, (method, path, status, body)
        assert status in (410, 412), (method, path, status, body)
        assert granted is not None, (method, path, status, body)
        stands = await granted()
        assert stands is not None, f"{method} {path} was refused and never granted: {body}"
        self.done_before += 1
        return stands


@dataclass
class Place:
    """A place that somebody looks after: what she believes of it."""

    name: str
    id: str = ""
    version: int = 0
    withdrawn: bool = False


class Person:
    """Somebody who looks after places of her own. Her wishes depend on chance only, not on what is answered."""

    def __init__(self, number: int, seed: int, door: Door) -> None:
        self.number, self.door = number, door
        self.chance = Random(f"{seed}-{number}")
        self.places: list[Place] = []
        self.claims: dict[tuple[str, str], str] = {}
        self.wishes = 0

    async def wish(self) -> None:
        """Carry out the next wish."""
        self.wishes += 1
        open_ones = [p for p in self.places if not p.withdrawn]
        closed = [p for p in self.places if p.withdrawn]
        what = self.chance.choices(
            (self.open, self.create, self.change, self.replace, self.withdraw, self.reopen, self.claim),
            weights=(6, 2, 8, 3, 3, 3, 3),
        )[0]
        if what in (self.change, self.replace, self.withdraw) and open_ones:
            await what(self.chance.choice(open_ones))
        elif what == self.reopen and closed:
            await self.reopen(self.chance.choice(closed))
        elif what == self.claim and len(self.places) > 1:
            await self.claim(2 * self.chance.randrange(len(self.places) // 2))
        elif what == self.create:
            await self.create()
        else:
            await self.open()

    def content(self, name: str) -> dict[str, Any]:
        """A place of that name, somewhere."""
        postcode, city = self.chance.choice(TOWNS)
        summary = f"Vu {self.chance.randrange(10**9)}"
        return {
            "name": name,
            "status": "open",
            "address": {"postcode": postcode, "city": city},
            "summary": summary,
        }

    def named(self) -> Place:
        """A place that nobody has heard of."""
        return Place(f"Lieu {self.number}-{len(self.places)}")

    async def open(self) -> None:
        """A new place, with a key by which a repeated request is known."""
        place = self.named()
        said = await self.door.wish(
            "POST", "/places", json=self.content(place.name), headers={"Idempotency-Key": uuid4().hex}
        )
        self.note(place, said)
        self.places.append(place)

    async def create(self) -> None:
        """A new place under an id of one's own."""
        place = self.named()
        said = await self.door.wish(
            "PUT",
            f"/places/{uuid7()}",
            json=self.content(place.name),
            headers={"If-None-Match": "*"},
        )
        self.note(place, said)
        self.places.append(place)

    async def change(self, place: Place) -> None:
        """Some fields of a place."""
        patch = {"summary": f"Revu {self.chance.randrange(10**9)}"}
        said = await self.door.wish(
            "PATCH",
            f"/places/{place.id}",
            self.stands(place, patch),
            data=msgspec.json.encode(patch),
            headers={"If-Match": f'"{place.version}"', "Content-Type": MERGE},
        )
        self.note(place, said)

    async def replace(self, place: Place) -> None:
        """All of a place."""
        content = self.content(place.name)
        said = await self.door.wish(
            "PUT",
            f"/places/{place.id}",
            self.stands(place, content),
            json=content,
            headers={"If-Match": f'"{place.version}"'},
        )
        self.note(place, said)

    async def withdraw(self, place: Place) -> None:
        """Take a place back."""

        async def gone() -> Any:
            status, _, _ = await self.door.until_answered("GET", f"/places/{place.id}")
            return {"id": place.id, "version": place.version + 1} if status == 410 else None

        version = {"If-Match": f'"{place.version}"'}
        self.note(place, await self.door.wish("DELETE", f"/places/{place.id}", gone, headers=version))
        place.withdrawn = True

    async def reopen(self, place: Place) -> None:
        """Bring a place back."""
        self.note(place, await self.door.wish("POST", f"/places/{place.id}/reopen"))
        place.withdrawn = False

    async def claim(self, first: int) -> None:
        """Say how two neighbours relate, or take back what was said of them."""
        one, other = self.places[first : first + 2]
        verdict = self.chance.choice(("same", "distinct", None))
        known = self.claims.pop((one.name, other.name), None)
        if verdict is None and known is not None:

            async def gone() -> Any:
                status, _, _ = await self.door.until_answered("GET", f"/claims/{known}")
                return known if status == 410 else None

            await self.door.wish("DELETE", f"/claims/{known}", gone)
            return
        body = {"a": one.id, "b": other.id, "verdict": verdict or "same"}
        said = await self.door.wish("POST", "/claims", json=body)
        self.claims[one.name, other.name] = said["id"].rpartition(":")[2]

    def stands(self, place: Place, fields: dict[str, Any]) -> Callable[[], Any]:
        """Tells how a place stands if it is the next version and has these fields."""

        async def look() -> Any:
            _, body, _ = await self.door.until_answered("GET", f"/places/{place.id}")
            granted = body["version"] == place.version + 1 and fields.items() <= body["place"].items()
            return body if granted else None

        return look

    def note(self, place: Place, said: Any) -> None:
        """Believe what was answered; a wish, however often it was sent, makes one version."""
        assert not place.id or said["id"] == place.id, (place, said)
        assert said["version"] == place.version + 1, (place, said)
        place.id, place.version = said["id"], said["version"]
