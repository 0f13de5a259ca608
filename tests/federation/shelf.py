"""`follow_store` without a database, and what followers need of `observed_store`: the same functions over dicts.

For the thousands of histories that a database has no time for. Transactions roll back. That these functions do what the
statements do is shown by the same histories on PostgreSQL; whatever differs between the two is a mistake here.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from services import follow_store
from services.follow_store import Evidence, Node, Source
from services.identity import Identity
from services.merkle import Range
from services.proofs import Erased, Followed, Position


@dataclass
class Tables:
    """What a database would hold of followed logs. Rows are replaced, never changed."""

    nodes: dict[str, Node] = field(default_factory=dict)
    highest: dict[str, str] = field(default_factory=dict)
    descriptors: dict[str, tuple[tuple[str, bytes], ...]] = field(default_factory=dict)
    events: dict[str, dict[int, Followed]] = field(default_factory=dict)
    latest: dict[str, dict[str, Followed]] = field(default_factory=dict)
    dropped: dict[str, tuple[Followed, ...]] = field(default_factory=dict)
    evidence: dict[str, tuple[Evidence, ...]] = field(default_factory=dict)

    def copied(self) -> Tables:
        """These tables, to go back to."""
        return Tables(
            **{
                name: {key: copy.copy(rows) for key, rows in getattr(self, name).items()}
                for name in self.__dataclass_fields__
            }
        )


class Shelf:
    """A pool on tables, and the one connection that it gives."""

    def __init__(self) -> None:
        self.tables = Tables()

    @asynccontextmanager
    async def acquire(self, **_: Any) -> AsyncIterator[Shelf]:
        """The connection."""
        yield self

    @asynccontextmanager
    async def transaction(self, **_: Any) -> AsyncIterator[None]:
        """All or nothing."""
        before = self.tables.copied()
        try:
            yield
        except BaseException:
            self.tables = before
            raise

    async def execute(self, name: str, *args: Any, **options: Any) -> Any:
        """Do what the function of `follow_store` of this name does."""
        return getattr(_Functions(self.tables), name)(*args, **options)


class Store:
    """Either module, for followers that stand on a shelf."""

    Source = Source
    LONGEST_HEARTBEAT = follow_store.LONGEST_HEARTBEAT

    def __getattr__(self, name: str) -> Any:
        async def function(conn: Any, *args: Any, **options: Any) -> Any:
            return await conn.execute(name, *args, **options)

        return function


NEW = Node(
    node="", url="", alias="", mode="", state="new", epoch=0, size=0, peaks=(), n=0, descriptor="", created="",
    name="", license="", contact="", heartbeat_s=60, told=0, heard_at=None, trouble=None, opaque=0, start_size=0,
    start_peaks=(), rewinds=0,
)  # fmt: skip


class _Functions:
    def __init__(self, t: Tables) -> None:
        self.t = t

    def _update(self, node: str, **columns: Any) -> None:
        self.t.nodes[node] = replace(self.t.nodes[node], **columns)

    def follow(self, s: Source) -> None:
        known = self.t.nodes.get(s.node, NEW)
        self.t.nodes[s.node] = replace(known, node=s.node, url=s.url, alias=s.alias, mode=s.mode)

    def node(self, node: str) -> Node | None:
        return self.t.nodes.get(node)

    def set_identity(self, whose: Identity) -> None:
        self._update(whose.node, descriptor=whose.hash, created=whose.created)

    def add_descriptor(self, node: str, version: int, raw: str, signatures: bytes) -> None:
        kept = self.t.descriptors.get(node, ())
        if version > len(kept):
            self.t.descriptors[node] = (*kept, (raw, signatures))

    def descriptors(self, node: str) -> list[tuple[str, bytes]]:
        return list(self.t.descriptors.get(node, ()))

    def set_state(self, node: str, state: str, trouble: str | None = None) -> None:
        if self.t.nodes[node].state != "forked" or state == "forked":
            self._update(node, state=state, trouble=trouble)

    def move(self, node: str, before: Position, after: Position, *, state: str, at: Any) -> bool:
        now = self.t.nodes[node]
        if (now.epoch, now.size) != (before.epoch, before.tree.size) or now.state == "forked":
            return False
        self._update(
            node, epoch=after.epoch, size=after.tree.size, peaks=after.tree.peaks, n=after.n, state=state,
            trouble=None, heard_at=at,
        )  # fmt: skip
        return True

    def stands(self, node: str, here: Position) -> bool:
        now = self.t.nodes[node]
        return (now.epoch, now.size) == (here.epoch, here.tree.size)

    def heard(self, node: str, *, told: int, highest: str, at: Any) -> None:
        self._update(node, told=told, heard_at=at)
        self.t.highest[node] = highest

    def highest(self, node: str) -> str | None:
        return self.t.highest.get(node)

    def versions(self, records: Sequence[str]) -> dict[str, int]:
        known = {r: e for some in self.t.latest.values() for r, e in some.items() if e.event}
        return {r: known[r].event.recordversion for r in records if r in known}  # type: ignore[union-attr]

    def has_unreadable(self, node: str) -> bool:
        return any(_record(e) is None for e in self.t.events.get(node, {}).values())

    def has_erased(self, node: str, record: str) -> bool:
        return any(e.erased and _record(e) == record for e in self.t.events.get(node, {}).values())

    def add_events(self, node: str, events: Sequence[Followed]) -> None:
        kept = self.t.events.setdefault(node, {})
        assert not kept.keys() & {e.seq for e in events}, "an event twice"
        kept |= {e.seq: e for e in events}

    def set_records(self, node: str, events: Sequence[Followed]) -> None:
        self.t.latest.setdefault(node, {}).update({e.event.subject: e for e in events if e.event is not None})

    def leaves(self, node: str, *, after: int, until: int) -> list[bytes]:
        kept = self.t.events.get(node, {})
        return [kept[seq].leaf for seq in sorted(kept) if after < seq <= until]

    def start_over(self, node: str) -> None:
        for table in (self.t.events, self.t.latest, self.t.dropped, self.t.highest):
            table.pop(node, None)  # type: ignore[attr-defined]
        known = self.t.evidence.get(node, ())
        self.t.evidence[node] = tuple(e for e in known if e.kind != "event")
        fresh = {"state": "new", "epoch": 0, "size": 0, "peaks": (), "n": 0, "trouble": None, "told": 0}
        rewinds = self.t.nodes[node].rewinds + 1
        self._update(node, start_size=0, start_peaks=(), rewinds=rewinds, **fresh)

    def begin_at(self, node: str, start: Range) -> None:
        self._update(node, start_size=start.size, start_peaks=start.peaks)

    def rewind(self, node: str, there: Position) -> None:
        kept, size = self.t.events.setdefault(node, {}), there.tree.size
        gone = [kept.pop(seq) for seq in sorted(kept) if seq > size]
        self.t.dropped[node] = (*self.t.dropped.get(node, ()), *gone)
        self.t.latest[node] = {e.event.subject: e for _, e in sorted(kept.items()) if e.event}
        self._update(
            node, epoch=there.epoch, size=size, peaks=there.tree.peaks, told=size, trouble=None, state="lagging",
            rewinds=self.t.nodes[node].rewinds + 1,
        )  # fmt: skip

    def erase(self, node: str, record: str, leaves: Sequence[bytes], by: Erased) -> None:
        kept = self.t.events[node]
        for seq, e in list(kept.items()):
            if e.leaf in leaves and _record(e) == record:
                kept[seq] = replace(e, raw=b"", kid="", sig=b"", event=None, opaque=None, erased=by)
        dropped = self.t.dropped.get(node, ())
        self.t.dropped[node] = tuple(replace(e, raw=b"") if e.leaf in leaves else e for e in dropped)

    def unproven_erasure(self, node: str, *, size: int) -> int | None:
        kept = self.t.events.get(node, {})
        for seq, e in kept.items():
            if e.erased is None or e.erased.seq is None:
                continue
            by = kept.get(e.erased.seq)
            if e.erased.seq > size or (by is not None and by.leaf != e.erased.leaf):
                return seq
        return None

    def stored(self, node: str, seqs: Sequence[int]) -> dict[int, Followed]:
        kept = self.t.events.get(node, {})
        return {seq: kept[seq] for seq in seqs if seq in kept}

    def add_evidence(self, node: str, kind: str, a: str, b: str, at: Any) -> None:
        known = self.t.evidence.get(node, ())
        if (kind, a, b) not in {(e.kind, e.a, e.b) for e in known}:
            self.t.evidence[node] = (*known, Evidence(hash((kind, a, b)), node, kind, at, a, b))

    def evidence(self, node: str) -> list[Evidence]:
        return list(self.t.evidence.get(node, ()))

    def drop_evidence(self, ids: Sequence[int]) -> None:
        for node, known in self.t.evidence.items():
            self.t.evidence[node] = tuple(e for e in known if e.id not in ids)

    def ignored(self, *_: Any, **__: Any) -> None:
        return None

    count_opaque = keep_checkpoint = ignored


def _record(e: Followed) -> str | None:
    if e.event is not None:
        return e.event.subject
    return e.erased.record if e.erased else None
