"""How tests look at a page: by a program that knows WCAG, and in pictures for people."""

from __future__ import annotations

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Page

from tests.engines import CACHE

SCREENSHOTS = CACHE / "screenshots"
AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


async def shot(page: Page, name: str) -> None:
    """Keep a picture for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


async def accessible(page: Page) -> None:
    """Nothing that WCAG asks for at A and AA is missing, as far as a program can tell."""
    found = await Axe().run(page, options=AA)
    assert found.violations_count == 0, found.generate_report()
