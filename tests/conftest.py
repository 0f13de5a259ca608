"""Engines for the tests: one PostgreSQL and one RabbitMQ for the run, private ones to be killed."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp import ClientSession, TCPConnector
from hypothesis import HealthCheck, settings

from demo import process
from demo.postgres import Postgres
from demo.postgres import find as find_postgres
from demo.process import Failed
from demo.rabbitmq import Vhost
from demo.rabbitmq import find as find_rabbitmq
from services import http, logs
from services.sync import following
from tests import chromium
from tests.engines import (
    CACHE,
    POOL,
    Broker,
    Server,
    broker_in,
    memory,
    postgres_in,
    reachable_folder,
    run,
)
from tests.nodes import Registry, Service, Sync, new_registry, new_sync

# Examples are drawn anew in the soak only: a run fails by what was changed, and not by luck or a busy machine.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=not os.environ.get("MAILLAGE_SOAK"),
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
CONFIGURE = logs.configure
LOGGED: list[structlog.typing.Processor] = [
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    # Without the values of all variables, which take longer than what is tested.
    structlog.processors.format_exc_info,
    structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
]


def pytest_configure(config: pytest.Config) -> None:
    """Set up this process, and by its environment the workers and services that it starts.

    What is temporary is kept in memory, where there is room; Python keeps what it compiles, as services are
    started by the hundred; no session with PostgreSQL asks for a certificate; each worker takes ports of its own.
    """
    worker = getattr(config, "workerinput", {}).get("workerid", "gw0")
    process.keep_to(int(worker.removeprefix("gw")))
    settings.load_profile("suite")
    if (folder := memory()) is not None:
        os.environ["TMPDIR"], tempfile.tempdir = str(folder), None
        config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ.setdefault("PGSSLMODE", "disable")


def pytest_sessionstart(session: pytest.Session) -> None:
    """Find the engines, or fetch them, once for all workers; without them the run ends with one line."""
    if hasattr(session.config, "workerinput"):
        return
    try:
        find_postgres()
        find_rabbitmq(CACHE)
        chromium.find()
    except Failed as why:
        pytest.exit(str(why), returncode=3)


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Services of this process see at once that their trust file has changed, and end without a pause for readers."""
    monkeypatch.setattr(following, "LOOK_EVERY", 0.02)
    monkeypatch.setattr(http, "READERS_WITHIN", 0.05)


@pytest.fixture(scope="session")
def engine_folder() -> Iterator[Path]:
    """A folder for the data of the run's engines."""
    with reachable_folder() as folder:
        yield folder


@pytest.fixture(autouse=True)
def logs_apart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is logged in this process is shown with a test that fails, and never stands in what a command prints.

    A command takes the logs of its process for its own; here they are those of the services beside it, too.
    """
    monkeypatch.setattr(logs, "configure", lambda *_, **__: None)
    structlog.configure(processors=[*LOGGED], logger_factory=structlog.WriteLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.fixture
def own_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A command takes the logs of this process, in which no service runs."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(logs, "configure", CONFIGURE)
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def postgres(engine_folder: Path) -> Iterator[Server]:
    """The run's PostgreSQL."""
    server = postgres_in(engine_folder / "postgres")
    run(server.start)
    run(server.prepare)
    yield server
    run(server.stop)


@pytest.fixture(scope="session")
def rabbitmq(engine_folder: Path) -> Iterator[Broker]:
    """The run's RabbitMQ; `vhost()` gives a virtual host of one's own."""
    broker = broker_in(engine_folder / "rabbitmq", POOL)
    run(broker.start)
    yield broker
    run(broker.stop)


@pytest.fixture
async def database_url(postgres: Postgres) -> AsyncIterator[str]:
    """The URL of an empty database, dropped after the test."""
    url = await postgres.create_database()
    yield url
    await postgres.drop_database(url)


@pytest.fixture
def vhost(rabbitmq: Broker) -> Vhost:
    """A virtual host of one's own on the run's broker."""
    return rabbitmq.vhost()


@pytest.fixture
async def private_postgres() -> AsyncIterator[Postgres]:
    """A server for one test, to stop, start and kill."""
    with reachable_folder() as folder:
        server = postgres_in(folder / "postgres")
        await server.start()
        yield server
        await server.stop()


@pytest.fixture(scope="session")
def mortal_rabbitmq(engine_folder: Path) -> Iterator[Broker]:
    """The run's other RabbitMQ, which tests kill; each hands it on as it was left."""
    broker = broker_in(engine_folder / "mortal", 4)
    yield broker
    run(broker.stop)


@pytest.fixture
async def private_rabbitmq(mortal_rabbitmq: Broker) -> Broker:
    """A broker of which no other test uses anything now, to stop, start and kill."""
    if not await mortal_rabbitmq.answers():
        await mortal_rabbitmq.start()
    return mortal_rabbitmq


class Federation:
    """Makes registries and syncs for a test, and ends them after it."""

    def __init__(self, postgres: Server, client: ClientSession, folder: Path) -> None:
        self.postgres, self.client, self.folder = postgres, client, folder
        self.services: list[Service] = []
        self.databases: list[str] = []

    async def registry(self, *, start: bool = True, **settings: Any) -> Registry:
        """A registry of a network of its own."""
        url = await self.migrated("registry")
        folder = self.folder / f"node-{len(self.services)}"
        registry = await new_registry(self.client, url, folder, **settings)
        self.services.append(registry)
        if start:
            await registry.start()
        return registry

    async def sync(self, registries: Sequence[Registry], *, start: bool = True, **settings: Any) -> Sync:
        """A sync that listens to these registries."""
        folder = self.folder / f"node-{len(self.services)}"
        url = await self.migrated("sync")
        sync = new_sync(self.client, url, folder, registries, **settings)
        self.services.append(sync)
        if start:
            await sync.start()
        return sync

    async def database(self) -> str:
        """The URL of an empty database."""
        self.databases.append(await self.postgres.create_database())
        return self.databases[-1]

    async def migrated(self, service: str) -> str:
        """The URL of a database with the tables of a service, which hold nothing."""
        self.databases.append(await self.postgres.migrated(service))
        return self.databases[-1]

    async def end(self) -> None:
        """Stop what still runs, drop the databases."""
        for service in reversed(self.services):
            await service.stop()
        for url in self.databases:
            await self.postgres.drop_database(url)


@pytest.fixture
async def federation(postgres: Server, tmp_path: Path) -> AsyncIterator[Federation]:
    """Registries and syncs on the run's PostgreSQL."""
    # Services close connections that are idle for ten seconds: none of those may be used again.
    connector = TCPConnector(keepalive_timeout=4)
    async with ClientSession(auto_decompress=True, connector=connector) as client:
        made = Federation(postgres, client, tmp_path)
        yield made
        await made.end()


@pytest.fixture
async def registry(federation: Federation) -> Registry:
    """One registry at work."""
    return await federation.registry()
