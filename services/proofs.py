"""What must be true of what a node sends before anything of it is believed. Pure."""

import re
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from schemas import event as events
from schemas.event import Checkpoint, Event, Line, SignedText, SnapshotHead
from schemas.node import Signed
from services import foreign, identity, merkle, signing, strict
from services.errors import Forked, Untrue
from services.identity import Identity
from services.merkle import Range

KNOWN = frozenset((*events.REGISTRY_EMITS, *events.SYNC_EMITS))
LARGEST = 2**53
LAST_EPOCH = 2**31 - 1
# Far more than any network has; what a snapshot costs follows the number of its records.
MOST_RECORDS = 5_000_000
MOST_CHECKPOINT = 16 * 1024
UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
# A record of a registry, or a place of a sync under its common id.
SUBJECT = re.compile(rf"[a-z2-7]{{26}}:(?:[a-z2-7]{{26}}:)?{UUID}")


class Followed(Struct, frozen=True):
    """An event of a node as it was proven. `opaque`: why this version cannot use it; where it cannot even read
    whose it is, `event` is None. Of an erased one there is only the leaf, and by what it was `erased`."""

    seq: int
    epoch: int
    raw: bytes
    kid: str
    sig: bytes
    leaf: bytes
    event: Event | None
    opaque: str | None = None
    erased: "Erased | None" = None

    @property
    def cursor(self) -> str:
        """Where the event stands in its log."""
        return f"{self.epoch}.{self.seq}"


class Erased(Struct, frozen=True):
    """By what an event was erased: its record, the leaf of the erase event, and where that stands in the chain.

    `seq` is None where an epoch has cut the erase event off.
    """

    record: str
    leaf: bytes
    seq: int | None


class Position(Struct, frozen=True):
    """How far a log is followed: the epoch, the Merkle range over all its leaves, the highest checkpoint."""

    epoch: int = 0
    tree: Range = Range()
    n: int = 0

    @property
    def cursor(self) -> str:
        """Where to go on."""
        return f"{self.epoch}.{self.tree.size}"


class Heard(Struct, frozen=True):
    """A checkpoint that was believed, as it was served and as it reads: no later one may contradict it."""

    signed: SignedText
    said: Checkpoint


class Page(Struct, frozen=True):
    """A page of a feed, taken apart and not yet believed."""

    lines: tuple[Line, ...]
    checkpoint: SignedText


def page(body: bytes) -> Page:
    """The lines of a feed page and the checkpoint that closes it."""
    said = body.split(b"\n", events.MAX_PAGE + 2)[:-1]
    if len(said) > events.MAX_PAGE + 1:
        raise Untrue("The page of the feed has more than {most} events.", {"most": events.MAX_PAGE})
    try:
        lines = msgspec.json.decode(b"[" + b",".join(said) + b"]", type=list[Line])
    except foreign.UNREADABLE as error:
        raise Untrue("The feed cannot be read: {why}", {"why": str(error)}) from error
    if not body.endswith(b"\n") or not lines or lines[-1].checkpoint is None:
        raise Untrue("The page of the feed is cut: it does not end with a checkpoint.")
    return Page(lines=tuple(lines[:-1]), checkpoint=lines[-1].checkpoint)


def said(signed: SignedText) -> Checkpoint:
    """What a checkpoint says, not yet believed."""
    return foreign.decoded(signed.raw, Checkpoint, MOST_CHECKPOINT)


def checkpoint(signed: SignedText, whose: Identity, known: Heard | None = None) -> Checkpoint:
    """A checkpoint of this node, by a key that is valid there; Forked where it contradicts the one known."""
    found = said(signed)
    if found.node != whose.node:
        raise Untrue("The checkpoint is one of node {node}.", {"node": found.node})
    numbers = (found.n, found.size, found.count or 0)
    if not (1 <= found.epoch <= LAST_EPOCH and all(0 <= number <= LARGEST for number in numbers)):
        raise Untrue("The checkpoint names a position that no log can have.")
    fits(signed, (found.epoch, found.size), signing.CHECKPOINT, whose)
    if found.epoch > whose.epoch:
        raise Untrue("No descriptor of the node opens epoch {epoch}.", {"epoch": found.epoch})
    if known is not None and known.said.epoch == found.epoch:
        _one_log(Heard(signed, found), known)
    return found


