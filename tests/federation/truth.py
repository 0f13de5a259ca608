"""What must be so in the database of a sync, worked out from the nodes' logs alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import msgspec

from schemas.event import CLAIM_PUT, OF_PLACES, PLACE_PUT, RECORD_ERASE, VIEW_PUT, Event
from schemas.view import View
from services import foreign, identity, ledger, ledger_store, merkle, signing
from services.identity import Identity
from services.merkle import Range
from services.postgres import Connection
from services.sync import fields, merge, pairing
from services.sync.merge import Record, Said, Scores
from services.sync.profiles import profile
from services.sync.records import Pair
from tests.federation.network import Entry, Network
from tests.federation.shelf import Tables
from tests.sync import oracle

Json = dict[str, Any]
WORD = re.compile(rb"mot-[0-9]{6}")


def founded(node: Network) -> int:
    """When a node says that it was founded, in milliseconds; 0 where nobody can read it."""
    return _milliseconds(node.whose.created)


@cache
def _milliseconds(created: str) -> int:
    since = fields.moment(created)
    return int(datetime.fromisoformat(since).timestamp() * 1000) if since else 0


@dataclass
class Known:
    """What was worked out before: pure functions of events that never change."""

    records: dict[bytes, Record] = field(default_factory=dict)
    views: dict[Any, View | None] = field(default_factory=dict)
    held: dict[bytes, Record | str | None] = field(default_factory=dict)
    said: dict[bytes, Said | None] = field(default_factory=dict)


def _places(nodes: Sequence[Network]) -> list[tuple[Network, Entry]]:
    return [(node, e) for node in nodes for e in node.latest.values() if e.type in OF_PLACES]


def records(nodes: Sequence[Network]) -> list[Json]:
    """The records of places, as the oracle reads them."""
    return [_record(entry, founded(node)) for node, entry in _places(nodes)]


def _record(entry: Entry, created: int) -> Json:
    data = entry.data if entry.type != RECORD_ERASE else {}
    return {
        "id": entry.subject,
        "version": entry.version,
        "leaf": entry.leaf.hex(),
        "time": msgspec.json.decode(entry.raw)["time"],
        "place": data if entry.type == PLACE_PUT else None,
        "successor": data.get("successor"),
        "created": created,
    }


def claims(nodes: Sequence[Network]) -> list[Json]:
    """The claims in force: of a claimant and a pair the latest."""
    said: dict[tuple[str, frozenset[str]], Json] = {}
    for node in nodes:
        for entry in sorted(node.latest.values(), key=lambda e: e.seq):
            if entry.type == CLAIM_PUT:
                pair = frozenset((entry.data["a"], entry.data["b"]))
                said[node.node, pair] = {"claimant": node.node, "statement": None, **entry.data}
    return list(said.values())


def views(nodes: Sequence[Network], known: Known) -> dict[str, View]:
    """The view of the nodes' present logs; what was worked out before of the same records is `known`."""
    found = [_read(entry, founded(node), known) for node, entry in _places(nodes)]
    return view_of(found, msgspec.convert(claims(nodes), list[Said]), known)


def view_of(found: Sequence[Record], said: Sequence[Said], known: Known) -> dict[str, View]:
    """The view of records and claims."""
    views: list[View | None] = []
    for group in merge.batch(found, said).clusters:
        ids = {record.id for record in group}
        about = frozenset(s for s in said if s.a in ids or s.b in ids)
        key = (tuple((r.id, r.leaf) for r in group), about)
        if key not in known.views:
            known.views[key] = merge.merged(group, about)
        views.append(known.views[key])
    return {view.id: view for view in views if view is not None}


def inputs(nodes: Sequence[Network], known: Known) -> tuple[list[Record], list[tuple[str, int, Said]]]:
    """All that the merge reads of the nodes' present logs: records by id, claims by record."""
    found = [_read(entry, founded(node), known) for node, entry in _places(nodes)]
    said = [
        (e.subject, e.seq, msgspec.convert({"claimant": node.node, **e.data}, Said))
        for node in nodes
        for e in node.latest.values()
        if e.type == CLAIM_PUT
    ]
    return sorted(found, key=lambda record: record.id), sorted(said)


def _read(entry: Entry, created: int, known: Known) -> Record:
    if entry.leaf not in known.records:
        known.records[entry.leaf] = msgspec.convert(_record(entry, created), Record)
    return known.records[entry.leaf]


