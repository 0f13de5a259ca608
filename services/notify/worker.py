"""What runs unasked in notify: one function a loop."""

from aiohttp import web

from schemas.node import Signed
from services import fetching, follow, follow_store, foreign, identity
from services.errors import Misconfigured, Untrue
from services.follow import Follower
from services.follow_store import Source
from services.notify.context import FOLLOWING, POOL, SETTINGS
from services.run import Loops, keep


async def follow_log(app: web.Application) -> None:
    """Follow the one log for ever."""

    async def run() -> None:
        followed = await source(app)
        async with app[POOL].acquire() as conn:
            await follow_store.follow(conn, followed)
        await Follower(app[FOLLOWING], followed).run()

    await keep("follow", run, follow.WEATHER)


async def source(app: web.Application) -> Source:
    """The log to follow. Its node is who the settings or the database say, else who answers there first."""
    settings = app[SETTINGS]
    async with app[POOL].acquire() as conn:
        known = await follow_store.nodes(conn)
    node = settings.follow_node or next((k.node for k in known), None) or await _who_answers(app)
    if any(k.node != node for k in known):
        raise Misconfigured(
            "This database holds the changes of node {known}; give a notify of {node} one of its own.",
            {"known": known[0].node, "node": node},
        )
    return Source(node=node, url=settings.follow, alias=settings.follow)


async def _who_answers(app: web.Application) -> str:
    url = app[SETTINGS].follow.rstrip("/") + "/descriptors"
    try:
        async with app[FOLLOWING].client.get(url, raise_for_status=True, allow_redirects=False) as response:
            body = await fetching.whole(response, fetching.MOST_DESCRIPTORS)
        return identity.verified([foreign.decoded(line, Signed) for line in body.splitlines()]).node
    except Untrue as error:
        # Not a node yet, or something else that answers there: an operator may still be putting things right.
        raise ConnectionError(f"no node answers at {url}: {error}") from error


LOOPS: Loops = {"follow": follow_log}