def longer(known: Sequence[Signed], served: Sequence[Signed]) -> Sequence[Signed]:
    """Of the chain that we have and the one that is served the longer; Forked where they part.

    A shorter one is an old copy: nobody goes back to it.
    """
    for version, (before, now) in enumerate(zip(known, served, strict=False), start=1):
        if before.raw != now.raw:
            # Whether the other one is signed as well decides who lies.
            identity.verified(served)
            raise Forked(
                "The node signed two descriptors of version {version}.",
                {"version": version},
                extra={"kind": "descriptor", "signed": [msgspec.to_builtins(one) for one in (before, now)]},
            )
    return served if len(served) > len(known) else known


def shows(kind: str, signed: Sequence[str], leaves: frozenset[bytes]) -> bool:
    """Whether evidence shows the bytes of an event with one of these leaves."""
    texts = [msgspec.json.decode(one, type=SignedText).raw for one in signed] if kind == "event" else []
    return any(merkle.leaf(text.encode()) in leaves for text in texts)


def _one_log(heard: Heard, known: Heard) -> None:
    """Forked where no one log can have had two checkpoints of one epoch."""
    now, before = heard.said, known.said
    both = {"kind": "checkpoint", "signed": [msgspec.to_builtins(one.signed) for one in (known, heard)]}
    if now.n == before.n and heard.signed.raw != known.signed.raw:
        raise Forked("The node signed two checkpoints of the number {n}.", {"n": now.n}, extra=both)
    if now.size == before.size and now.log_root != before.log_root:
        raise Forked("The node signed two logs of {size} events.", {"size": now.size}, extra=both)
    if (now.n - before.n) * (now.size - before.size) < 0:
        low, high = sorted((before, now), key=lambda one: one.n)
        raise Forked(
            "The node signed {before} events by checkpoint {low}, then {after} by checkpoint {high}.",
            {"before": low.size, "low": low.n, "after": high.size, "high": high.n},
            extra=both,
        )


def fits(signed: SignedText, position: tuple[int, int], payload_type: str, whose: Identity) -> None:
    """Untrue unless a key that is valid at this position signed this."""
    key = identity.key_at(whose, signed.kid, position)
    if not signing.verifies(key, payload_type, signed.raw.encode(), foreign.unpacked(signed.sig)):
        cursor = f"{position[0]}.{position[1]}"
        raise Untrue("The signature at {cursor} does not fit.", {"cursor": cursor})


def read(raw: bytes, kid: str, sig: bytes, *, position: tuple[int, int], whose: Identity) -> Followed:
    """An event that claims to stand at this position of this node's log; its signature is not looked at."""
    epoch, seq = position
    identity.key_at(whose, kid, position)
    leaf = merkle.leaf(raw)
    event, why = _event(raw)
    if event is not None:
        _placed(event, position, whose)
    return Followed(epoch=epoch, seq=seq, raw=raw, kid=kid, sig=sig, leaf=leaf, event=event, opaque=why)


def _event(raw: bytes) -> tuple[Event | None, str | None]:
    """The event in these bytes, and why this version cannot use it; what cannot be used has null data."""
    # Before anything else: what is read below costs no more than an event may.
    if len(raw) > events.MAX_VIEW_EVENT:
        return None, f"longer than {events.MAX_VIEW_EVENT} bytes"
    why = foreign.flaw(raw) or strict.ambiguity(raw)
    try:
        event = msgspec.json.decode(foreign.shallow(raw) if why else raw, type=Event)
    except foreign.UNREADABLE as error:
        return None, str(error)
    if "\0" in event.type:
        return None, why
    why = why or foreign.overlong(raw, event.type)
    if why is None and event.type not in KNOWN:
        why = "a type of events that this version does not know"
    return event, why


def _placed(event: Event, position: tuple[int, int], whose: Identity) -> None:
    """Untrue unless an event is the node's own and stands where it says."""
    own = event.source == f"urn:maillage:{whose.node}" and event.subject.startswith(whose.node + ":")
    if not own or not SUBJECT.fullmatch(event.subject):
        raise Untrue(
            "Event {id} is not the node's own: {subject}.", {"id": event.id, "subject": event.subject}
        )
    if event.recordversion > LARGEST:
        raise Untrue("Event {id} gives a version that no record can have.", {"id": event.id})
    epoch, seq = position
    if event.id != f"{epoch}-{seq:016d}" or event.epoch != epoch or int(event.sequence) != seq:
        raise Untrue("Event {id} stands at {cursor}.", {"id": event.id, "cursor": f"{epoch}.{seq}"})