def agrees_with_the_oracle(nodes: Sequence[Network], found: dict[str, View]) -> None:
    """An independent reading of the rules finds these places, ids and values."""
    known, said = records(nodes), claims(nodes)
    by_id = {record["id"]: record for record in known}
    alike, score = _points(known, said)
    rules = {name: getattr(merge.POLICY.matching, name) for name in ("join", "propose", "apart", "margin")}
    groups = [
        group
        for group in oracle.clusters(known, said, alike, score, rules)
        if any(by_id[id]["place"] is not None for id in group)
    ]
    assert {frozenset(view.aliases) for view in found.values()} == set(groups)
    for group in groups:
        members = [by_id[id] for id in group]
        view = found[oracle.elder(members)]
        expected = oracle.merged(members)
        assert view.fields.keys() - {"disputed_status"} == expected.keys()
        for name, (value, said_by, others) in expected.items():
            shown = view.fields[name]
            assert (shown.value, shown.record, [a.value for a in shown.alternatives]) == (
                value,
                said_by,
                others,
            )


def _points(
    known: Sequence[Json], said: Sequence[Json]
) -> tuple[dict[Pair, int], Callable[[str, str], int | None]]:
    """The points of the pairs that are compared, and those of any pair: the rule of clusters begins there."""
    records = {r.id: r for r in msgspec.convert(known, list[Record])}
    profiles = {id: profile(id, r.place, merge.POLICY) for id, r in records.items() if r.place is not None}
    found = pairing.all_alike(profiles, msgspec.convert(said, list[Said]), merge.POLICY)
    return {pair: one.points for pair, one in found.items()}, Scores(records, {}, merge.POLICY).of


async def stands_on(conn: Connection, nodes: Sequence[Network], expected: dict[str, View]) -> list[Any]:
    """The rows of a view that stands at the nodes' heads, all of them what was expected; with its root."""
    rows = await conn.fetch("SELECT * FROM view ORDER BY id")
    shown = {row["id"]: row["body"] for row in rows}
    wanted = {id: merge.view_bytes(view) for id, view in expected.items()}
    assert shown == wanted, _differences(shown, wanted)
    heads = await conn.fetch("SELECT node, epoch, size, log_root, descriptor FROM merged ORDER BY node")
    assert [tuple(head) for head in heads] == sorted(map(_head, nodes))
    return [await root(conn, expected), *map(tuple, rows)]


def _differences(shown: dict[str, bytes], wanted: dict[str, bytes]) -> Any:
    return {
        id: (shown.get(id), wanted.get(id))
        for id in shown.keys() | wanted.keys()
        if shown.get(id) != wanted.get(id)
    }


def _head(node: Network) -> tuple[str, int, int, str, str]:
    return node.node, node.epoch, node.size, merkle.root(node.ranges[-1]).hex(), node.whose.hash


async def root(conn: Connection, expected: dict[str, View]) -> bytes:
    """The root of a view, of whose buckets each is what it should be."""
    rows = {row["bucket"]: row["hash"] for row in await conn.fetch("SELECT bucket, hash FROM bucket")}
    entries: dict[int, list[bytes]] = {}
    for id, view in expected.items():
        entries.setdefault(merge.bucket(id), []).append(merge.entry(id, merge.view_bytes(view)))
    full = {bucket: merge.bucket_hash(some) for bucket, some in entries.items()}
    assert {bucket: hash for bucket, hash in rows.items() if hash != merkle.EMPTY} == full
    hashes = [full.get(bucket, merkle.EMPTY) for bucket in range(256)]
    basis = await conn.fetchrow("SELECT followed, policy FROM merge")
    assert basis is not None
    return merge.view_root(basis["policy"], basis["followed"], hashes)


async def finds_by_any_id(conn: Connection, expected: dict[str, View]) -> None:
    """Each record is in the place that it is in."""
    members = await conn.fetch("SELECT record, view FROM member WHERE view IS NOT NULL ORDER BY record")
    assert [tuple(m) for m in members] == sorted((a, v.id) for v in expected.values() for a in v.aliases)


async def holds_what_it_followed(conn: Connection, node: Network) -> None:
    """The events that are held of a node are those of its present log, without a hole since they began."""
    start = await conn.fetchval("SELECT start_size FROM follow_node WHERE node = $1", node.node)
    rows = await conn.fetch(
        "SELECT seq, epoch, leaf, raw FROM follow_event WHERE node = $1 ORDER BY seq", node.node
    )
    said = [(e.seq, e.epoch, e.leaf, b"" if e.by else e.raw) for e in node.lines]
    held = {row["seq"]: tuple(row) for row in rows}
    assert set(range(start + 1, node.size + 1)) <= held.keys()
    assert list(held.values()) == [one for one in said if one[0] in held]
    rows = await conn.fetch("SELECT record, seq, version, type FROM follow_record WHERE node = $1", node.node)
    assert {tuple(row) for row in rows} == {
        (e.subject, e.seq, e.version, e.type) for e in node.latest.values()
    }


