"""Events, checkpoints, and the lines of a feed."""

from typing import Annotated, Literal

from msgspec import Meta, Raw, Struct

from schemas.node import Base64Url, Hex256, Kid
from schemas.place import RecordId

PLACE_PUT = "org.maillage.place.put.v1"
PLACE_WITHDRAW = "org.maillage.place.withdraw.v1"
CLAIM_PUT = "org.maillage.claim.put.v1"
CLAIM_WITHDRAW = "org.maillage.claim.withdraw.v1"
VOCABULARY_PUT = "org.maillage.vocabulary.put.v1"
AREA_PUT = "org.maillage.area.put.v1"
AREA_WITHDRAW = "org.maillage.area.withdraw.v1"
RECORD_ERASE = "org.maillage.record.erase.v1"
VIEW_PUT = "org.maillage.view.put.v1"
VIEW_REMOVE = "org.maillage.view.remove.v1"
VIEW_NOTICE = "org.maillage.view.notice.v1"

# What the versions of a place are.
OF_PLACES = (PLACE_PUT, PLACE_WITHDRAW, RECORD_ERASE)

REGISTRY_EMITS = (
    PLACE_PUT,
    PLACE_WITHDRAW,
    CLAIM_PUT,
    CLAIM_WITHDRAW,
    VOCABULARY_PUT,
    AREA_PUT,
    AREA_WITHDRAW,
    RECORD_ERASE,
)
SYNC_EMITS = (VIEW_PUT, VIEW_REMOVE, VIEW_NOTICE, RECORD_ERASE)

# How many bytes an event may have: of a registry, and of a view.
MAX_EVENT = 48 * 1024
MAX_VIEW_EVENT = 256 * 1024
# How many events a page of a feed may have.
MAX_PAGE = 1000

WithdrawReason = Literal["duplicate", "error", "left-network", "never-existed", "on-request", "other"]


class Event(Struct, frozen=True):
    """An event as its node wrote it: CloudEvents 1.0, JSON, structured mode. `data` stays raw."""

    specversion: str
    id: Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,9}-[0-9]{16}$(?!\n)")]
    source: Annotated[str, Meta(pattern=r"^urn:maillage:[a-z2-7]{26}$(?!\n)")]
    type: Annotated[str, Meta(max_length=200)]
    subject: Annotated[str, Meta(max_length=200)]
    time: Annotated[str, Meta(max_length=40)]
    datacontenttype: str
    sequence: Annotated[str, Meta(pattern=r"^[0-9]{1,16}$(?!\n)")]
    epoch: Annotated[int, Meta(ge=1)]
    recordversion: Annotated[int, Meta(ge=1)]
    salt: Base64Url
    data: Raw


class Withdrawal(Struct, frozen=True, omit_defaults=True):
    """Why a record was taken back, as a code, and the record that takes its place, if any."""

    reason: str = "other"
    successor: RecordId | None = None


class Erasure(Struct, frozen=True):
    """Data of `record.erase`: the leaves of earlier events of its record, whose bytes are to be forgotten."""

    leaves: tuple[Hex256, ...]


class Checkpoint(Struct, frozen=True):
    """A node's signed statement of its log: `n` goes up by one at every signature.

    `state_root` and `count` are null except in full checkpoints (once a second, heartbeats, snapshots).
    """

    v: int
    node: str
    n: int
    epoch: int
    size: int
    log_root: Hex256
    descriptor: Hex256
    state_root: Hex256 | None
    count: int | None
    at: str


class SignedText(Struct, frozen=True):
    """JSON text with the signature over it: a line of a feed, or a checkpoint."""

    raw: str
    kid: Kid
    sig: Base64Url


class Line(Struct, frozen=True, omit_defaults=True):
    """A line of a feed: an event (`raw`, `kid`, `sig`), an erased one (`redacted`), or the checkpoint."""

    raw: str | None = None
    kid: Kid | None = None
    sig: Base64Url | None = None
    redacted: bool = False
    seq: int | None = None
    leaf: Hex256 | None = None
    by: SignedText | None = None
    checkpoint: SignedText | None = None


class SnapshotHead(Struct, frozen=True):
    """The first line of a snapshot: the head, the Merkle range (peaks, left to right), a full checkpoint."""

    epoch: int
    size: int
    log_root: Hex256
    descriptor: Hex256
    peaks: tuple[Hex256, ...]
    checkpoint: SignedText
