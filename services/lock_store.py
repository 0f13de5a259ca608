"""Locks of a database: loops that must be alone hold one, a second process is a hot spare."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from asyncpg.exceptions import (
    ConnectionDoesNotExistError,
    OperatorInterventionError,
    PostgresConnectionError,
)

from services.connection import Connection, honest

TAKE_OVER = 1.0
# With its connection a lock has gone as well.
LET_GO = (PostgresConnectionError, OperatorInterventionError, OSError)


async def take(conn: Connection, key: str) -> bool:
    """Take the lock for this session if nobody has it."""
    taken: bool = await conn.fetchval("SELECT pg_try_advisory_lock(hashtextextended($1, 0))", key)
    return taken


async def release(conn: Connection, key: str) -> None:
    """Let go of a lock of this session."""
    await conn.execute("SELECT pg_advisory_unlock(hashtextextended($1, 0))", key)


class Locks:
    """All locks of a process, on one connection of their own: a service that follows many nodes has many."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]]) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        self._busy = asyncio.Lock()
        self._held: dict[str, _Holder] = {}

    @asynccontextmanager
    async def held(self, key: str) -> AsyncIterator[None]:
        """Hold the lock `key`, waiting for it; ConnectionDoesNotExistError inside when it is lost."""
        # Asking again and again, as a waiting statement would hold back vacuum for as long as it waits.
        while not await self._taken(key, holder := _Holder()):  # noqa: ASYNC110 - others are in other processes
            await asyncio.sleep(random.uniform(TAKE_OVER / 2, TAKE_OVER))  # noqa: S311 - spreads retries
        try:
            async with holder.inside():
                yield
        finally:
            await asyncio.shield(self._released(key, holder))

    async def close(self) -> None:
        """Let go of everything."""
        if self._connection:
            with suppress(*LET_GO):
                async with honest(self._connection):
                    await self._connection.close(timeout=3)

    async def _taken(self, key: str, holder: "_Holder") -> bool:
        async with self._busy:
            # PostgreSQL gives a lock twice to one session, so two tasks of a process are told apart here.
            if key in self._held:
                return False
            if self._connection is None or self._connection.is_closed():
                self._connection = await self._connect()
                self._connection.add_termination_listener(self._lost)
            try:
                async with honest(self._connection):
                    taken = await take(self._connection, key)
            except asyncio.CancelledError:
                # The server may have granted it all the same.
                await self._let_go(self._connection, key)
                raise
            if self._connection.is_closed():
                raise ConnectionDoesNotExistError("the lock was lost")
            if taken:
                self._held[key] = holder
            return taken

    async def _released(self, key: str, holder: "_Holder") -> None:
        async with self._busy:
            if self._held.get(key) is not holder:
                return
            del self._held[key]
            if self._connection and not self._connection.is_closed():
                await self._let_go(self._connection, key)

    async def _let_go(self, connection: Connection, key: str) -> None:
        with suppress(*LET_GO):
            async with honest(connection):
                await release(connection, key)

    def _lost(self, connection: object) -> None:
        lost, self._held = self._held, {}
        for holder in lost.values():
            holder.interrupt()


class _Holder:
    """The task that holds a lock."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None
        self._lost = self._cancelled = False

    @asynccontextmanager
    async def inside(self) -> AsyncIterator[None]:
        """Run what holds the lock; a lost lock leaves as an error of the connection."""
        self._task = asyncio.current_task()
        before = self._task.cancelling() if self._task else 0
        try:
            if self._lost:
                raise ConnectionDoesNotExistError("the lock was lost")
            yield
        except asyncio.CancelledError:
            if self._settled() <= before and self._lost:
                raise ConnectionDoesNotExistError("the lock was lost") from None
            raise
        finally:
            self._settled()
            self._task = None

    def _settled(self) -> int:
        """Take our own cancellation back, however it left: a later one would be taken for somebody else's."""
        if self._task is None:
            return 0
        if self._cancelled:
            self._cancelled = False
            return self._task.uncancel()
        return self._task.cancelling()

    def interrupt(self) -> None:
        """The lock is somebody else's from now on."""
        self._lost = True
        if self._task:
            self._cancelled = self._task.cancel()
