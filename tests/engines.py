"""The real PostgreSQL and RabbitMQ that the tests run on: own ports, own data, gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from demo.postgres import Postgres
from demo.process import Failed
from demo.rabbitmq import RabbitMQ, Vhost
from services import postgres
from services.registry import app as registry_app
from services.sync import app as sync_app

CACHE = Path(__file__).parent.parent / ".cache"
POOL = 40
PREFIX = "maillage-tests-"
SHARED = Path("/dev/shm")
# Of what two workers have at once there are less than half as much.
ROOM = 4 * 2**30
# A test kills processes, never the machine: what the kernel was given is safe without the disk.
# (Commits must still reach the kernel: synchronous_commit stays on.)
UNSYNCED = {"fsync": "off", "full_page_writes": "off", "max_wal_size": "128MB"}
MIGRATED = {"registry": registry_app.SCRIPTS, "sync": sync_app.SCRIPTS}


class Server(Postgres):
    """A server that has databases at hand on which a service's migrations have been applied."""

    async def prepare(self) -> None:
        """Make, for each service that tests start by the hundred, the database that others are copied from."""
        for service, migrations in MIGRATED.items():
            async with postgres.pool(await self.create_database(service), migrations=migrations):
                pass

    async def migrated(self, service: str) -> str:
        """The URL of a database that is empty but for the tables of a service."""
        return await self.create_database(template=service)


class Broker(RabbitMQ):
    """A broker that hands out virtual hosts nobody has used before."""

    def vhost(self, name: str | None = None) -> Vhost:
        """A fresh virtual host; by name, that one."""
        if name is not None:
            return super().vhost(name)
        self._handed_out = getattr(self, "_handed_out", 0) + 1
        if self._handed_out > len(self.vhosts):
            self._grow()
        return super().vhost(self.vhosts[self._handed_out - 1])

    def _grow(self) -> None:
        more = pool(len(self.vhosts), len(self.vhosts))
        self.import_vhosts(more)
        self.vhosts = [*self.vhosts, *more]


def pool(first: int, count: int) -> list[str]:
    """Names of virtual hosts."""
    return [f"v{number:03}" for number in range(first, first + count)]


def broker_in(folder: Path, vhosts: int) -> Broker:
    """A broker not started yet, with so many virtual hosts."""
    return Broker(folder, CACHE, vhosts=pool(0, vhosts))


def postgres_in(folder: Path) -> Server:
    """A server not started yet: it does not wait for the disk, and so copies databases file by file; as thousands
    of connections are opened, a password is compared by one hash instead of four thousand."""
    return Server(folder, settings=UNSYNCED, strategy="file_copy", auth="md5")


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A temporary folder that the account PostgreSQL runs as may enter (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        yield Path(name)


def memory() -> Path | None:
    """A folder for all that the run leaves, where files cost no disk: databases are copied eight times faster.

    None where there is no room, or where the operator says by TMPDIR what is to be used.
    """
    forget_the_dead()
    if "TMPDIR" in os.environ or not SHARED.is_dir() or shutil.disk_usage(SHARED).free < ROOM:
        return None
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=SHARED))
    folder.chmod(0o711)
    return folder


def forget_the_dead() -> None:
    """Remove from memory what runs that were killed have left there."""
    for folder in SHARED.glob(PREFIX + "*-*"):
        if not Path("/proc", folder.name.removeprefix(PREFIX).partition("-")[0]).exists():
            shutil.rmtree(folder, ignore_errors=True)


def run(action: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run an engine's start or stop outside any test; a failure ends the whole run with its one line."""
    try:
        with asyncio.Runner() as runner:
            runner.run(action())
    except Failed as why:
        pytest.exit(str(why), returncode=3)
