"""Follow the nodes of the trust file, and the file itself: followers come and go as it changes."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog
from aiohttp import web
from msgspec.structs import replace

from services import follow_store, run
from services.errors import Misconfigured
from services.follow import Context, Follower
from services.follow_store import Source
from services.sync import asking_store, store, trust
from services.sync.context import FOLLOWING, NEWS, POOL, SETTINGS, TRUST
from services.sync.store import Masked
from services.sync.trust import Trust

LOOK_EVERY = 0.5

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Followers:
    """One follower for each log that is followed now."""

    def __init__(self, context: Context, tasks: asyncio.TaskGroup) -> None:
        self._context, self._tasks = context, tasks
        self._ends: dict[Source, Callable[[], Awaitable[None]]] = {}

    async def keep_to(self, sources: list[Source]) -> None:
        """Follow these and no others; who is followed already goes on undisturbed."""
        # A muted node is followed like any other: only the merge leaves it out.
        wanted = {replace(source, mode="follow") for source in sources}
        for gone in self._ends.keys() - wanted:
            await self._ends.pop(gone)()
        for new in wanted - self._ends.keys():
            follower = Follower(self._context, new)
            self._ends[new] = run.apart(self._tasks, follower.run(), f"follow {new.alias}")


async def note(app: web.Application, now: Trust) -> None:
    """Whom we listen to, and what we hide, from now on: all at once, so that nothing in between is ever merged."""
    sources = trust.sources(now)
    async with app[POOL].acquire() as conn, conn.transaction():
        await asking_store.alone(conn)
        await follow_store.leave_others(conn, [s.node for s in sources])
        # Those that stay as they are are left alone: a snapshot that is being stored may hold them for long.
        known = {Source(n.node, n.url, n.alias, n.mode) for n in await follow_store.nodes(conn)}
        for source in sources:
            if source not in known:
                await follow_store.follow(conn, source)
        await store.hide_only(conn, [Masked(h.record, h.reason, h.since) for h in now.hidden])
        await asking_store.settle(conn, app[FOLLOWING].now())


async def watch(app: web.Application, followers: Followers) -> None:
    """Look at the trust file twice a second, and do what it says once it is written."""
    path = Path(app[SETTINGS].trust)
    before: bytes | None = None
    judged: object = object()
    while True:
        text = await asyncio.to_thread(_text, path)
        # Who writes it may not be done: what counts is the same at two looks.
        if text == before and text != judged:
            await _judge(app, followers, text)
            judged = text
        before = text
        await asyncio.sleep(LOOK_EVERY)


def _text(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


async def _judge(app: web.Application, followers: Followers, text: bytes | None) -> None:
    """Put what the file says in force; what is not valid changes nothing, and is said."""
    force, path = app[TRUST], Path(app[SETTINGS].trust)
    try:
        if text is None:
            raise trust.missing(Path(path.name))
        # What is wrong is told to everybody: the name of the file is enough.
        found = trust.read(text, Path(path.name))
    except Misconfigured as wrong:
        force.trouble = wrong.detail.format(**wrong.arguments)
        log.error("trust refused", detail=force.trouble)
        return
    if found != force.now:
        await note(app, found)
        force.now = found
        muted = sum(n.mode == "muted" for n in found.nodes)
        log.info("trust changed", nodes=len(found.nodes), muted=muted, hidden=len(found.hidden))
        app[NEWS].ring()
    force.trouble = None
    await followers.keep_to(trust.sources(found))
