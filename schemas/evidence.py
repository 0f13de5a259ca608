"""What proves to anybody that a node told two stories."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.event import SignedText
from schemas.node import Base64Url, Kid, Signature, Signed
from schemas.place import NodeId

Kind = Literal["event", "checkpoint", "descriptor"]


class Statement(Struct, frozen=True, omit_defaults=True):
    """A text as it was signed: an event or a checkpoint by one key (`kid`, `sig`), a descriptor by root keys."""

    raw: str
    kid: Kid | None = None
    sig: Base64Url | None = None
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=16)] = ()


class Evidence(Struct, frozen=True):
    """Two statements of one node that contradict each other, with its descriptors, oldest first: whose keys they
    are, and where each is valid. Nothing else is needed to verify it."""

    node: NodeId
    kind: Kind
    found_at: str
    descriptors: tuple[Signed, ...]
    a: Statement
    b: Statement


class AllEvidence(Struct, frozen=True):
    """All contradictions that a sync holds, oldest first."""

    evidence: tuple[Evidence, ...]


class Observation(Struct, frozen=True):
    """The highest checkpoint of a node that a sync believed."""

    node: NodeId
    epoch: int
    size: int
    n: int
    checkpoint: SignedText


class Observed(Struct, frozen=True):
    """The highest checkpoint of each node that a sync listens to."""

    observed: tuple[Observation, ...]


class ObservedCheckpoints(Struct, frozen=True):
    """Checkpoints of one node that a sync believed, oldest first."""

    checkpoints: tuple[SignedText, ...]
