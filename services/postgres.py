"""PostgreSQL: the pool of a service, its migrations, its locks, and which errors are only weather."""

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from importlib import resources
from typing import Any, TypeVar

import asyncpg
import structlog
from asyncpg import exceptions

from services import migration_store
from services.connection import COPY_FROM as COPY_FROM
from services.connection import Connection as Connection
from services.connection import Record as Record
from services.connection import honest
from services.errors import Args, Misconfigured, Unavailable
from services.lock_store import Locks

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()

# The database is away, is starting or stopping, or has no room: wait and come back.
WEATHER: tuple[type[BaseException], ...] = (
    exceptions.PostgresConnectionError,
    exceptions.AdminShutdownError,
    exceptions.CrashShutdownError,
    exceptions.CannotConnectNowError,
    exceptions.InsufficientResourcesError,
    exceptions.IdleInTransactionSessionTimeoutError,
    exceptions.ReadOnlySQLTransactionError,
    ConnectionError,
    TimeoutError,
    OSError,
)
# The database answers, and wants nothing of us.
REFUSALS = (
    exceptions.InvalidAuthorizationSpecificationError,
    exceptions.InvalidCatalogNameError,
    exceptions.ClientConfigurationError,
)
Migrations = Sequence[tuple[str, str]]
T = TypeVar("T")


class Pool:
    """The connections of a service to its own database."""

    def __init__(self, inner: Any, url: str) -> None:
        self._inner = inner
        self._url = url
        self.locks = Locks(self.connect)

    @asynccontextmanager
    async def acquire(self, *, timeout: float | None = 10.0) -> AsyncIterator[Connection]:
        """A connection for an `async with`; TimeoutError when none is free within `timeout` seconds.

        A connection that the server ended while nobody used it leaves as an error of WEATHER.
        """
        connection = await self._inner.acquire(timeout=timeout)
        try:
            async with honest(connection):
                yield connection
        finally:
            # Lost at this very moment, it has released itself: what was done with it is done all the same.
            with suppress(exceptions.InternalClientError, exceptions.InterfaceError, *WEATHER):
                await self._inner.release(connection)

    async def connect(self) -> Connection:
        """A connection of its own, outside the pool, for listening or locking; the caller closes it."""
        return await _connect(self._url)


class _Honest(asyncpg.Connection):  # type: ignore[misc]
    """asyncpg says InterfaceError, as for a bug, when the server has gone; this says what happened."""

    def get_reset_query(self) -> str:
        """Nothing: locks and listeners have connections of their own, and settings are SET LOCAL.

        asyncpg's reset costs a round trip at each release, a third of a read by key.
        """
        return ""

    def _check_open(self) -> None:
        if self.is_closed():
            raise exceptions.ConnectionDoesNotExistError("the connection is closed")


_OPTIONS: dict[str, Any] = {
    "connection_class": _Honest,
    "timeout": 10,
    "server_settings": {
        "application_name": "maillage",
        "timezone": "UTC",
        "jit": "off",
        # A machine that vanished must not keep its locks for the two hours that are the default.
        "tcp_keepalives_idle": "30",
        "tcp_keepalives_interval": "10",
        "tcp_keepalives_count": "3",
    },
}


async def _connect(url: str, name: str = "maillage") -> Connection:
    settings = {**_OPTIONS["server_settings"], "application_name": name}
    connection: Connection = await asyncpg.connect(url, **{**_OPTIONS, "server_settings": settings})
    return connection


@asynccontextmanager
async def looking(url: str, name: str) -> AsyncIterator[Connection]:
    """A connection of its own, under this name, that sees one moment of the database and can change nothing in it."""
    connection = await _connect(url, name)
    try:
        async with honest(connection), connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
    finally:
        with suppress(exceptions.InternalClientError, exceptions.InterfaceError, *WEATHER):
            await connection.close(timeout=3)


@asynccontextmanager
async def pool(
    url: str, *, size: int = 10, migrations: Migrations, wait: float = 30.0
) -> AsyncIterator[Pool]:
    """The pool on the database at `url`, migrated; waits up to `wait` seconds for the database to answer.

    Unavailable when it never does; Misconfigured when the database refuses us, or was written by another
    version of this service.
    """
    await _answering(url, wait)
    inner = await asyncpg.create_pool(url, min_size=0, max_size=size, **_OPTIONS)
    opened = Pool(inner, url)
    try:
        await insist(partial(_migrated, opened, migrations), wait)
        yield opened
    finally:
        await opened.locks.close()
        await _closed(inner)


