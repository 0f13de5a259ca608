"""One merge from heads to heads, and what operators see of it."""

import collections

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry, Counter, Gauge

from services import ledger_store
from services.follow_store import Node
from services.ledger import Pen
from services.postgres import Connection
from services.sync.policy import Adopted
from services.sync.records import owner


class Gauges:
    """What operators see of the merge."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.records = Counter("maillage_merge_records_total", "Records merged", registry=registry)
        self.changes = Counter(
            "maillage_merge_changes_total",
            "Places put into or removed from the view",
            ["verb"],
            registry=registry,
        )
        self.places = Gauge("maillage_merge_places", "Places in the view", registry=registry)


class Work(Struct):
    """One merge: where it writes, by which policy, whom it listens to, and what has come of it so far.

    `touched`: records whose places may be others. `why`: for records that claims are about, the events that
    said so; `changed`: records whose own latest event is the cause. `erasing`: events of our own log that show
    erased content, by the record they are of. `anew`: places are written whatever is stored of them; `rows`: also
    those that stay as they are, as the rows of the view may tell more than they did. `spoken`: words
    or areas are others now.
    """

    conn: Connection
    pen: Pen
    adopted: Adopted
    head: ledger_store.Head
    nodes: dict[str, Node]
    hidden: frozenset[str]
    gauges: Gauges
    changed: set[str] = msgspec.field(default_factory=set)
    touched: set[str] = msgspec.field(default_factory=set)
    why: dict[str, set[str]] = {}
    erasing: dict[str, list[bytes]] = {}
    anew: bool = False
    rows: bool = False
    spoken: bool = False
    dirty: set[int] = set()
    places: int = 0
    voices: collections.Counter[str] = msgspec.field(default_factory=collections.Counter)

    def counts(self, record: str) -> bool:
        """Whether a record is listened to: it is of a followed node, and nobody hides it."""
        return owner(record) in self.nodes and record not in self.hidden
