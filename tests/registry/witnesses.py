"""A witness in tests: serves what it read of a registry at some moment, or whatever a test has it say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from aiohttp import web

from tests.nodes import Registry
from tests.registry.archives import feed


class Witness:
    """What a sync keeps of one registry: its last checkpoint, its feed, its descriptors."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.lines: list[bytes] = []
        self.chain = b""
        self.node = self.url = ""
        self.asked: list[str] = []
        self.pause = 0.0
        self.change: Callable[[bytes], bytes] = lambda line: line

    async def look(self, registry: Registry) -> None:
        """See all that the registry has now."""
        checkpoint = await registry.get("/checkpoint")
        said = msgspec.json.decode(checkpoint["raw"])
        self.node, self.chain = registry.node, await registry.get("/descriptors")
        self.lines = (await feed(registry))[: said["size"]]
        keys = {key: said[key] for key in ("node", "epoch", "size", "n")}
        self.seen = [{**keys, "checkpoint": checkpoint}]

    async def answer(self, request: web.Request) -> web.Response:
        """What a sync says at these paths."""
        self.asked.append(request.path)
        await asyncio.sleep(self.pause)
        if request.path == "/observed":
            return web.json_response({"observed": self.seen})
        if request.path == f"/observed/{self.node}/descriptors":
            return web.Response(body=self.chain)
        if request.path == f"/observed/{self.node}/feed":
            after, limit = int(request.query["after"].partition(".")[2]), int(request.query["limit"])
            lines = [self.change(line) for line in self.lines[after : after + limit]]
            close = msgspec.json.encode({"checkpoint": self.seen[0]["checkpoint"]})
            return web.Response(body=b"".join(line + b"\n" for line in [*lines, close]))
        return web.Response(status=404)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Witness]:
        """The witness, listening on a free port."""
        app = web.Application()
        app.router.add_get("/{path:.*}", self.answer)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()
