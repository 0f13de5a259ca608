"""What the demo says to the person who started it: French first, then English."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ERASED = "Les données sont effacées ; avec --keep elles restent. / The data are erased; --keep keeps them."
KEPT = "Les données restent : --keep les reprend. / The data are kept: --keep takes them up again."


@dataclass
class Step:
    """What is being done, in French and in English; to be changed when less was done than wished."""

    words: tuple[str, str]

    def __str__(self) -> str:
        """Both languages, or one where both say the same."""
        return " / ".join(dict.fromkeys(self.words))


class Telling:
    """Progress and addresses on a terminal, or as plain lines where there is none."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False, soft_wrap=True)

    @contextmanager
    def step(self, french: str, english: str) -> Iterator[Step]:
        """Say what is being done, then what was done and how long it took."""
        step = Step((french, english))
        begun = time.monotonic()
        with self.console.status(f"{step}…"):
            yield step
        self.console.print(f"[green]✓[/green] {step} [dim]({time.monotonic() - begun:.1f} s)[/dim]")

    def imported(self, alias: str, counts: Mapping[str, Any]) -> None:
        """Say what an import did."""
        told = ", ".join(f"{name} {count}" for name, count in counts.items() if count)
        self.console.print(f"  {alias} : {told}")

    def fetching(self) -> None:
        """Say that the first run takes longer."""
        self.console.print(
            "Premier lancement : téléchargement de RabbitMQ (35 Mo), une seule fois. "
            "/ First run: fetching RabbitMQ (35 MB), once."
        )

    def no_broker(self, why: str) -> None:
        """Say in one line that the federation goes on over the feed alone."""
        self.console.print(
            f"[yellow]Pas de RabbitMQ : les réseaux se parlent par leur fil HTTP seul.[/yellow] "
            f"/ No RabbitMQ, the feed alone. ({why})"
        )

    def started(self, name: str) -> None:
        """Say that a part was started."""
        self.console.print(f"[green]▶[/green] {name} : en marche / started")

    def stopping(self, name: str) -> None:
        """Say that a part is being stopped on request."""
        self.console.print(f"[yellow]■[/yellow] {name} : arrêt demandé / stop requested")

    def ended(self, name: str, log: Path) -> None:
        """Say that a part does not run any more."""
        self.console.print(f"[yellow]■[/yellow] {name} : ne tourne plus / not running ({log})")

    def ready(self, federation: Mapping[str, Any], folder: Path, keep: bool) -> None:
        """The addresses, and commands to try."""
        table = Table("", "adresse / address", box=None, header_style="dim")
        for network in federation["networks"]:
            table.add_row(network["alias"], network["url"])
        for number, sync in enumerate(federation["syncs"], start=1):
            table.add_row(f"sync-{number}", sync["url"])
        table.add_row("notify", federation["notify"]["url"])
        self.console.print("\nLa fédération tourne. / The federation is running.\n", style="bold")
        self.console.print(table)
        self.console.print("\nÀ essayer / to try:", style="bold")
        for line in tries(federation, folder):
            self.console.print("  " + line, markup=False)
        self.console.print("\nCtrl-C arrête tout. / Ctrl-C stops everything.")
        self.console.print(KEPT if keep else ERASED)

    def closing(self, keep: bool) -> None:
        """Say that everything is being stopped, and what becomes of the data."""
        self.console.print("\nArrêt de la fédération… / Stopping…")
        self.console.print(KEPT if keep else ERASED)

    def failed(self, why: str) -> None:
        """Say why it did not work."""
        self.console.print("✗", why, style="red", markup=False)


def tries(federation: Mapping[str, Any], folder: Path) -> list[str]:
    """Commands that show what the federation does."""
    network, sync = federation["networks"][0], federation["syncs"][0]["url"]
    python = os.path.relpath(sys.executable)
    place = '{"name":"Le Nouveau Lieu","status":"open","address":{"postcode":"35000","city":"Rennes"}}'
    return [
        f"curl '{sync}/collections/places/items?limit=3'",
        f"curl -X POST {network['url']}/places -H 'Authorization: Bearer {network['token']}' "
        f"-H 'Content-Type: application/json' -d '{place}'",
        f"curl '{sync}/collections/places/items?q=nouveau'",
        f"curl -N {federation['notify']['url']}/changes/stream",
        f"{python} -m demo --dir {folder} stop {network['alias']}",
        f"{python} -m demo --dir {folder} start {network['alias']}",
    ]