def shown(one: Line, position: tuple[int, int], whose: Identity) -> Followed:
    """What a line of a feed holds at this position; the signature of an event is not looked at."""
    if one.redacted:
        return _redacted(one, position, whose)
    if one.raw is None or one.kid is None or one.sig is None:
        raise Untrue("A line of the feed holds no event.")
    return read(one.raw.encode(), one.kid, foreign.unpacked(one.sig), position=position, whose=whose)


def _redacted(line: Line, position: tuple[int, int], whose: Identity) -> Followed:
    """An event that shows its leaf only. Untrue unless an erase event of the node lists that leaf."""
    if line.by is None or line.leaf is None or line.seq != position[1]:
        raise Untrue("Event {seq} is hidden, and no erase event says why.", {"seq": position[1]})
    raw, leaf = line.by.raw.encode(), bytes.fromhex(line.leaf)
    event, _ = _event(raw)
    if event is None or event.type != events.RECORD_ERASE or leaf not in erased_leaves(event):
        raise Untrue("Event {seq} is hidden, and no erase event says why.", {"seq": position[1]})
    stood = (event.epoch, int(event.sequence))
    if stood <= position:
        raise Untrue("Event {seq} is hidden, and no erase event says why.", {"seq": position[1]})
    fits(line.by, stood, signing.EVENT, whose)
    _placed(event, stood, whose)
    there = stood[1] if whose.epoch_of(stood[1]) == stood[0] else None
    erased = Erased(record=event.subject, leaf=merkle.leaf(raw), seq=there)
    return Followed(
        epoch=position[0], seq=position[1], raw=b"", kid="", sig=b"", leaf=leaf, event=None, erased=erased
    )


def erased_leaves(event: Event) -> frozenset[bytes]:
    """The leaves that an erase event lists; none where it cannot be read."""
    try:
        listed = foreign.decoded(bytes(event.data), events.Erasure).leaves
    except Untrue:
        return frozenset()
    return frozenset(bytes.fromhex(leaf) for leaf in listed)


def proven(
    page: Page, here: Position, whose: Identity, known: Heard | None = None
) -> tuple[list[Followed], Position, Checkpoint]:
    """The events of a page, all or none: in order, unaltered, each at its place. Untrue otherwise.

    Where the page ends at its checkpoint, one signature and one Merkle root prove it; else each event's own.
    """
    close = checkpoint(page.checkpoint, whose, known)
    start = here.tree.size
    events = [
        shown(each, (whose.epoch_of(seq), seq), whose) for seq, each in enumerate(page.lines, start + 1)
    ]
    tree = _founded(here.tree, events, whose)
    if close.size == tree.size:
        agree(tree, close)
        epoch = close.epoch
    else:
        epoch = max(here.epoch, whose.epoch_of(tree.size))
        for each, event in zip(page.lines, events, strict=True):
            # Of an erased one the erase event is signed; where it stands, the next checkpoint proves.
            if event.erased is None:
                text = SignedText(raw=each.raw or "", kid=event.kid, sig=each.sig or "")
                fits(text, (event.epoch, event.seq), signing.EVENT, whose)
    n = max(here.n, close.n) if close.epoch == here.epoch else close.n
    return events, Position(epoch=epoch, tree=tree, n=n), close


def _founded(tree: Range, events: Sequence[Followed], whose: Identity) -> Range:
    """The range after these events; Forked where an epoch was founded on another log than this one."""
    done, start = 0, tree.size
    for base in sorted({identity.base_of(e) for e in whose.descriptor.epochs}):
        if start < base <= start + len(events):
            tree = merkle.extended(tree, (e.leaf for e in events[done : base - start]))
            done = base - start
            on_this_log(tree, whose)
    return merkle.extended(tree, (e.leaf for e in events[done:]))