async def _migrated(opened: Pool, migrations: Migrations) -> None:
    async with opened.acquire() as conn:
        await migrate(conn, migrations)


async def _closed(inner: Any) -> None:
    try:
        async with asyncio.timeout(3):
            await inner.close()
    except TimeoutError:
        inner.terminate()


async def _answering(url: str, wait: float) -> None:
    async def answer() -> None:
        connection = await _connect(url)
        async with honest(connection):
            await connection.close()

    try:
        await insist(answer, wait)
    except (*REFUSALS, ValueError) as error:
        message = "The database cannot be used: {reason}. Check its URL."
        # A URL that cannot be taken apart is quoted by whoever tries, with what may be its password.
        reason = "it is no address of a database" if isinstance(error, ValueError) else str(error)
        raise Misconfigured(message, {"reason": reason}) from None


async def insist(action: Callable[[], Awaitable[T]], wait: float) -> T:
    """Do what a service does before it serves, again for `wait` seconds where the database is away or goes.

    Unavailable when it stays away. The action may have been carried out before it is done again.
    """
    deadline = asyncio.get_running_loop().time() + wait
    said = False
    while True:
        try:
            return await action()
        except WEATHER as error:
            if asyncio.get_running_loop().time() >= deadline:
                args: Args = {"seconds": wait, "reason": str(error) or type(error).__name__}
                message = "The database did not answer within {seconds} s: {reason}. Is it running?"
                raise Unavailable(message, args) from None
            if not said:
                log.warning("waiting for the database", seconds=wait, error=str(error))
                said = True
            await asyncio.sleep(random.uniform(0.1, 0.5))  # noqa: S311 - spreads retries


async def migrate(conn: Connection, migrations: Migrations) -> None:
    """Apply what has not been applied yet, in order, each in its own transaction.

    Misconfigured when an applied script has changed since, or when the database knows one that we do not.
    """
    await migration_store.begin(conn)
    try:
        check_applied(applied := await migration_store.applied(conn), migrations)
        for name, sql in migrations:
            if name not in applied:
                await migration_store.apply(conn, name, sql, _hash(sql))
                log.info("migrated", migration=name)
    finally:
        await migration_store.end(conn)


def _hash(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


def check_applied(applied: dict[str, str], migrations: Migrations) -> None:
    """Misconfigured when a database was made with other scripts than ours, or with more."""
    ours = {name: _hash(sql) for name, sql in migrations}
    for name, digest in applied.items():
        if name not in ours:
            message = "The database was written by a newer version ({name}): install that version."
            raise Misconfigured(message, {"name": name})
        if ours[name] != digest:
            message = "The migration {name} is not the one that this database was made with."
            raise Misconfigured(message, {"name": name})


def literal(text: str) -> str:
    """A text as a part of a LIKE pattern that stands for nothing but itself."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def scripts(*sources: str) -> tuple[tuple[str, str], ...]:
    """The migrations of a service in order: `scripts("ledger", "registry")`.

    A source with files `services/<source>.sql` and `services/<source>.NNNN_x.sql` is a shared store, whose
    scripts are named `shared/<file without .sql>`; any other is a service, whose `migrations/*.sql` are named
    `<service>/<file without .sql>`.
    """
    root = resources.files("services")
    found: list[tuple[str, str]] = []
    for source in sources:
        shared = (root / f"{source}.sql").is_file()
        folder = root if shared else root / source.removeprefix("services.") / "migrations"
        owner = "shared" if shared else source.removeprefix("services.")
        # `ledger.sql` comes before `ledger.0002_x.sql`.
        names = sorted(
            file.name.removesuffix(".sql") for file in folder.iterdir() if file.name.endswith(".sql")
        )
        own = [name for name in names if not shared or name.partition(".")[0] == source]
        found += [(f"{owner}/{name}", (folder / f"{name}.sql").read_text("utf-8")) for name in own]
    return tuple(found)


def locked(pool: Pool, key: str) -> AbstractAsyncContextManager[None]:
    """Be alone in this database inside the `async with` of this `key`; others wait there as hot spares.

    When the connection that holds the lock is lost, the task inside is interrupted by an error of WEATHER.
    """
    return pool.locks.held(key)
