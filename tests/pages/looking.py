"""How tests look at a page: by a program that knows WCAG, and in pictures for people."""

from __future__ import annotations

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import ConsoleMessage, Page
from yarl import URL

from tests.engines import CACHE

SCREENSHOTS = CACHE / "screenshots"
AA = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


class Seen:
    """What a browser did behind the pages: whom it asked, and what it complained of."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.complaints: list[str] = []

    def origins(self) -> set[str]:
        """Whom it asked."""
        return {str(URL(url).origin()) for url in self.asked if not url.startswith(("data:", "blob:"))}

    def watch(self, page: Page) -> None:
        """Note what happens behind a page from now on."""
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._said)

    def _said(self, said: ConsoleMessage) -> None:
        if said.type == "error":
            self.complaints.append(said.text)


async def shot(page: Page, name: str) -> None:
    """Keep a picture for people to look at."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"{name}.png")


async def accessible(page: Page) -> None:
    """Nothing that WCAG asks for at A and AA is missing, as far as a program can tell."""
    found = await Axe().run(page, options=AA)
    assert found.violations_count == 0, found.generate_report()
