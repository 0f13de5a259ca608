"""What the store functions talk to: a connection and its rows, as asyncpg has them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from asyncpg import exceptions

# Below this many rows arrays of values are quicker than a COPY.
COPY_FROM = 50


class Record(Protocol):
    """A row, by column name or position; `msgspec.convert` takes it."""

    def __getitem__(self, key: str | int) -> Any: ...
    def __len__(self) -> int: ...
    def get(self, key: str, default: Any = None) -> Any: ...
    def keys(self) -> Iterable[str]: ...
    def values(self) -> Iterable[Any]: ...
    def items(self) -> Iterable[tuple[str, Any]]: ...


class Page(Protocol):
    """A cursor that has been opened: rows some at a time, none at its end."""

    async def fetch(self, n: int, *, timeout: float | None = None) -> list[Record]: ...


class Cursor(Protocol):
    """Rows of a query, one by one, or some at a time where it is awaited."""

    def __aiter__(self) -> AsyncIterator[Record]: ...
    def __await__(self) -> Generator[Any, None, Page]: ...


class Connection(Protocol):
    """What the store functions take: asyncpg's connection, in or out of the pool."""

    async def execute(self, query: str, *args: Any, timeout: float | None = None) -> str: ...
    async def executemany(
        self, command: str, args: Iterable[Sequence[Any]], *, timeout: float | None = None
    ) -> None: ...
    async def fetch(self, query: str, *args: Any, timeout: float | None = None) -> list[Record]: ...
    async def fetchrow(self, query: str, *args: Any, timeout: float | None = None) -> Record | None: ...
    async def fetchval(
        self, query: str, *args: Any, column: int = 0, timeout: float | None = None
    ) -> Any: ...
    def transaction(
        self, *, isolation: str | None = None, readonly: bool = False, deferrable: bool = False
    ) -> AbstractAsyncContextManager[Any]: ...
    def cursor(
        self, query: str, *args: Any, prefetch: int | None = None, timeout: float | None = None
    ) -> Cursor: ...
    async def copy_records_to_table(
        self,
        table_name: str,
        *,
        records: Iterable[Sequence[Any]],
        columns: Sequence[str] | None = None,
        schema_name: str | None = None,
        timeout: float | None = None,
    ) -> str: ...
    def add_termination_listener(self, callback: Callable[[Any], None]) -> None: ...
    def is_closed(self) -> bool: ...
    async def close(self, *, timeout: float | None = None) -> None: ...


@asynccontextmanager
async def honest(connection: Connection) -> AsyncIterator[None]:
    """Inside, an error by which asyncpg blames us for the end of a connection is ConnectionDoesNotExistError.

    A server that shuts down says so before it closes, and asyncpg takes the words on an idle connection for
    a mistake of its own: statements fail by InternalClientError until the end arrives.
    """
    try:
        yield
    except (exceptions.InterfaceError, exceptions.InternalClientError) as error:
        if not isinstance(error, ValueError) and await _ends(connection):
            raise exceptions.ConnectionDoesNotExistError("the connection was closed") from error
        raise


async def _ends(connection: Connection) -> bool:
    """Whether the connection is closed, or is about to be."""
    for _ in range(20):
        if _gone(connection):
            return True
        await asyncio.sleep(0.05)
    return False


def _gone(connection: Connection) -> bool:
    try:
        return connection.is_closed()
    except exceptions.InterfaceError:
        # The pool takes a dead connection back at once, and then refuses even this question.
        return True
