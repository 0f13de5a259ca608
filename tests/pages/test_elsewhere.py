"""The map beside others: in foreign sites, and with background tiles of somebody else."""

from __future__ import annotations

import asyncio
import re

import pytest
from aiohttp import web
from playwright.async_api import Browser, expect

from services.http import listening
from tests.conftest import Federation
from tests.nodes import Registry
from tests.pages.conftest import NAME
from tests.pages.looking import Seen, accessible, shot
from tests.test_boundaries import ROOT

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_site_shows_the_map_of_a_network(here: Registry, browser: Browser) -> None:
    """One file and one element put the map, with its filters and colour, into a site that knows nothing of us."""
    html = f"""<!doctype html><title>Un site</title><script defer src="/embed.js"></script>
        <maillage-map src="{here.url}" family="nourricier" color="aa0000" height="420"></maillage-map>
        <maillage-map src="javascript:alert(1)"><a href="/carte">La carte</a></maillage-map>"""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=html, content_type="text/html")

    async def script(request: web.Request) -> web.Response:
        text = (ROOT / "web" / "static" / "embed.js").read_text("utf-8")
        return web.Response(text=text, content_type="text/javascript")

    site = web.Application()
    site.add_routes([web.get("/", show), web.get("/embed.js", script)])
    async with listening(site, "127.0.0.1", 0) as port:
        context = await browser.new_context(locale="fr-FR")
        page = await context.new_page()
        seen = Seen()
        seen.watch(page)
        await page.goto(f"http://127.0.0.1:{port}/")
        frame = page.frame_locator("iframe")
        await expect(frame.locator("h1")).to_have_text(NAME)
        await expect(frame.locator(".spot").first).to_be_visible()
        await expect(frame.locator(".spot").first).to_have_css("background-color", "rgb(170, 0, 0)")
        await expect(page.locator("iframe")).to_have_attribute("title", "Carte des lieux")
        box = await page.locator("iframe").bounding_box()
        assert box is not None
        assert box["height"] == 420
        await expect(page.get_by_text("La carte")).to_be_visible()
        assert await context.cookies() == []
        assert seen.origins() == {here.url, f"http://127.0.0.1:{port}"}
        assert [said for said in seen.complaints if "favicon" not in said and "404" not in said] == []
        await page.evaluate("document.querySelector('maillage-map').setAttribute('family', 'fablab')")
        await expect(page.locator("iframe")).to_have_attribute("src", re.compile("family=fablab"))
        await context.close()


async def test_tiles_that_never_come_hold_up_nothing(nodes: Federation, browser: Browser) -> None:
    """With a background that its operator chose and that does not answer, places and list are there all the same."""
    asked: list[bytes] = []

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        await reader.read()
        writer.close()

    tiles = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = tiles.sockets[0].getsockname()[1]
    registry = await nodes.registry(
        tiles_url=f"http://127.0.0.1:{port}/{{z}}/{{x}}/{{y}}.png", tiles_attribution="© Quelqu’un"
    )
    await registry.add(name="Ici", position={"lat": 48.1, "lon": -1.7})
    context = await browser.new_context(locale="fr-FR", reduced_motion="reduce")
    page = await context.new_page()
    seen = Seen()
    seen.watch(page)
    await page.goto(registry.url, wait_until="commit")
    await expect(page.locator(".spot")).to_have_attribute("aria-label", "Ici")
    await expect(page.locator("#results li")).to_have_count(1)
    await expect(page.locator(".leaflet-control-attribution")).to_contain_text("© Quelqu’un")
    await page.fill("[name=q]", "nulle part")
    await expect(page.locator("#count")).to_have_text("Aucun lieu")
    assert asked
    assert re.match(rb"GET /\d+/\d+/\d+\.png", asked[0])
    assert seen.origins() == {registry.url, f"http://127.0.0.1:{port}"}
    assert seen.complaints == []
    await context.close()
    tiles.close()
    await tiles.wait_closed()


async def test_the_common_view_has_the_same_map(here: Registry, nodes: Federation, browser: Browser) -> None:
    """A sync shows the places of several networks on the same page, and says how many it listens to."""
    other = await nodes.registry(name="Réseau d’à côté", slug="a-cote")
    await other.add(name="À côté", position={"lat": 45.1, "lon": 5.7}, families=["living-lab"])
    communes = {"name": "La cuvette", "communes": ["38185"]}
    assert (await other.call("POST", "/areas", json=communes))[0] == 201
    sync = await nodes.sync([here, other])
    await sync.caught_up([here, other])
    context = await browser.new_context(base_url=sync.url, locale="fr-FR", reduced_motion="reduce")
    page = await context.new_page()
    seen = Seen()
    seen.watch(page)
    await page.goto("/")
    await expect(page.locator("#void")).to_have_text(
        "Cette vue écoute 2 réseaux : là où rien n’est montré, il peut y avoir des lieux."
    )
    await expect(page.locator(".spot").first).to_be_visible()
    await page.click("summary")
    await shot(page, "sync-1280")
    await expect(page.locator("[name=area] option")).to_have_text(["peu importe", "La cuvette"])
    # By name: that one has more places is no reason to stand first.
    await expect(page.locator("[name=network] option")).to_have_text(
        ["peu importe", "Réseau d’à côté (1)", re.compile("^Tiers-lieux d’ici")]
    )
    await page.select_option("[name=network]", label="Réseau d’à côté (1)")
    await expect(page.locator("#results li")).to_have_count(1)
    await expect(page.locator("#results li a")).to_have_text("À côté")
    await expect(page.locator(".spot")).to_have_attribute("aria-label", "À côté, Living lab")
    await page.click(".spot")
    await expect(page.locator("#preview a")).to_have_attribute("href", re.compile(f"^/places/{other.node}:"))
    await accessible(page)
    assert seen.origins() == {sync.url}
    assert seen.complaints == []
    await context.close()
