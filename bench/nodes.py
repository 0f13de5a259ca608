"""Real services as processes of their own, on a PostgreSQL that waits for its disk."""

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from demo.postgres import Postgres
from demo.process import Process, free_port
from demo.rabbitmq import RabbitMQ, Vhost

CACHE = Path(__file__).parent.parent / ".cache"


@asynccontextmanager
async def postgres(folder: Path, **settings: str) -> AsyncIterator[Postgres]:
    """A server with the settings that a network would run."""
    server = Postgres(folder, settings={"shared_buffers": "512MB", "max_wal_size": "4GB", **settings})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@asynccontextmanager
async def broker(folder: Path, vhosts: int) -> AsyncIterator[list[Vhost]]:
    """A broker with so many virtual hosts."""
    server = RabbitMQ(folder, CACHE, vhosts=[f"v{n}" for n in range(vhosts)])
    await server.start()
    try:
        yield [server.vhost(name) for name in server.vhosts]
    finally:
        await server.stop()


@asynccontextmanager
async def folder() -> AsyncIterator[Path]:
    """A temporary folder that PostgreSQL's account may enter."""
    with tempfile.TemporaryDirectory(prefix="maillage-bench-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def command(environment: Mapping[str, str], *words: str) -> str:
    """Run a command of a service; what it printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        *words,
        env={**os.environ, **environment},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: {error.decode()}")
    return out.decode().strip()


class Registry:
    """A registry as a process."""

    def __init__(self, at: Path, database_url: str, vhost: Vhost | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {
            "MAILLAGE_REGISTRY_DATABASE_URL": database_url,
            "MAILLAGE_REGISTRY_PORT": str(self.port),
            "MAILLAGE_REGISTRY_URL": self.url,
            "MAILLAGE_REGISTRY_NAME": "Banc d'essai",
            "MAILLAGE_REGISTRY_SLUG": "banc",
            "MAILLAGE_REGISTRY_CONTACT": "banc@exemple.fr",
            "MAILLAGE_REGISTRY_KEY_DIR": str(at / "keys"),
        }
        if vhost is not None:
            self.environment["MAILLAGE_REGISTRY_AMQP_URL"] = vhost.url
            self.environment["MAILLAGE_REGISTRY_AMQP_PUBLIC_URL"] = vhost.reader_url
        self.at = at
        self.node = self.token = ""

    async def init(self) -> None:
        """Give it an identity and a token."""
        root = str(self.at / "root.key")
        self.node = await command(self.environment, "services.registry", "key", "init", "--root-key", root)
        self.token = await command(
            self.environment, "services.registry", "token", "add", "--role", "admin", "--name", "bench"
        )

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """At work."""
        async with served("services.registry", self.environment, self.at, self.url):
            yield


@asynccontextmanager
async def sync(
    at: Path, database_url: str, registry: Registry, vhost: Vhost | None = None
) -> AsyncIterator[str]:
    """A fresh sync that listens to one registry; its URL."""
    at.mkdir(parents=True, exist_ok=True)
    port = free_port()
    trust = at / "trust.toml"
    trust.write_text(f'[[node]]\nnode = "{registry.node}"\nurl = "{registry.url}"\nalias = "banc"\n')
    environment = {
        "MAILLAGE_SYNC_DATABASE_URL": database_url,
        "MAILLAGE_SYNC_PORT": str(port),
        "MAILLAGE_SYNC_URL": f"http://127.0.0.1:{port}",
        "MAILLAGE_SYNC_KEY_DIR": str(at / "keys"),
        "MAILLAGE_SYNC_TRUST": str(trust),
    }
    if vhost is not None:
        environment["MAILLAGE_SYNC_AMQP_URL"] = vhost.url
    async with served("services.sync", environment, at, f"http://127.0.0.1:{port}"):
        yield f"http://127.0.0.1:{port}"


@asynccontextmanager
async def served(module: str, environment: Mapping[str, str], at: Path, url: str) -> AsyncIterator[None]:
    """A service as a process, from its first answer on."""
    words = [sys.executable, "-m", module, "serve", "--log-level", "warning"]
    process = Process(module, words, at / "service.log", environment={**os.environ, **environment})
    process.start()
    try:
        await until(lambda: answers(url + "/livez"), 30)
        yield
    finally:
        await process.stop(5)


async def answers(url: str) -> bool:
    """Whether a GET succeeds."""
    try:
        async with aiohttp.ClientSession() as client, client.get(url) as response:
            return response.status == 200
    except aiohttp.ClientError:
        return False


async def until(check: Callable[[], Awaitable[Any]], seconds: float, pause: float = 0.02) -> Any:
    """The first true answer of `check`; TimeoutError after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (answer := await check()):
        if time.monotonic() > deadline:
            raise TimeoutError("the thing to be measured did not end")
        await asyncio.sleep(pause)
    return answer
