"""The observatory in a real browser: every number leads to its list, and the page reads by eye, by ear and on paper."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.conftest import Federation
from tests.nodes import Registry, Sync
from tests.pages.conftest import Seen
from tests.pages.looking import SCREENSHOTS, accessible, shot

pytestmark = pytest.mark.asyncio(loop_scope="session")

Look = Callable[..., Awaitable[Page]]
TODAY = datetime.now(UTC).date()
PLACES = 60
FAMILIES = ("fablab", "coworking", "culturel", "espace-hybride")
AREA = {
    "name": "Le bout",
    "geometry": {"type": "Polygon", "coordinates": [[[-5, 48], [-4, 48], [-4, 49], [-5, 48]]]},
}


def place(n: int) -> dict[str, Any]:
    """One of sixty places: each third says when it opened, each tenth is closed, each fourth was checked."""
    said: dict[str, Any] = {"name": f"Lieu {n:02}", "status": "open", "families": [FAMILIES[n * n % 4]]}
    said["address"] = {
        "postcode": ("29200", "35000", "56100")[n % 3],
        "city": ("Brest", "Rennes", "Lorient")[n % 3],
    }
    said["types"] = [("bout:atelier", "bout:grange")[n % 2]]
    if n % 3:
        said["opened_on"] = (str(2006 + n % 20), f"{2004 + n % 21}-05")[n % 2]
    if n % 10 == 0:
        said |= {"status": "closed", **({"closed_on": f"{2020 + n // 20}-06"} if n % 20 == 0 else {})}
    if n % 4 == 0:
        said |= {"verified_on": str(TODAY - timedelta(days=20 * n)), "verified_by": "network"}
    return {**said, **({"phone": "+33298000000"} if n % 5 else {})}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def view(nodes: Federation, here: Registry) -> Sync:
    """A view of two networks."""
    bout = await nodes.registry(name="Le bout du monde", slug="bout", contact="bout@exemple.fr")
    lines = "\n".join(json.dumps(place(n)) for n in range(PLACES)).encode()
    done = await bout.list_in(lines, "application/x-ndjson", format="jsonl")
    assert done["counts"]["new"] == PLACES
    await bout.call("POST", "/areas", json=AREA)
    sync = await nodes.sync([here, bout], name="Vue de l’Ouest")
    await sync.caught_up([here, bout])
    return sync


@pytest_asyncio.fixture(loop_scope="session")
async def look(browser: Browser, view: Sync, seen: Seen) -> AsyncIterator[Look]:
    """Open a page of the view; it asks nobody else, and complains of nothing."""
    contexts = []

    async def look(path: str = "/observatory", **wishes: Any) -> Page:
        wanted = {"locale": "fr-FR", "reduced_motion": "reduce", "viewport": {"width": 1280, "height": 900}}
        contexts.append(context := await browser.new_context(base_url=view.url, **{**wanted, **wishes}))
        page = await context.new_page()
        page.set_default_timeout(30_000)
        seen.watch(page)
        await page.goto(path)
        return page

    yield look
    for context in contexts:
        await context.close()
    assert seen.complaints == []
    assert seen.origins() == {view.url}


async def unfolded(page: Page) -> None:
    """Every table is shown, every picture loaded."""
    await page.evaluate("document.querySelectorAll('details').forEach(d => d.open = true)")
    await page.evaluate("Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode())))")


async def test_every_number_leads_to_its_list(look: Look, view: Sync) -> None:
    """Behind each number of each table stands a list with just so many places; without scripts as well."""
    page = await look(java_script_enabled=False)
    stats = await view.get("/stats")
    await expect(page.locator(".headline dd").first).to_have_text(str(stats["places"]))
    await expect(page.locator("section")).to_have_count(13)
    links = page.locator("tbody a")
    found = await links.evaluate_all(
        "all => all.map(a => [a.getAttribute('href'), a.closest('tr').cells[1].textContent])"
    )
    assert len(found) > 60
    for href, number in found:
        asked = await view.get("/points" + href.removeprefix("/"))
        assert asked["matched"] == int(number), href
    await page.click("#openings summary")
    await page.locator("#openings tbody a").first.click()
    first = next(iter(stats["openings"]["years"].values()))
    listed = re.compile(rf"^({first} lieux|Un lieu)")
    await expect(page.locator("#count")).to_have_text(listed)
    # What the form has no field for is told, and stays when something else is asked for.
    await expect(page.locator("#others")).to_contain_text("Ouverture")
    await page.click("[type=submit]")
    await expect(page.locator("#count")).to_have_text(listed)


async def test_where_no_year_is_known_nothing_is_drawn(look: Look, view: Sync, here: Registry) -> None:
    """Of a network none of whose places says when it opened there is a table and no empty picture."""
    page = await look(f"/observatory?network={here.node}")
    await expect(page.locator("#openings td").first).to_be_visible()
    await expect(page.locator("#openings img")).to_have_count(0)
    await expect(page.locator("#statuses img")).to_have_count(1)
    _, picture, _ = await view.call("GET", f"/observatory/plots/openings.svg?network={here.node}")
    assert b"<svg" in picture
    assert b"No data" not in picture


async def test_what_is_chosen_is_counted(look: Look, view: Sync) -> None:
    """The form says which places, and when: of the past the page tells its position, and has no lists."""
    page = await look()
    await page.select_option("[name=family]", "coworking")
    await page.fill("[name=as_of]", f"{TODAY.year + 2}-01-15")
    await page.click("[type=submit]")
    await expect(page.locator(".position")).to_contain_text(f"15 janvier {TODAY.year + 2}")
    stats = await view.get("/stats?family=coworking")
    await expect(page.locator(".position")).to_contain_text(stats["as_of"]["cursor"])
    await expect(page.locator(".headline dd").first).to_have_text(str(stats["places"]))
    assert await page.input_value("[name=family]") == "coworking"
    await expect(page.locator("tbody a")).to_have_count(0)
    picture = await page.locator("#updated img").get_attribute("src")
    assert {"family=coworking", f"as_of={TODAY.year + 2}-01-15"} <= set(
        str(picture).partition("?")[2].split("&")
    )
    async with page.expect_download() as download:
        await page.locator("#openings .files a").first.click()
    assert (await download.value).suggested_filename == "openings.csv"
    status, before, _ = await view.call(
        "GET", "/observatory?as_of=2001-01-01", headers={"Accept": "text/html"}
    )
    assert (status, b"<h1>" in before) == (404, True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_observatory_stands_in_nobodys_way(look: Look, scheme: str) -> None:
    """Nothing that WCAG asks for is missing, by day, by night, in English, on a telephone, where nothing is cut off."""
    page = await look(color_scheme=scheme)
    await accessible(page)
    await unfolded(page)
    await accessible(page)
    for size, width in (("wide", 1280), ("phone", 360), ("small", 320)):
        await page.set_viewport_size({"width": width, "height": 900})
        await unfolded(page)
        assert await page.evaluate("document.documentElement.scrollWidth") <= width, size
        await page.screenshot(path=SCREENSHOTS / f"observatory-{size}-{scheme}.png", full_page=True)
    await accessible(page)
    await page.click(".language")
    await expect(page.locator("h1")).to_have_text("Observatory")
    await accessible(page)
    await shot(page, f"observatory-english-{scheme}")


async def test_the_observatory_prints(look: Look) -> None:
    """On paper the form is gone and the plots are there."""
    page = await look(color_scheme="dark")
    await page.evaluate("Promise.all([...document.images].map(i => (i.loading = 'eager', i.decode())))")
    await page.emulate_media(media="print")
    await expect(page.locator("form")).to_be_hidden()
    await expect(page.locator("#openings img")).to_be_visible()
    printed = await page.pdf(path=SCREENSHOTS / "observatory.pdf", format="A4")
    assert printed.startswith(b"%PDF")