def on_this_log(tree: Range, whose: Identity) -> None:
    """Forked where an epoch that begins at this size was founded on another log than the one we hold."""
    for epoch in whose.descriptor.epochs:
        base = epoch.base
        # An epoch that a later one has cut away says nothing of the present chain.
        if base is None or base.size != tree.size or whose.epoch_of(tree.size + 1) != epoch.epoch:
            continue
        if base.root != merkle.root(tree).hex():
            raise Forked(
                "The node signed that its epoch {epoch} goes on from another log of {size} events.",
                {"epoch": epoch.epoch, "size": base.size},
            )


def agree(tree: Range, close: Checkpoint) -> None:
    """Untrue unless the log that we hold is the one that the node signed."""
    if merkle.root(tree).hex() != close.log_root:
        raise Untrue("The log up to {size} is not the one that the node signed.", {"size": close.size})


def live(messages: Sequence[SignedText], here: Position, whose: Identity) -> tuple[list[Followed], Position]:
    """Single events that come next, each proven by its own signature."""
    events = []
    for seq, message in enumerate(messages, start=here.tree.size + 1):
        position = (whose.epoch_of(seq), seq)
        fits(message, position, signing.EVENT, whose)
        sig = foreign.unpacked(message.sig)
        events.append(read(message.raw.encode(), message.kid, sig, position=position, whose=whose))
    tree = merkle.extended(here.tree, (e.leaf for e in events))
    return events, Position(epoch=here.epoch, tree=tree, n=here.n)


def snapshot(head: SnapshotHead, whose: Identity) -> tuple[Position, Checkpoint]:
    """Where a snapshot stands, by its own full checkpoint."""
    close = checkpoint(head.checkpoint, whose)
    try:
        tree = Range(size=head.size, peaks=tuple(bytes.fromhex(p) for p in head.peaks))
    except ValueError as error:
        raise Untrue("The Merkle range of the snapshot cannot be read.") from error
    fits = merkle.sound(tree) and (close.epoch, close.size) == (head.epoch, head.size)
    if not fits or close.state_root is None or close.count is None:
        raise Untrue("The snapshot does not fit its checkpoint.")
    agree(tree, close)
    return Position(epoch=head.epoch, tree=tree, n=close.n), close


def snapshot_line(line: Line, head: Position, whose: Identity) -> Followed:
    """A line of a snapshot, at the position that its event names."""
    if line.raw is None:
        raise Untrue("A line of the snapshot holds no event.")
    event, why = _event(line.raw.encode())
    if event is None:
        raise Untrue("What the node sent cannot be read: {why}", {"why": why or ""})
    epoch, _, seq = event.id.partition("-")
    if not 0 < int(seq) <= head.tree.size or int(epoch) != whose.epoch_of(int(seq)):
        raise Untrue("The snapshot holds {id}, which is not in its log.", {"id": event.id})
    return shown(line, (int(epoch), int(seq)), whose)


class State:
    """The records of a snapshot as they come by: each once, in order, and in all what the node signed.

    None of them is kept, and no more are taken than the node signed for.
    """

    def __init__(self, close: Checkpoint) -> None:
        """Untrue at once where the checkpoint claims more than a log can hold, or we can."""
        self._close = close
        self._last = ""
        self._state = merkle.State()
        self.count = 0
        if (close.count or 0) > min(close.size, MOST_RECORDS):
            raise Untrue(
                "The snapshot claims {count} records, more than a log can have.", {"count": close.count or 0}
            )

    def add(self, events: Sequence[Followed]) -> None:
        """Take note of the next ones; Untrue when a record comes twice, or one more than was signed."""
        for event in events:
            record = event.event.subject if event.event else ""
            if record <= self._last or self.count == self._close.count:
                raise Untrue("The snapshot is not in order at {id}.", {"id": event.cursor})
            self._last = record
            self._state.add(record, event.leaf)
            self.count += 1

    def agree(self) -> None:
        """Untrue unless this is the state that the node signed."""
        if self.count != self._close.count or self._state.root().hex() != self._close.state_root:
            raise Untrue("The snapshot is not the state that the node signed.")


def next_version(event: Followed, known: int | None) -> None:
    """Untrue unless a record's version grows by one."""
    if event.event is not None and event.event.recordversion != (known or 0) + 1:
        raise Untrue(
            "{subject} is at version {known}; {id} gives it version {given}.",
            {
                "subject": event.event.subject,
                "known": known or 0,
                "id": event.event.id,
                "given": event.event.recordversion,
            },
        )
