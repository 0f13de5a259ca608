"""Filling the networks by their own HTTP, and waiting until the syncs show what the networks say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from demo.process import Failed

POLL_S = 0.1


@dataclass(frozen=True)
class Desk:
    """A network's registry as its coordinator sees it: the address and her token."""

    alias: str
    url: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        """What every write carries."""
        return {"Authorization": f"Bearer {self.token}"}


async def import_list(
    session: aiohttp.ClientSession, desk: Desk, form: str, content: bytes
) -> dict[str, Any]:
    """Import a whole list and give the finished import; raises Failed when it is refused as a whole."""
    query = {"format": form, "mode": "apply"}
    async with session.post(f"{desk.url}/imports", params=query, headers=desk.headers, data=content) as reply:
        started = await read(reply, 202, f"import {desk.alias}")
    while True:
        async with session.get(f"{desk.url}/imports/{started['id']}", headers=desk.headers) as reply:
            now = await read(reply, 200, f"import {desk.alias}")
        if now["state"] == "done":
            return now
        if now["state"] not in ("uploading", "queued", "running"):
            raise Failed(f"import {desk.alias}: {now['state']} {now.get('error') or ''}")
        await asyncio.sleep(POLL_S)


async def ids_by_origin(session: aiohttp.ClientSession, desk: Desk) -> dict[str, str]:
    """A network's record ids by the ids in the list that it imported."""
    return {
        each["place"]["origin"]["id"]: each["id"]
        async for each in places(session, desk)
        if each["place"].get("origin")
    }


async def places(session: aiohttp.ClientSession, desk: Desk) -> AsyncIterator[dict[str, Any]]:
    """Every place of a network, page by page."""
    page: str | None = None
    while True:
        query = {"limit": "100"} | ({"page": page} if page else {})
        async with session.get(f"{desk.url}/places", params=query) as reply:
            told = await read(reply, 200, f"places {desk.alias}")
        for each in told["places"]:
            yield each
        page = told.get("next")
        if not page:
            return


async def claim_same(session: aiohttp.ClientSession, desk: Desk, own: str, other: str) -> None:
    """Say in a network's name that a record of its own and another network's are one place."""
    claim = {"a": own, "b": other, "verdict": "same"}
    async with session.post(f"{desk.url}/claims", json=claim, headers=desk.headers) as reply:
        await read(reply, 201, f"claim {desk.alias}")


async def head(session: aiohttp.ClientSession, url: str) -> str:
    """The position of the last event of a node's log, `<epoch>.<seq>`."""
    async with session.get(f"{url}/checkpoint") as reply:
        kept = json.loads((await read(reply, 200, "checkpoint"))["raw"])
    # That one may be a second old; the feed after it ends with the newest.
    query = {"after": f"{kept['epoch']}.{kept['size']}"}
    async with session.get(f"{url}/feed", params=query) as reply:
        last = json.loads((await reply.text()).splitlines()[-1])
    newest = json.loads(last["checkpoint"]["raw"])
    return f"{newest['epoch']}.{newest['size']}"


async def caught_up(session: aiohttp.ClientSession, sync: str, heads: dict[str, str]) -> bool:
    """Whether a sync's cursor has reached these heads (`<epoch>.<seq>` by node id)."""
    try:
        async with session.get(f"{sync}/networks") as reply:
            told = await read(reply, 200, "networks")
    except (aiohttp.ClientError, TimeoutError):
        return False
    cursors = {each["node"]: position(each["cursor"]) for each in told["networks"]}
    return all(cursors.get(node, (0, 0)) >= position(head) for node, head in heads.items())


def position(cursor: str) -> tuple[int, int]:
    """A cursor as numbers that compare."""
    epoch, _, seq = cursor.partition(".")
    return int(epoch), int(seq)


async def read(reply: aiohttp.ClientResponse, status: int, what: str) -> dict[str, Any]:
    """The JSON of an answer; raises Failed when its status is not the expected one."""
    if reply.status != status:
        raise Failed(f"{what}: {reply.status} {(await reply.text())[:500]}")
    return dict(await reply.json(content_type=None))
