"""Services as processes of their own, as an operator runs them: to be killed, and started again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from demo.process import Process, free_port, output, url_answers

ROOT = Path(__file__).parent.parent
CARD = {"name": "Réseau d'essai", "slug": "essai", "contact": "essai@exemple.fr"}


class Part:
    """One service as a process: its settings, its log, and the URL that it keeps over restarts."""

    def __init__(self, service: str, folder: Path, root: Path = ROOT, **settings: object) -> None:
        """`folder` is its own, `root` the tree that holds its code; settings are those of its environment."""
        folder.mkdir(parents=True, exist_ok=True)
        self.service, self.folder, self.root, self.port = service, folder, root, free_port()
        prefix = f"MAILLAGE_{service.upper()}_"
        known = CARD if service == "registry" else {}
        chosen = {"port": self.port, "url": self.url, "database_wait": 60, **known, **settings}
        self.environment: Mapping[str, str] = {
            **{name: value for name, value in os.environ.items() if not name.startswith("MAILLAGE_")},
            **{prefix + name.upper(): str(value) for name, value in chosen.items()},
        }
        self.process = Process(
            folder.name,
            self.words("serve"),
            folder / "service.log",
            environment=self.environment,
            cwd=root,
        )

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def words(self, *words: str) -> list[str]:
        """A command of the service."""
        return [sys.executable, "-m", f"services.{self.service}", *words]

    async def command(self, *words: str) -> str:
        """What a command of the service prints."""
        return await output(self.words(*words), self.environment, self.folder / "command.log", self.root)

    async def start(self) -> Part:
        """Start it and wait for its first answer."""
        self.process.start()
        await self.process.ready(self.answers, 300)
        return self

    async def answers(self) -> bool:
        """Whether it answers."""
        return await url_answers(self.url + "/livez")

    async def stop(self) -> None:
        """Ask it to stop; killed when it does not."""
        await self.process.stop(60)
