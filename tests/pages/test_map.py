"""The map in a real browser: what people do with it, by eye, by keyboard and by ear."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.nodes import Registry
from tests.pages.conftest import NAME, PLACES, Visit
from tests.pages.looking import Seen, accessible, shot

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = {"viewport": {"width": 320, "height": 640}}
SPIED = """navigator.geolocation.getCurrentPosition = (done) => {
    window.asked = true; done({coords: {latitude: 44.5, longitude: 3.5}})
}"""
FOCUSED = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent"


async def count(page: Page, text: str) -> None:
    """The line that says how many places are shown says this."""
    await expect(page.locator("#count")).to_have_text(re.compile(text))


async def clustered(page: Page) -> int:
    """How many places the markers on the map stand for."""
    names = await page.locator(".spot").evaluate_all("spots => spots.map(s => s.getAttribute('aria-label'))")
    return sum(int(name.split()[0]) if name.endswith("zoomer") else 1 for name in names)


async def test_searching_and_choosing_change_list_and_map_at_once(visit: Visit) -> None:
    """Words and choices apply without a new page, are kept in the address, and are undone by going back."""
    page = await visit()
    await count(page, f"^{PLACES} lieux, dont 1 dans la liste seulement$")
    await shot(page, "map-1280-light")
    await page.evaluate("window.stayed = true")
    await page.select_option("[name=family]", "nourricier")
    await expect(page).to_have_url(re.compile(r"\?family=nourricier#"))
    await expect(page.locator("#results li .family").first).to_have_text("Lieu nourricier")
    chosen = await page.inner_text("#count")
    assert chosen != str(PLACES)
    await page.fill("[name=q]", "LIEU séul")
    await count(page, "^Un lieu$")
    await expect(page.locator(".spot")).to_have_count(1)
    await expect(page.locator(".spot")).to_have_attribute(
        "aria-label", "Lieu seul, Lieu nourricier, Lieu culturel"
    )
    assert "q=LIEU" in page.url
    await page.go_back()
    await count(page, f"^{chosen}$")
    assert await page.input_value("[name=q]") == ""
    assert await page.input_value("[name=family]") == "nourricier"
    await page.click("#clear")
    await count(page, f"^{PLACES}")
    await expect(page.locator("[name=q]")).to_be_focused()
    assert await page.input_value("[name=family]") == ""
    await page.focus("[rel=next]")
    await page.keyboard.press("Enter")
    await expect(page.locator("#results a").first).to_be_focused()
    assert await page.evaluate("window.stayed")


async def test_an_address_opens_the_same_view(visit: Visit) -> None:
    """Whoever is sent an address sees the same part of the map, with the same places."""
    page = await visit("/?family=fablab")
    await page.click(".leaflet-control-zoom-in")
    await expect(page).to_have_url(re.compile(r"family=fablab#\d+/-?[\d.]+/-?[\d.]+$"))
    there = page.locator(".spot")
    names = await there.evaluate_all("spots => spots.map(s => s.getAttribute('aria-label'))")
    other = await visit(page.url)
    assert page.url == other.url
    assert names == await other.locator(".spot").evaluate_all(
        "spots => spots.map(s => s.getAttribute('aria-label'))"
    )


async def test_list_and_map_show_each_other(visit: Visit) -> None:
    """What is pointed at in the list is ringed on the map, and what is reached on the map is marked in the list."""
    page = await visit("/?q=lieu+seul")
    await page.hover("#results li")
    await expect(page.locator(".ring")).to_have_count(1)
    await page.focus(".spot")
    await expect(page.locator("#results li.lit")).to_have_count(1)


async def test_what_can_be_chosen_comes_back(visit: Visit) -> None:
    """Where nothing is found there is nothing to choose from; with other words there is again."""
    page = await visit("/?q=introuvable")
    await expect(page.locator("[name=family]")).to_be_hidden()
    await page.fill("[name=q]", "")
    await count(page, f"^{PLACES}")
    await page.select_option("[name=family]", "fablab")
    await expect(page).to_have_url(re.compile("family=fablab"))


async def test_a_low_window_shows_the_list_all_the_same(visit: Visit) -> None:
    """Whatever the form takes, the list has room, and the page scrolls to it."""
    page = await visit(viewport={"width": 1280, "height": 400})
    await page.click("#filters summary")
    await page.locator("#results a").first.scroll_into_view_if_needed()
    await expect(page.locator("#results a").first).to_be_in_viewport()
    box = await page.locator("section.list").bounding_box()
    assert box is not None
    assert box["height"] >= 200


async def test_the_keyboard_reaches_a_place(visit: Visit) -> None:
    """Past the skip link come clusters by name; Enter zooms and keeps the focus; a place opens and leads on."""
    page = await visit("/?q=atelier&departement=44")
    await page.focus("section.board .skip")
    await expect(page.locator("section.board .skip")).to_be_in_viewport()
    for _ in range(30):
        await page.keyboard.press("Tab")
        if (await page.evaluate(FOCUSED) or "").endswith("zoomer"):
            break
    zoom = int(page.url.partition("#")[2].partition("/")[0] or 0)
    while (await page.evaluate(FOCUSED)).endswith("zoomer"):
        await page.keyboard.press("Enter")
        await expect(page.locator("#preview:not([hidden]), .spot:focus").first).to_be_visible()
    assert int(page.url.partition("#")[2].partition("/")[0]) > zoom
    if not await page.locator("#preview").is_visible():
        await shot(page, "keyboard-focus")
        await page.keyboard.press("Enter")
    await expect(page.locator("#preview a:focus")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.locator(".spot:focus")).to_have_count(1)
    await page.keyboard.press("Enter")
    name = await page.locator("#preview a").first.inner_text()
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text(name)


async def test_places_at_one_point_are_told_one_by_one(visit: Visit) -> None:
    """Where zooming parts nothing any more, the places are listed."""
    page = await visit("/#18/47.2184/-1.5536")
    await page.click(".spot.cluster")
    await expect(page.locator("#preview h2")).to_have_text("3 lieux à cet endroit")
    await expect(page.locator("#preview li")).to_have_count(3)
    await expect(page.locator("#preview li p").first).to_have_text("Nantes · Fablab")
    await shot(page, "together")
    await accessible(page)


async def test_the_map_shows_what_the_list_has(visit: Visit) -> None:
    """All places with a position are on the map, in clusters or alone; those without are in the list only."""
    page = await visit()
    assert await clustered(page) == PLACES - 1
    await page.fill("[name=q]", "caché")
    await count(page, "^Un lieu, dont 1 dans la liste seulement$")
    await expect(page.locator(".unplaced")).to_have_text("pas sur la carte")
    await expect(page.locator(".spot")).to_have_count(0)


async def test_near_a_commune_and_near_me(visit: Visit) -> None:
    """A commune is found by its name without accents; where somebody is, is asked for upon a click only."""
    page = await visit(ready=False, permissions=["geolocation"])
    await page.add_init_script(SPIED)
    await page.reload()
    await page.wait_for_selector("#map[data-ready]", state="attached")
    await page.fill(".where", "NANTES")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(r"near=47\.\d+,-1\.\d+,20"))
    await expect(page.locator("#results li").first).to_be_visible()
    assert not await page.evaluate("window.asked")
    await page.select_option(".km", "5")
    await expect(page).to_have_url(re.compile(r"near=47\.\d+,-1\.\d+,5"))
    await page.fill(".where", "Nullepart-sur-Rien")
    await page.keyboard.press("Enter")
    await expect(page.locator("#said")).to_have_text("Aucune commune de ce nom n’a été trouvée.")
    await page.click(".me")
    await expect(page).to_have_url(re.compile(r"near=44\.5000,3\.5000,5"))
    await count(page, "^Un lieu$")


async def test_a_phone_shows_one_at_a_time(visit: Visit) -> None:
    """At 320 pixels nothing runs out of the screen, and a button changes between list and map."""
    page = await visit(**PHONE)
    fits = "document.documentElement.scrollWidth <= innerWidth"
    await expect(page.locator("#results")).to_be_visible()
    await expect(page.locator("#map")).to_be_hidden()
    assert await page.evaluate(fits)
    await shot(page, "phone-list")
    await page.click("[data-side=map]")
    await expect(page.locator("#results")).to_be_hidden()
    await expect(page.locator(".spot").first).to_be_visible()
    assert await page.evaluate(fits)
    await page.locator("#map").scroll_into_view_if_needed()
    await shot(page, "phone-map")
    await accessible(page)
    await page.click("[data-side=list]")
    await page.click("#results a >> nth=0")
    await expect(page.locator("dl").first).to_be_visible()
    assert await page.evaluate(fits)


async def test_french_first_and_english_by_one_click(visit: Visit) -> None:
    """The page is French; one click makes it English, with the same filters."""
    page = await visit("/?family=fablab", locale="de-DE")
    await expect(page.locator("html")).to_have_attribute("lang", "fr")
    await expect(page.locator("#void")).to_have_text(
        f"Cette carte montre les lieux de {NAME}. Là où rien n’est montré, il peut y en avoir d’autres."
    )
    await page.select_option("[name=family]", "coworking")
    await expect(page).to_have_url(re.compile("family=coworking"))
    await expect(page.locator("a.language")).to_have_attribute("href", re.compile("coworking"))
    await page.click("a.language")
    await expect(page.locator("html")).to_have_attribute("lang", "en")
    assert await page.input_value("[name=family]") == "coworking"
    await expect(page.locator("#count")).to_have_text(re.compile(r"^\d+ places$"))
    await accessible(page)


async def test_without_scripts_the_list_works(visit: Visit) -> None:
    """List, form and the pages of the list need no script."""
    page = await visit(ready=False, java_script_enabled=False)
    await expect(page.locator("noscript p")).to_be_visible()
    await expect(page.locator("#map, .layer")).to_have_count(2)
    for part in await page.locator("#map, .layer").all():
        await expect(part).to_be_hidden()
    box = await page.locator("section.list").bounding_box()
    assert box is not None
    assert box["width"] > 1000
    await expect(page.locator("#results li")).to_have_count(50)
    await page.click(".turn [rel=next]")
    await expect(page.locator("#results li")).to_have_count(50)
    await page.fill("[name=q]", "lieu seul")
    await page.click("[type=submit]")
    await expect(page.locator("#results li")).to_have_count(1)
    await page.click("#results a")
    await expect(page.locator("h1")).to_have_text("Lieu seul")


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_nothing_stands_in_the_way(visit: Visit, scheme: str) -> None:
    """Map, preview, place and frame have no violation of WCAG at A and AA, by day and by night."""
    page = await visit("/#12/44.5/3.5", color_scheme=scheme)
    await page.click("summary")
    await page.click(".spot.place")
    await expect(page.locator("#preview")).to_be_visible()
    await accessible(page)
    await shot(page, f"preview-{scheme}")
    await page.click("#preview a")
    await expect(page.locator("h1")).to_have_text("Lieu seul")
    await accessible(page)
    await shot(page, f"place-{scheme}")
    framed = await visit("/embed?family=fablab&color=%23ffd000", color_scheme=scheme)
    await framed.click("summary")
    await accessible(framed)
    await shot(framed, f"embed-{scheme}")
    phone = await visit(color_scheme=scheme, viewport={"width": 360, "height": 740})
    await shot(phone, f"phone-360-{scheme}")
    await phone.click("[data-side=map]")
    await accessible(phone)


async def test_departements_are_drawn_when_somebody_wants_them(visit: Visit, seen: Seen) -> None:
    """Land, rivers and towns are there at once, the limits of départements upon a tick."""
    page = await visit()
    drawn = {"france", "around", "rivers", "towns"}
    assert {
        name for name in (*drawn, "departements") if any(f"base/{name}." in u for u in seen.asked)
    } == drawn
    async with page.expect_request(lambda request: "base/departements." in request.url):
        await page.check("#departements")


async def test_every_target_is_large_enough(visit: Visit, here: Registry) -> None:
    """What is to be pressed measures 24 pixels at least each way."""
    page = await visit("/#9/47.2/-1.55", **PHONE)
    await page.click("[data-side=map]")
    small = await page.locator("button:visible, select:visible, input:visible, #map a:visible").evaluate_all(
        "all => all.map(e => [e, e.getBoundingClientRect()])"
        ".filter(([e, b]) => e.type !== 'checkbox' && Math.min(b.width, b.height) < 24).map(([e]) => e.outerHTML)"
    )
    assert small == []
