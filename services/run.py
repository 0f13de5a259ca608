"""Running: worker loops that wait out the weather, and a process that ends as it should."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar, copy_context
from typing import Any, Protocol

import structlog
from aiohttp import web

from services.errors import Corrupt, Failure, Misconfigured, Unavailable
from services.listening import listening

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
HEALTHY_AFTER = 60.0

Loops = Mapping[str, Callable[[web.Application], Coroutine[Any, Any, None]]]
log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


async def keep(
    name: str, loop: Callable[[], Awaitable[None]], weather: tuple[type[BaseException], ...]
) -> None:
    """Run `loop` until it returns, again after each error of `weather`; each kind is logged once an outage.

    Pauses grow from 0.2 to 10 seconds, drawn at random below that, and start anew after a minute of health
    or when the loop calls `calm()`. Any other error is a bug and leaves as it came.
    """
    outage = Outage(name)
    token = _current.set(outage)
    try:
        while True:
            still_wanted()
            try:
                await outage.watched(loop)
                return
            except Exception as error:
                if not _is(error, weather):
                    raise
                await asyncio.sleep(outage.pause(error))
    finally:
        _current.reset(token)


def still_wanted() -> None:
    """End here if the service is ending, or what runs apart in it, and what this task waited for came just then.

    `asyncio.wait_for` of Python 3.11, which libraries use, forgets a cancellation at such a moment.
    """
    if any(ending.is_set() for ending in _endings.get()):
        raise asyncio.CancelledError


def apart(
    tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, None], name: str
) -> Callable[[], Awaitable[None]]:
    """Run `work` in the group; calling what is returned ends it alone, and waits until it has ended."""
    ending, context = asyncio.Event(), copy_context()
    context.run(_endings.set, (*_endings.get(), ending))
    task = tasks.create_task(work, name=name, context=context)

    async def end() -> None:
        ending.set()
        task.cancel()
        await asyncio.wait([task])

    return end


def calm() -> None:
    """Say from within a kept loop that it works: the outage is over, the next pause is short again."""
    if outage := _current.get():
        outage.over()


class Outage:
    """How long a loop has been failing."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failures = 0
        self.kinds = set[str]()

    async def watched(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Run the loop; a minute without an error ends the outage."""
        health = asyncio.get_running_loop().call_later(HEALTHY_AFTER, self.over)
        try:
            await loop()
        finally:
            health.cancel()

    def pause(self, error: BaseException) -> float:
        """Seconds to wait after this error, which is logged where it is of a new kind in this outage."""
        if (kind := type(_first(error)).__name__) not in self.kinds:
            self.kinds.add(kind)
            log.warning("weather", loop=self.name, error=f"{kind}: {_first(error)}")
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.failures, 16))
        self.failures += 1
        return random.uniform(longest / 2, longest)  # noqa: S311 - spreads retries, guards nothing

    def over(self) -> None:
        """The loop works again."""
        if self.failures:
            log.info("weather over", loop=self.name, failures=self.failures)
        self.failures = 0
        self.kinds.clear()


_current: ContextVar[Outage | None] = ContextVar("outage", default=None)
_endings: ContextVar[tuple[asyncio.Event, ...]] = ContextVar("endings", default=())


def _is(error: BaseException, weather: tuple[type[BaseException], ...]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(_is(inner, weather) for inner in error.exceptions)
    return isinstance(error, weather)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class Hosted(Protocol):
    """The settings that say where a service listens."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    @property
    def max_connections(self) -> int: ...


@asynccontextmanager
async def at_work(app: web.Application, loops: Loops, hosted: Hosted) -> AsyncIterator[int]:
    """A service that answers and whose loops run inside the `async with`, which gives its port."""
    ending, context = asyncio.Event(), copy_context()
    context.run(_endings.set, (ending,))
    async with asyncio.TaskGroup() as tasks:
        running: list[asyncio.Task[None]] = []
        try:
            async with listening(
                app, hosted.host, hosted.port, max_connections=hosted.max_connections
            ) as port:
                # Nothing was awaited since the port was opened: no request comes before the loops are there.
                running += [
                    tasks.create_task(loop(app), name=name, context=context.copy())
                    for name, loop in loops.items()
                ]
                log.info("serving", port=port)
                yield port
        finally:
            # Only now: requests under way at the end may still need a loop.
            ending.set()
            for task in running:
                task.cancel()


def main(serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `serve` until it returns or a signal asks it to end, then exit.

    The code is 0 after SIGTERM or SIGINT, 2 for wrong settings (one line says which), 1 for a bug (logged) or
    a database that never answered.
    """
    sys.exit(_ended(serve))


def _ended(serve: Callable[[], Coroutine[Any, Any, None]]) -> int:
    try:
        with asyncio.Runner() as runner:
            runner.run(_until_signalled(serve))
    except KeyboardInterrupt:
        return 0
    except BaseException as error:
        if told := _told(error):
            print(told.detail.format(**told.arguments), file=sys.stderr)
            return 2 if isinstance(told, Misconfigured) else 1
        if isinstance(error, SystemExit):
            raise
        log.error("crashed", exc_info=error)
        return 1
    return 0


def _told(error: BaseException) -> Failure | None:
    """What an operator can do something about, and needs no traceback for."""
    if isinstance(error, BaseExceptionGroup):
        return next(filter(None, map(_told, error.exceptions)), None)
    return error if isinstance(error, Misconfigured | Unavailable | Corrupt) else None


async def _until_signalled(serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(serve())
    asked = False

    def stop() -> None:
        nonlocal asked
        asked = True
        task.cancel()
        # A second signal ends the process at once, for whoever has lost patience.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    with suppress(asyncio.CancelledError):
        await task
        return
    if not asked:
        raise asyncio.CancelledError
