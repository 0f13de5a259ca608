"""A network's node in memory, true to the protocol: log, epochs, keys, erasures, floor; the same bytes at every run."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

import msgspec

from schemas.event import RECORD_ERASE, REGISTRY_EMITS
from schemas.node import Signed
from services import identity, merkle, signing, succession
from services.identity import About, Identity
from services.merkle import Range
from services.signing import Signer

Draft = tuple[str, str, Any]
OK, CONFLICT, GONE = 200, 409, 410


@dataclass(frozen=True)
class Entry:
    """An event of a log; `words`: what it says that nothing else does; `by`: the erase event that hid it."""

    seq: int
    epoch: int
    subject: str
    version: int
    type: str
    data: Any
    raw: bytes
    kid: str
    sig: str
    leaf: bytes
    words: frozenset[str]
    by: Entry | None = None

    def signed(self) -> dict[str, str]:
        """The event with its signature."""
        return {"raw": self.raw.decode(), "kid": self.kid, "sig": self.sig}

    def line(self) -> bytes:
        """The event as a line of a feed."""
        if self.by is None:
            return msgspec.json.encode(self.signed()) + b"\n"
        hidden = {"redacted": True, "seq": self.seq, "leaf": self.leaf.hex(), "by": self.by.signed()}
        return msgspec.json.encode(hidden) + b"\n"


@dataclass(frozen=True)
class Erasure:
    """An erase event, and the leaves of a record that it took away."""

    entry: Entry
    leaves: frozenset[bytes]


class Network:
    """One network's log, written as a registry writes its own, and served as a registry serves it."""

    def __init__(self, name: str, created: str, chance: Random) -> None:
        self.name, self.chance, self.now = name, chance, datetime(2026, 1, 1, tzinfo=UTC)
        self.root, self.online = self._key(), self._key()
        said = About(
            slug=name, name=name, license="etalab-2.0", contact="", url="", amqp=None, heartbeat_s=60,
            emits=REGISTRY_EMITS,
        )  # fmt: skip
        self.chain: list[Signed] = [
            identity.genesis(said, roots=[self.root], online=self.online, created=created)
        ]
        self.whose: Identity = identity.verified(self.chain)
        self.node = self.whose.node
        self.epoch, self.n, self.floor = 1, 0, 0
        self.lines: list[Entry] = []
        self.ranges = [Range()]
        self.dropped: list[Entry] = []
        self.latest: dict[str, Entry] = {}
        self.erasures: list[Erasure] = []
        self.closes: dict[int, dict[str, str]] = {}
        # Where a stolen key wrote for the first time, as long as it is not revoked.
        self.stolen_at: int | None = None
        self._close()

    @property
    def size(self) -> int:
        """How many events the log has."""
        return len(self.lines)

    @property
    def cursor(self) -> str:
        """Where the log stands."""
        return f"{self.epoch}.{self.size}"

    def past(self) -> Network:
        """This node as it is now, for a mirror that keeps serving it."""
        kept = copy.copy(self)
        kept.chain, kept.lines, kept.ranges = list(self.chain), list(self.lines), list(self.ranges)
        kept.latest, kept.closes = dict(self.latest), dict(self.closes)
        return kept

    def _key(self) -> Signer:
        return signing.signer(self.chance.randbytes(32))

    # --- writing -----------------------------------------------------------------------------------------

    def write(self, *drafts: Draft) -> None:
        """Write events and close them with one checkpoint."""
        for draft in drafts:
            self._append(draft)
        self._close()

    def _append(self, draft: Draft) -> Entry:
        entry = self.drawn(draft, self.size + 1)
        self.lines.append(entry)
        self.ranges.append(merkle.extended(self.ranges[-1], [entry.leaf]))
        self.latest[entry.subject] = entry
        return entry

    def drawn(self, draft: Draft, seq: int) -> Entry:
        """An event at a position of this log, signed and not yet in it."""
        subject, kind, data = draft
        self.now += timedelta(seconds=7)
        before = self.latest.get(subject)
        version = before.version + 1 if before else 1
        content = {
            "specversion": "1.0",
            "id": f"{self.epoch}-{seq:016d}",
            "source": f"urn:maillage:{self.node}",
            "type": kind,
            "subject": subject,
            "time": self.now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "datacontenttype": "application/json",
            "sequence": f"{seq:016d}",
            "epoch": self.epoch,
            "recordversion": version,
            "salt": signing.text(self.chance.randbytes(16)),
            "data": data,
        }
        raw = msgspec.json.encode(content)
        sig = signing.text(self.online.sign(signing.EVENT, raw))
        words = frozenset(w for w in raw.decode().replace('"', " ").split() if w.startswith("mot-"))
        return Entry(
            seq, self.epoch, subject, version, kind, data, raw, self.online.kid, sig, merkle.leaf(raw), words
        )  # fmt: skip

    def _close(self, *, state_root: str | None = None, count: int | None = None) -> None:
        """Sign a checkpoint over what there is."""
        self.n += 1
        content = {
            "v": 1,
            "node": self.node,
            "n": self.n,
            "epoch": self.epoch,
            "size": self.size,
            "log_root": merkle.root(self.ranges[-1]).hex(),
            "descriptor": self.whose.hash,
            "state_root": state_root,
            "count": count,
            "at": "2026-01-01T00:00:00Z",
        }
        raw = msgspec.json.encode(content)
        sig = signing.text(self.online.sign(signing.CHECKPOINT, raw))
        self.closes[self.size] = {"raw": raw.decode(), "kid": self.online.kid, "sig": sig}
        self.full = state_root is not None

    # --- erasing -----------------------------------------------------------------------------------------

    def erasable(self, subject: str) -> list[Entry]:
        """Events of a record whose content is still there, those that epochs have cut off included."""
        known = [*self.lines, *self.dropped]
        return [e for e in known if e.subject == subject and e.by is None and e.type != RECORD_ERASE]

    def erase(self, subject: str, gone: frozenset[bytes]) -> None:
        """Erase these events of a record; where only older ones go, the record says again what it is."""
        self._erase(subject, gone)
        self._close()

    def _erase(self, subject: str, gone: frozenset[bytes]) -> None:
        last = self.latest.get(subject)
        listed = {"leaves": sorted(leaf.hex() for leaf in gone)}
        by = self._append((subject, RECORD_ERASE, listed))
        if last and last.by is None and last.type != RECORD_ERASE and last.leaf not in gone:
            self._append((subject, last.type, last.data))
        for kept in (self.lines, self.dropped):
            kept[:] = [replace(e, by=by) if e.leaf in gone else e for e in kept]
        self.erasures.append(Erasure(by, gone))

    def erased_words(self) -> frozenset[str]:
        """What nobody may show any more."""
        known = [*self.lines, *self.dropped]
        alive = frozenset(w for e in known if e.by is None for w in e.words)
        return frozenset(w for e in known if e.by is not None for w in e.words) - alive

    # --- descriptors -------------------------------------------------------------------------------------

    def _descend(self, *changes: succession.Change) -> None:
        raw = succession.successor(self.whose, *changes, created="2026-01-02T00:00:00Z")
        self.chain.append(identity.signed(raw, [self.root]))
        self.whose = identity.verified(self.chain)

    def rotate(self) -> None:
        """Sign with another key from now on."""
        before, self.online, here = self.online, self._key(), (self.epoch, self.size)
        self._descend(succession.retired([before.kid], here), succession.rotated(self.online.public, here))
        self._close()

    def revoke(self, size: int) -> None:
        """Let the present key be invalid after the first events, and go on from there with another."""
        last = (identity.cursor(self._at(size))[0], size)
        before, self.online = self.online, self._key()
        start = (self.epoch + 1, size)
        self.open_epoch(
            size, succession.revoked(before.kid, last), succession.rotated(self.online.public, start)
        )
        self.stolen_at = None

    def _at(self, size: int) -> str:
        return f"{self.whose.epoch_of(size)}.{size}"

    def open_epoch(self, size: int, *changes: succession.Change) -> None:
        """Go on after the first events, so many of them; what was erased since is erased again."""
        self._descend(succession.opened(self.ranges[size], "opened"), *changes)
        self.epoch += 1
        self.dropped += self.lines[size:]
        self.lines, self.ranges = self.lines[:size], self.ranges[: size + 1]
        self.closes = {at: close for at, close in self.closes.items() if at <= size}
        self.latest = {entry.subject: entry for entry in self.lines}
        unsaid = [e for e in self.erasures if not self._says(e.entry)]
        self.erasures = [e for e in self.erasures if self._says(e.entry)]
        for erasure in unsaid:
            self._erase(erasure.entry.subject, erasure.leaves)
        self._close()

    def _says(self, entry: Entry) -> bool:
        return entry.seq <= self.size and self.lines[entry.seq - 1].leaf == entry.leaf

    def let_go(self, floor: int) -> None:
        """Have readers of what came before begin with the snapshot."""
        self.floor = max(floor, self.floor)

    # --- serving -----------------------------------------------------------------------------------------

    def answer(self, path: str, limit: int) -> tuple[int, bytes]:
        """Status and body for a path; a page has no more than `limit` events, as where they are long."""
        if path == "/descriptors":
            return OK, b"".join(msgspec.json.encode(d) + b"\n" for d in self.chain)
        if path == "/snapshot":
            return OK, self.snapshot()
        after = identity.cursor(path.partition("after=")[2].partition("&")[0])
        status = self._readable(after)
        return status, self.page(after[1], limit) if status == OK else b""

    def _readable(self, after: tuple[int, int]) -> int:
        epoch, seq = after
        if epoch > self.epoch or (epoch == self.epoch and seq > self.size):
            return CONFLICT
        if 0 < epoch < self.epoch and seq > (self.whose.last_of(epoch) or 0):
            return CONFLICT
        return GONE if seq < self.floor else OK

    def page(self, after: int, limit: int) -> bytes:
        """Events after a position, up to the last kept checkpoint within the limit where there is one."""
        within = [size for size in self.closes if after < size <= after + limit]
        until = max(within) if within else after + limit
        close = self.closes[until] if within else self.closes[self.size]
        lines = b"".join(entry.line() for entry in self.lines[after:until])
        return lines + msgspec.json.encode({"checkpoint": close}) + b"\n"

    def snapshot(self) -> bytes:
        """The latest event of every record, by a full checkpoint."""
        if not self.full:
            states = [(record, self.latest[record].leaf) for record in sorted(self.latest)]
            self._close(state_root=merkle.state_root(states).hex(), count=len(states))
        tree = self.ranges[-1]
        head = {
            "epoch": self.epoch,
            "size": tree.size,
            "log_root": merkle.root(tree).hex(),
            "descriptor": self.whose.hash,
            "peaks": [peak.hex() for peak in tree.peaks],
            "checkpoint": self.closes[self.size],
        }
        lines = (self.latest[record].line() for record in sorted(self.latest))
        return msgspec.json.encode(head) + b"\n" + b"".join(lines)


def record_id(node: str, chance: Random) -> str:
    """The id of a new record; ids of all nodes are of about one age."""
    return f"{node}:01900000-{chance.randrange(1 << 16):04x}-7000-8000-{chance.randrange(1 << 48):012x}"


def kid_of(name: str) -> str:
    """A short key name that no node has."""
    return sha256(name.encode()).hexdigest()[:16]


def subjects(entries: Sequence[Entry], kind: str) -> list[str]:
    """Records whose latest event, among these, is of a type."""
    return [entry.subject for entry in entries if entry.type == kind]