def shelves_what_it_followed(tables: Tables, node: Network) -> None:
    """As `holds_what_it_followed`, of a shelf."""
    start, held = tables.nodes[node.node].start_size, tables.events.get(node.node, {})
    assert set(range(start + 1, node.size + 1)) <= held.keys()
    for seq, e in held.items():
        said = node.lines[seq - 1]
        assert (e.seq, e.epoch, e.leaf, e.raw) == (seq, said.epoch, said.leaf, b"" if said.by else said.raw)
    latest = {record: (e.seq, e.leaf) for record, e in tables.latest.get(node.node, {}).items()}
    assert latest == {record: (e.seq, e.leaf) for record, e in node.latest.items()}


# --- the log of the view ---------------------------------------------------------------------------------------


@dataclass
class ViewLog:
    """The log of a sync's own, as far as it has been proven, and what it tells of each place."""

    tree: Range = field(default_factory=Range)
    whose: Identity | None = None
    told: dict[str, Event] = field(default_factory=dict)
    erased: set[bytes] = field(default_factory=set)
    hidden: int = 0

    async def proves(self, conn: Connection, expected: dict[str, View]) -> None:
        """Read on: order, leaves, signatures and root hold, and what it tells last is the view."""
        whose = self.whose = self.whose or identity.verified(await ledger.descriptors(conn))
        size = self.tree.size
        rows = await conn.fetch("SELECT * FROM ledger_event WHERE seq > $1 ORDER BY seq", size)
        for row in rows:
            self._takes(row, whose)
        head = await ledger_store.head(conn)
        assert head is not None
        assert (head.size, head.peaks) == (self.tree.size, self.tree.peaks)
        shown = {id: merge.public(view) for id, view in expected.items()}
        last = {record.partition(":")[2]: event for record, event in self.told.items()}
        told = {id: msgspec.json.decode(e.data)["after"] for id, e in last.items() if e.type == VIEW_PUT}
        assert told == msgspec.to_builtins(shown), _differences(told, msgspec.to_builtins(shown))

    def _takes(self, row: Any, whose: Identity) -> None:
        assert row["seq"] == self.tree.size + 1
        self.tree = merkle.extended(self.tree, [row["leaf"]])
        if row["erasure"] is not None:
            assert row["raw"] == b""
            return
        assert row["leaf"] == merkle.leaf(row["raw"])
        key = identity.key_at(whose, row["kid"], (row["epoch"], row["seq"]))
        assert signing.verifies(key, signing.EVENT, row["raw"], row["sig"])
        event = foreign.decoded(row["raw"], Event)
        before = self.told.get(event.subject)
        assert event.recordversion == row["version"]
        assert before is None or event.recordversion > before.recordversion
        self.told[event.subject] = event
        self.erased |= {bytes.fromhex(x) for x in _leaves(event)}

    async def is_whole(self, conn: Connection) -> None:
        """Read from the start: only what erase events name is hidden, and all of that."""
        rows = await conn.fetch("SELECT seq, leaf, raw, erasure FROM ledger_event ORDER BY seq")
        assert merkle.extended(Range(), (row["leaf"] for row in rows)) == self.tree
        hidden = {row["leaf"] for row in rows if row["erasure"] is not None}
        assert hidden == self.erased & {row["leaf"] for row in rows}
        assert all((row["raw"] == b"") == (row["leaf"] in hidden) for row in rows)
        self.hidden = len(hidden)


def _leaves(event: Event) -> list[str]:
    return list(msgspec.json.decode(event.data)["leaves"]) if event.type == RECORD_ERASE else []


TEXTS = """SELECT raw FROM follow_event UNION ALL SELECT raw FROM follow_dropped UNION ALL SELECT raw FROM ledger_event
           UNION ALL SELECT raw FROM ledger_dropped UNION ALL SELECT convert_to(t::text, 'UTF8') FROM follow_evidence t
           UNION ALL SELECT body FROM view UNION ALL SELECT item FROM view
           UNION ALL SELECT convert_to(statement, 'UTF8') FROM claim WHERE statement IS NOT NULL"""


async def words(conn: Connection) -> frozenset[str]:
    """All words of networks that stand anywhere in a database."""
    return words_in([row[0] for row in await conn.fetch(TEXTS)])


def words_in(texts: Iterable[bytes]) -> frozenset[str]:
    """All words of networks in some texts."""
    return frozenset(word.decode() for text in texts for word in WORD.findall(text))
