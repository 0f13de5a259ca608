"""A node that says whatever a test wants it to say, well signed or not."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from uuid_utils import uuid7

from schemas.event import PLACE_PUT, REGISTRY_EMITS
from schemas.node import Amqp, Signed
from services import identity, merkle, signing, succession
from services.identity import About
from services.merkle import Range

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Impostor:
    """A log in memory, served as a registry serves its own; `answers` replaces what a path says."""

    def __init__(self, name: str, *, created: str = "2026-01-01T00:00:00Z", **about: Any) -> None:
        self.name = name
        self.root, self.online = signing.signer(os.urandom(32)), signing.signer(os.urandom(32))
        chosen: dict[str, Any] = {"heartbeat_s": 2, "license": "etalab-2.0", "contact": "", "amqp": None}
        said = About(
            slug="faux", name=name or "sans nom", url="", emits=REGISTRY_EMITS, **{**chosen, **about}
        )
        self.chain: list[Signed] = [
            identity.genesis(said, roots=[self.root], online=self.online, created=created)
        ]
        self.node = signing.node_id(self.chain[0].raw.encode())
        self.lines: list[dict[str, Any]] = []
        self.versions: dict[str, int] = {}
        self.subjects: dict[str, str] = {}
        self.n, self.epoch = 0, 1
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.close: dict[str, Any] = {}
        self.stale_answers = 0
        self.url = ""

    def record(self) -> str:
        """The id of a new record of this node."""
        return f"{self.node}:{uuid7()}"

    def event(self, *, text: bytes | None = None, **other: Any) -> bytes:
        """The next event of the log: a place, except for what is named; `text` stands in the place of its data."""
        seq = len(self.lines) + 1
        subject = other.get("subject") or self.record()
        version = self.versions.get(subject, 0) + 1
        place = {"name": f"Lieu {seq}", "status": "open", "address": {"postcode": "35000"}}
        content = {
            "specversion": "1.0",
            "id": f"{self.epoch}-{seq:016d}",
            "source": f"urn:maillage:{self.node}",
            "type": PLACE_PUT,
            "subject": subject,
            "time": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "sequence": f"{seq:016d}",
            "epoch": self.epoch,
            "recordversion": version,
            "salt": signing.text(os.urandom(16)),
            "data": place,
            **other,
        }
        self.versions[subject] = content["recordversion"]
        data = text if text is not None else msgspec.json.encode(content.pop("data"))
        raw = msgspec.json.encode({**content, "data": msgspec.Raw(data)})
        self.subjects[raw.decode()] = subject
        return raw

    def say(self, raw: bytes | None = None) -> dict[str, Any]:
        """Write an event into the log, signed; the line."""
        text = raw if raw is not None else self.event()
        self.lines.append(self.signed(text, signing.EVENT))
        return self.lines[-1]

    def signed(self, raw: bytes, kind: str) -> dict[str, str]:
        """Bytes with our signature."""
        sig = signing.text(self.online.sign(kind, raw))
        return {"raw": raw.decode("utf-8", "surrogateescape"), "kid": self.online.kid, "sig": sig}

    def tree(self) -> Range:
        """The Merkle range over the log."""
        return merkle.extended(Range(), (merkle.leaf(line["raw"].encode()) for line in self.lines))

    def latest(self) -> list[dict[str, Any]]:
        """The latest line of every record, by record."""
        known = {self.subjects[line["raw"]]: line for line in self.lines if line["raw"] in self.subjects}
        return [known[record] for record in sorted(known)]

    def checkpoint(self, **other: Any) -> dict[str, str]:
        """The next checkpoint over the whole log, full, except for what is named here or in `close`."""
        self.n += 1
        states = [(self.subjects[line["raw"]], merkle.leaf(line["raw"].encode())) for line in self.latest()]
        content = {
            "v": 1,
            "node": self.node,
            "n": self.n,
            "epoch": self.epoch,
            "size": len(self.lines),
            "log_root": merkle.root(self.tree()).hex(),
            "descriptor": identity.verified(self.chain).hash,
            "state_root": merkle.state_root(states).hex(),
            "count": len(states),
            "at": "2026-01-01T00:00:00Z",
            **self.close,
            **other,
        }
        return self.signed(msgspec.json.encode(content), signing.CHECKPOINT)

    def open_epoch(self, size: int) -> None:
        """Go on after the first events, so many of them, in a new epoch."""
        self.lines = self.lines[:size]
        self.descend(succession.opened(self.tree(), "opened"))
        self.epoch += 1

    def descend(self, *changes: succession.Change) -> None:
        """Sign another descriptor."""
        raw = succession.successor(identity.verified(self.chain), *changes, created="2026-01-02T00:00:00Z")
        self.chain.append(identity.signed(raw, [self.root]))

    def page(self, after: int) -> list[dict[str, Any]]:
        """The lines of a feed page."""
        return [*self.lines[after:], {"checkpoint": self.checkpoint()}]

    def snapshot(self, lines: Sequence[dict[str, Any]] | None = None, **other: Any) -> bytes:
        """A snapshot of the log, of these lines instead of the latest ones."""
        tree = self.tree()
        head = {
            "epoch": self.epoch,
            "size": tree.size,
            "log_root": merkle.root(tree).hex(),
            "descriptor": identity.verified(self.chain).hash,
            "peaks": [peak.hex() for peak in tree.peaks],
            "checkpoint": self.checkpoint(**other),
        }
        return ndjson([head, *(self.latest() if lines is None else lines)])

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """What this node says at a path."""
        self.asked.append(request.path_qs)
        if request.path in self.answers:
            return await self.answers[request.path](request)
        if request.path == "/descriptors":
            return web.Response(body=b"".join(msgspec.json.encode(d) + b"\n" for d in self.chain))
        if request.path == "/snapshot":
            return web.Response(body=self.snapshot())
        after = int(request.query["after"].partition(".")[2])
        return web.Response(body=ndjson(self.page(after)))

    def says(self, path: str, body: bytes | Callable[[], bytes], status: int = 200, **headers: str) -> None:
        """Answer this at a path from now on."""

        async def reply(request: web.Request) -> web.StreamResponse:
            told = body if isinstance(body, bytes) else body()
            return web.Response(body=told, status=status, headers=headers)

        self.answers[path] = reply

    def app(self) -> web.Application:
        """The node as a web application."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.answer)
        return app

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Impostor]:
        """The node, listening on a free port."""
        runner = web.AppRunner(self.app(), handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            yield self
        finally:
            await runner.cleanup()


def ndjson(lines: Sequence[Any]) -> bytes:
    """Lines as a feed has them."""
    return b"".join(msgspec.json.encode(line) + b"\n" for line in lines)


def with_broker(url: str, stream: str = "maillage.feed") -> Amqp:
    """What a descriptor says of a broker."""
    return Amqp(url=url, exchange="maillage.events", stream=stream)
