"""A small federation to look at: two networks that contradict each other, one that fell silent, one that asks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest_asyncio
from msgspec import Struct
from playwright.async_api import Browser, Page

from tests.conftest import Federation
from tests.nodes import Registry, Sync, eventually
from tests.pages.looking import Seen

HERE = {"lat": 47.2184, "lon": -1.5536}
NORTH: dict[str, Any] = {
    "name": "La Filature <b>",
    "status": "open",
    "families": ["fablab", "coworking"],
    "types": ["nord:bobine"],
    "summary": "Un atelier partagé au bord du canal, ouvert à qui veut réparer, coudre ou apprendre.",
    "address": {"street": "12 quai des Fileuses", "postcode": "44000", "city": "Nantes"},
    "position": {**HERE, "precision": "exact"},
    "opening_hours": "Mo-Fr 09:00-18:30; Sa 10:00-12:00; PH off",
    "phone": "+33240123456",
    "website": "https://filature.example/accueil",
    "accessibility": {"wheelchair": "yes"},
    "operator": {"name": "Association La Filature"},
    "photos": [{"url": "https://photos.example/filature.jpg", "credit": "Les amis de la Filature"}],
    "extensions": {"nord:machines": {"tours": 3}},
}
SOUTH: dict[str, Any] = {
    **{name: NORTH[name] for name in ("address", "position", "families")},
    "name": "La Filature",
    "status": "closed",
    "closed_on": "2026-03",
    "phone": "+33240999999",
    "license": "ODbL-1.0",
    "description": "</script><script>window.wrong = 1</script>",
}


class Together(Struct):
    """The view, its networks, and the records that they have of the one place; `hidden` is left out of the view."""

    browser: Browser
    sync: Sync
    north: Registry
    south: Registry
    asking: Registry
    records: list[str]
    gone: str
    hidden: str

    @asynccontextmanager
    async def look(
        self, path: str, *, at: str = "", others: Sequence[str] = (), status: int = 200, **wishes: Any
    ) -> AsyncIterator[Page]:
        """A page of the view as a person opens it; it asks nobody but its own site and `others`, by origin."""
        wanted = {"locale": "fr-FR", "reduced_motion": "reduce", "viewport": {"width": 1280, "height": 800}}
        url, seen = at or self.sync.url, Seen()
        context = await self.browser.new_context(base_url=url, **{**wanted, **wishes})
        page = await context.new_page()
        seen.watch(page)
        answer = await page.goto(path)
        assert answer is not None
        assert answer.status == status
        yield page
        assert seen.origins() <= {url, *others}
        await context.close()

    @property
    def path(self) -> str:
        """The page of the place in the view."""
        return f"/places/{min(self.records, key=lambda record: record.partition(':')[2])}"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def view(nodes: Federation, browser: Browser) -> AsyncIterator[Together]:
    """The federation, started once for all tests of pages."""
    north = await nodes.registry(name="Réseau du Nord", contact="nord@reseau.example", slug="nord")
    south = await nodes.registry(name="Tiers-lieux du Sud", contact="https://sud.example/contact", slug="sud")
    silent = await nodes.registry(name="Les Muets", contact="muets@reseau.example", heartbeat_s=1)
    asking = await nodes.registry(name="Nouveau réseau", contact="nouveau@reseau.example")
    words = [{"namespace": "nord", "code": "bobine", "labels": {"fr": "Atelier textile"}, "of": "types"}]
    status, said, _ = await north.call("PUT", "/vocabulary", json={"terms": words})
    assert status == 200, said
    one, other = await north.add(**NORTH), await south.add(**SOUTH)
    await north.claim(one["id"], other["id"])
    await south.claim(other["id"], one["id"])
    await north.change(one["id"], summary="Un atelier partagé au bord du canal.")
    gone, hidden = await south.add(name="Parti"), await south.add(name="Caché")
    sync = await nodes.sync(
        [north, south, silent],
        name="Vue d’ensemble",
        contact="vue@exemple.example",
        private_addresses=("127.0.0.0/8",),
    )
    await sync.caught_up([north, south, silent])
    await south.withdraw(gone["id"])
    await sync.command("hide", hidden["id"], "--reason", "on-request")
    status, answer, _ = await sync.call("POST", "/networks", json={"url": asking.url})
    assert status == 202, answer
    await silent.stop()
    made = Together(browser, sync, north, south, asking, [one["id"], other["id"]], gone["id"], hidden["id"])
    await sync.caught_up([north, south])

    async def settled() -> bool:
        found = await sync.networks()
        return found[silent.node]["state"] == "stale" and found[south.node]["hidden"] == 1

    await eventually(settled, 60)
    yield made
