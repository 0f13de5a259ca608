"""One browser for all tests of pages, and one registry with places to look at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, TCPConnector
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from demo import sample
from tests import chromium
from tests.conftest import Federation
from tests.engines import Server
from tests.nodes import Registry
from tests.pages.looking import Seen
from tests.pages.view import view

__all__ = ["view"]
DEADLINE_MS = 30_000
NAME = "Tiers-lieux d’ici"
Visit = Callable[..., Awaitable[Page]]
# Three in one building, one elsewhere, one without an address that is told.
TOGETHER = [
    {"name": f"Atelier {n}", "position": {"lat": 47.2184, "lon": -1.5536}, "families": ["fablab"]}
    for n in (1, 2, 3)
]
ALONE = {"name": "Lieu seul", "position": {"lat": 44.5, "lon": 3.5}, "families": ["nourricier", "culturel"]}
HIDDEN = {"name": "Lieu caché", "kind": "undisclosed", "families": ["culturel"]}
PLACES = 300


def places() -> bytes:
    """Some three hundred places, as lines of JSON."""
    lines = [line for network in sample.networks(4) for line in sample.lines(network).splitlines()]
    own = [
        {"status": "open", "address": {"postcode": "44000", "city": "Nantes"}, **each}
        for each in (*TOGETHER, ALONE, HIDDEN)
    ]
    return "\n".join([*lines[: PLACES - len(own)], *map(json.dumps, own)]).encode()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Federation]:
    """What makes registries for the tests of pages."""
    async with ClientSession(connector=TCPConnector(keepalive_timeout=4)) as client:
        made = Federation(postgres, client, tmp_path_factory.mktemp("pages"))
        yield made
        await made.end()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def here(nodes: Federation) -> Registry:
    """A registry with some three hundred places."""
    registry = await nodes.registry(name=NAME, contact="contact@ici.example")
    done = await registry.list_in(places(), "application/x-ndjson", format="jsonl")
    assert done["counts"]["new"] == PLACES
    return registry


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """A real Chromium."""
    async with async_playwright() as playwright:
        expect.set_options(timeout=DEADLINE_MS)
        # The sandbox of Chromium is not to be had as root, and the pages are our own.
        launched = await playwright.chromium.launch(executable_path=chromium.find(), args=["--no-sandbox"])
        yield launched
        await launched.close()


@pytest.fixture
def seen() -> Seen:
    """What the browser did in this test."""
    return Seen()


@pytest_asyncio.fixture(loop_scope="session")
async def visit(browser: Browser, here: Registry, seen: Seen) -> AsyncIterator[Visit]:
    """Open a page of the registry as a person does; it asks nobody else, and complains of nothing."""
    contexts: list[BrowserContext] = []

    async def visit(path: str = "/", *, at: str = "", ready: bool = True, **wishes: Any) -> Page:
        wanted = {"locale": "fr-FR", "reduced_motion": "reduce", "viewport": {"width": 1280, "height": 800}}
        context = await browser.new_context(base_url=at or here.url, **{**wanted, **wishes})
        contexts.append(context)
        page = await context.new_page()
        page.set_default_timeout(DEADLINE_MS)
        seen.watch(page)
        await page.goto(path)
        if ready:
            await page.wait_for_selector("#map[data-ready]", state="attached")
        return page

    yield visit
    for context in contexts:
        await context.close()
    assert seen.complaints == []
    assert seen.origins() == {here.url}
