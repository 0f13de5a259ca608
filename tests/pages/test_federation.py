"""The pages on networks and on who decides: everything is there, in plain words, and nothing ranks anybody."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.pages.looking import accessible, shot
from tests.pages.view import Together

pytestmark = pytest.mark.asyncio(loop_scope="session")
PHONE = {"viewport": {"width": 320, "height": 640}}
PAGES = ("/federation", "/qui-decide", "/citer", "/mentions-legales", "/donnees")


async def fits(page: Page) -> None:
    """Nothing is wider than the screen."""
    wide = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert wide[0] <= wide[1]


async def test_every_network_stands_there_with_its_state(view: Together) -> None:
    """By name and by no other order; who fell silent since when, who asked, what is hidden and why."""
    async with view.look("/federation") as page:
        heard = page.locator("#heard + table tbody tr")
        assert await heard.locator("th > a").all_inner_texts() == [
            "Les Muets", "Réseau du Nord", "Tiers-lieux du Sud",
        ]  # fmt: skip
        await expect(heard.nth(0)).to_contain_text("Sans nouvelles depuis le")
        await expect(heard.nth(1)).to_contain_text("nord@reseau.example")
        await expect(heard.nth(2)).to_contain_text("Une fiche est masquée.")
        await expect(heard.nth(2).locator("a", has_text="Un lieu")).to_have_attribute(
            "href", f"/?network={view.south.node}"
        )
        await expect(page.locator("#asked + table tbody tr")).to_contain_text(["Pas encore de réponse"])
        await expect(page.locator("[aria-labelledby=hidden]")).to_contain_text(
            "1 × À la demande des personnes concernées."
        )
        digest = await view.sync.digest()
        await expect(page.locator("main")).to_contain_text(digest["view_root"])
        assert await page.locator("nav [aria-current=page]").all_inner_texts() == [
            "Réseaux",
            "Réseaux écoutés",
        ]
        await shot(page, "federation-1280")


async def test_who_decides_is_said_with_the_numbers_of_now(view: Together) -> None:
    """Networks, operator and rules are told apart; the rules have their name, author and fingerprint."""
    digest = await view.sync.digest()
    async with view.look("/qui-decide") as page:
        for told in (
            "3 réseaux parlent ici.",
            "Une fiche est masquée ici",
            digest["policy_id"],
            "maillage-1",
        ):
            await expect(page.locator("main")).to_contain_text(told)
    cited = await view.sync.get("/cite")
    async with view.look("/citer") as page:
        await expect(page.locator("blockquote")).to_have_text(cited["text"]["fr"])


async def test_pages_are_for_everybody(view: Together) -> None:
    """Without scripts, on a small phone, in the dark, in English and for a screen reader."""
    for path in PAGES:
        async with view.look(path, color_scheme="dark", **PHONE) as page:
            await fits(page)
            await accessible(page)
            assert await page.locator("h1").count() == 1
        async with view.look(path, locale="en-GB", java_script_enabled=False) as page:
            await expect(page.locator("html")).to_have_attribute("lang", "en")
            await expect(page.locator("footer a[href='/mentions-legales']")).to_have_text("Legal notice")


async def test_a_site_that_is_not_public_says_so(view: Together) -> None:
    """The notice tells what is missing; a registry has the same pages."""
    for at in (view.sync.url, view.north.url):
        async with view.look("/mentions-legales", at=at) as page:
            await expect(page.locator(".banner")).to_contain_text("n’est pas encore public")
            assert await page.locator("dd em").all_inner_texts() == ["pas encore indiqué"] * 5
        async with view.look("/donnees", at=at) as page:
            await expect(page.locator("main")).to_contain_text("Ni traceur, ni mesure d’audience")
