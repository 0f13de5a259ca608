"""Who a node is: its descriptor, keys and epochs."""

from typing import Annotated

from msgspec import Meta, Struct

from schemas.place import NodeId

Hex256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$(?!\n)")]
Kid = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$(?!\n)")]
Base64Url = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]+$(?!\n)")]
Cursor = Annotated[str, Meta(pattern=r"^(0|[1-9][0-9]{0,9})\.(0|[1-9][0-9]{0,15})$(?!\n)", examples=["1.42"])]


class Signature(Struct, frozen=True):
    """A signature over the DSSE pre-authentication encoding of a payload."""

    kid: Kid
    sig: Base64Url


class Signed(Struct, frozen=True):
    """A descriptor as it is served: the JSON text that was signed, and by whom."""

    raw: str
    signatures: Annotated[tuple[Signature, ...], Meta(max_length=16)]


class Amqp(Struct, frozen=True):
    """Where the node's live messages are read, with an account that may do nothing else."""

    url: str
    exchange: str
    stream: str


class SigningKey(Struct, frozen=True, rename={"start": "from", "end": "to"}):
    """An online key and the range of log positions, both ends included, in which it is valid."""

    kid: Kid
    key: Base64Url
    start: Cursor
    end: Cursor | None


class Base(Struct, frozen=True):
    """The size and Merkle root at which an epoch continues the chain."""

    size: Annotated[int, Meta(ge=0)]
    root: Hex256


class Epoch(Struct, frozen=True):
    """A stretch of the log; a new one is opened after a restore, a lost head or a revoked key."""

    epoch: Annotated[int, Meta(ge=1)]
    base: Base | None
    reason: str


class Peer(Struct, frozen=True):
    """Another node that this one knows of."""

    node: NodeId
    url: str


class Descriptor(Struct, frozen=True):
    """What a node says of itself, signed by its root keys. The hash of version 1 is its identity."""

    v: int
    version: Annotated[int, Meta(ge=1)]
    prev: Hex256 | None
    created: str
    slug: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$(?!\n)")]
    name: Annotated[str, Meta(min_length=1, max_length=200)]
    license: str
    contact: str
    url: str
    amqp: Amqp | None
    root_keys: Annotated[tuple[Base64Url, ...], Meta(max_length=16)]
    threshold: Annotated[int, Meta(ge=1)]
    signing_keys: Annotated[tuple[SigningKey, ...], Meta(max_length=1000)]
    epochs: Annotated[tuple[Epoch, ...], Meta(max_length=1000)]
    heartbeat_s: Annotated[int, Meta(ge=1)]
    emits: Annotated[tuple[str, ...], Meta(max_length=1000)]
    peers: Annotated[tuple[Peer, ...], Meta(max_length=1000)]
