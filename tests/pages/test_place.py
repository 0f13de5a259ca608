"""The page of a place: what it is, every network's words, where each value comes from; and reporting a mistake."""

from __future__ import annotations

import json

import pytest
from playwright.async_api import Page, expect
from rdflib import Graph, URIRef

from tests.pages.looking import accessible, shot
from tests.pages.view import Together

pytestmark = pytest.mark.asyncio(loop_scope="session")
HTML = {"Accept": "text/html,application/json;q=0.5"}
SCHEMA = "https://schema.org/"


async def fact(page: Page, title: str) -> str:
    """What stands under a title among the values that are shown."""
    row = page.locator(".facts > div").filter(has=page.get_by_text(title, exact=True))
    return await row.locator("dd").inner_text()


async def test_a_place_is_shown_with_every_voice(view: Together) -> None:
    """Values in words, who says each by which rule and who says otherwise, both networks beside each other."""
    async with view.look(view.path) as page:
        assert await page.inner_text("h1") in ("La Filature", "La Filature <b>")
        assert {"Fablab", "Coworking", "Atelier textile"} <= set(
            await page.locator(".about span").all_inner_texts()
        )
        await expect(page.locator(".banner")).to_contain_text("ne sont pas d’accord sur l’état")
        assert (
            "lundi à vendredi\u00a0: 9 h – 18 h 30\nsamedi\u00a0: 10 h – 12 h\njours fériés\u00a0: fermé"
            in (await fact(page, "Horaires"))
        )
        assert "12 quai des Fileuses, 44000 Nantes" in await fact(page, "Adresse")
        phone = page.locator(".facts > div", has=page.get_by_text("Téléphone", exact=True))
        assert await phone.locator(".origin p").is_hidden()
        await phone.locator("summary").click()
        for told in (
            "Réseau du Nord",
            "Tiers-lieux du Sud",
            "02 40 12 34 56",
            "02 40 99 99 99",
            "valeur affichée",
        ):
            await expect(phone.locator(".origin")).to_contain_text(told)
        voices = page.locator(".voice")
        assert await voices.locator("h3").all_inner_texts() == ["Réseau du Nord", "Tiers-lieux du Sud"]
        await expect(voices.nth(0)).to_contain_text("Ouvert")
        await expect(voices.nth(0)).to_contain_text("nord:machines")
        await expect(voices.nth(1)).to_contain_text("Fermé")
        record = view.records[0].partition(":")[2]
        cited = await view.sync.get("/cite")
        await expect(page.locator("#reuse ~ p code")).to_contain_text(
            cited["address"].rstrip("/") + view.path
        )
        link = voices.nth(0).get_by_role("link", name="Sa fiche dans son propre registre")
        await expect(link).to_have_attribute("href", f"{view.north.url}/p/{record}")
        await expect(page.locator(".history li")).not_to_have_count(0)
        assert not await page.evaluate("'wrong' in window")
        assert await page.locator("h1").count() == 1
        await shot(page, "place-1280")
        await page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        await accessible(page)


@pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
async def test_the_page_speaks_to_programs_as_well(view: Together) -> None:
    """Its JSON-LD is read by a parser and says what the page says; an alias leads on."""
    async with view.look(view.path) as page:
        said = await page.locator("script[type='application/ld+json']").text_content()
    # The words of schema.org without asking schema.org.
    found = {**json.loads(said or ""), "@context": {"@vocab": SCHEMA}}
    graph = Graph().parse(data=json.dumps(found), format="json-ld")
    place = URIRef(f"urn:maillage:{view.path.removeprefix('/places/')}")
    rich = await view.sync.get(view.path)
    assert str(graph.value(place, URIRef(SCHEMA + "name"))) == rich["place"]["name"]
    assert str(graph.value(place, URIRef(SCHEMA + "telephone"))) == rich["place"]["phone"]
    assert "</script>" not in (said or "")
    (alias,) = [f"/places/{record}" for record in view.records if record not in view.path]
    status, _, headers = await view.sync.call("GET", alias, token=None, headers=HTML, allow_redirects=False)
    assert (status, headers["Location"]) == (302, view.path)
    _, _, headers = await view.sync.call("GET", view.path, token=None, headers=HTML)
    assert headers["Link"] == f'<{view.path}>; rel="canonical"'


async def test_photos_come_from_elsewhere_only_when_asked_for(view: Together) -> None:
    """Without a click nobody else is asked, nor could be; after it, the one site that has the photo may be."""
    elsewhere = "https://photos.example"
    async with view.look(view.path, others=[elsewhere], java_script_enabled=False) as page:
        assert await page.locator("main img").count() == 0
        _, _, headers = await view.sync.call("GET", view.path, token=None, headers=HTML)
        assert elsewhere not in headers["Content-Security-Policy"]
        await page.get_by_role("link", name="Afficher la photo (chargée depuis photos.example)").click()
        await expect(page.locator("main img")).to_have_attribute("src", f"{elsewhere}/filature.jpg")
        await expect(page.locator("figcaption")).to_contain_text("Les amis de la Filature")
    _, _, headers = await view.sync.call("GET", view.path + "?photos=1", token=None, headers=HTML)
    assert f"img-src 'self' data: {elsewhere};" in headers["Content-Security-Policy"]
    policy = headers["Content-Security-Policy"].split("; ")
    assert {*policy[-2].split()[1:]} == {"'self'", view.north.url, view.south.url}
    assert policy[-2].startswith("connect-src")


async def test_a_mistake_is_reported_to_every_network_that_says_it(view: Together) -> None:
    """Each is told straight from the browser; what one could not be given is kept, and given when it is there again."""
    networks = [view.north.url, view.south.url]
    await view.south.stop()
    async with view.look(view.path, others=networks) as page:
        await page.fill("#report-text", "Le numéro ne répond plus.")
        await page.get_by_role("button", name="Envoyer", exact=True).click()
        said = page.locator("#report-said")
        await expect(said).to_contain_text("Reçu par Réseau du Nord.")
        await expect(said).to_contain_text("Tiers-lieux du Sud ne répond pas.")
        await expect(said.get_by_role("link", name="https://sud.example/contact")).to_be_visible()
        outcome = await said.get_by_role("link", name="Suivre ce que cela devient").get_attribute("href")
        await expect(page.locator("#report-form [type=submit]")).to_be_focused()
        await page.reload()
        kept = page.locator("#kept")
        await expect(kept).to_contain_text("Le numéro ne répond plus.")
        again = kept.get_by_role("button", name="Envoyer de nouveau")
        await again.click()
        await expect(said).to_contain_text("Tiers-lieux du Sud ne répond pas.")
        await expect(said).to_be_focused()
        await expect(kept).to_contain_text("Le numéro ne répond plus.")
        await view.south.start()
        await again.click()
        await expect(said).to_contain_text("Reçu par Tiers-lieux du Sud.")
        await page.reload()
        await expect(kept).to_be_hidden()
        await page.select_option("#report-field", "opening_hours")
        assert await page.locator("[name=to]:checked").evaluate_all("all => all.map(each => each.value)") == [
            view.records[0]
        ]
    assert (outcome or "").startswith(f"{view.north.url}/reports/")
    for network, record in zip((view.north, view.south), view.records, strict=True):
        status, found, _ = await network.call("GET", "/reports")
        assert status == 200
        (report,) = found["reports"]
        assert (report["place"], report["text"]) == (record, "Le numéro ne répond plus.")
        assert report["page"] == view.sync.url + view.path
    async with view.look(view.path, java_script_enabled=False) as page:
        await expect(page.locator("#report-form")).to_be_hidden()
        await expect(page.locator("#report-without")).to_contain_text("nord@reseau.example")


async def test_what_is_gone_says_why_and_since_when(view: Together) -> None:
    """A withdrawn place, a hidden one and the past are pages of their own, on a small phone too."""
    phone = {"viewport": {"width": 320, "height": 640}, "color_scheme": "dark"}
    async with view.look(f"/places/{view.gone}", status=410, **phone) as page:
        await expect(page.locator("main")).to_contain_text("Son réseau a retiré sa fiche.")
        await expect(page.locator("main")).not_to_contain_text("Pour une autre raison")
        await expect(page.locator("main time")).not_to_have_count(0)
    async with view.look(f"/places/{view.hidden}", status=410, **phone) as page:
        await expect(page.locator("main")).to_contain_text("À la demande des personnes concernées.")
        contact = page.get_by_role("link", name="sud.example/contact")
        await expect(contact).to_have_attribute("href", "https://sud.example/contact")
        await accessible(page)
    async with view.look(f"{view.path}?as_of=2100-01-01", **phone) as page:
        await expect(page.locator(".banner").first).to_contain_text("Vous regardez le passé")
        assert await page.locator("#report-form").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await accessible(page)


async def test_a_network_shows_its_own_place_alike(view: Together) -> None:
    """On its own node a network's place has the same page, in its words alone, and takes reports itself."""
    path = f"/p/{view.records[0].partition(':')[2]}"
    async with view.look(
        path, at=view.north.url, locale="en-GB", viewport={"width": 320, "height": 640}
    ) as page:
        await expect(page.locator("h1")).to_have_text("La Filature <b>")
        assert "Monday to Friday: 9:00 – 18:30" in await fact(page, "Hours")
        assert await page.locator(".voice, .origin").count() == 0
        await expect(page.locator(".history li")).to_have_count(2)
        assert await page.evaluate("document.documentElement.scrollWidth") == 320
        await page.fill("#report-text", "Bravo")
        await page.get_by_role("button", name="Send", exact=True).click()
        await expect(page.locator("#report-said")).to_contain_text("Received by Réseau du Nord.")
        await accessible(page)


async def test_an_address_that_is_not_told_is_spoken_of_once(view: Together) -> None:
    """What is known of where an undisclosed place lies stands beside the words that its address is not told."""
    added = await view.asking.add(name="Lieu protégé", kind="undisclosed")
    async with view.look(f"/p/{added['id'].partition(':')[2]}", at=view.asking.url) as page:
        assert "L’adresse n’est pas divulguée. 35000" in await fact(page, "Adresse")
