"""`trust.toml`: whom this sync listens to, and the single records that its operator hides."""

import tomllib
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.place import NodeId, RecordId
from services.errors import Misconfigured
from services.follow_store import Source

Url = Annotated[str, Meta(pattern=r"^https?://", examples=["https://registre.exemple.fr"])]
Alias = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$(?!\n)", examples=["exemple"])]
HideReason = Literal["on-request", "legal", "wrong-person", "spam", "other"]


class Trusted(Struct, frozen=True, forbid_unknown_fields=True):
    """A node that this sync listens to: its pinned id, where it is read, how, and what we call it."""

    node: NodeId
    url: Url
    alias: Alias
    mode: Literal["follow", "muted"] = "follow"


class Hidden(Struct, frozen=True, forbid_unknown_fields=True):
    """A single record that is left out of the view, why, and since when."""

    record: RecordId
    reason: HideReason
    since: date | None = None


class Trust(Struct, frozen=True, forbid_unknown_fields=True, rename={"nodes": "node"}):
    """The nodes that this sync listens to, other syncs that watch them too, and the records it hides.

    `muted` nodes are proven and kept, and not in the view.
    """

    nodes: tuple[Trusted, ...] = ()
    witnesses: tuple[Url, ...] = ()
    hidden: tuple[Hidden, ...] = ()


class InForce:
    """The trust by which this process works, and why what the file says now is not it."""

    def __init__(self, now: Trust) -> None:
        self.now = now
        self.trouble: str | None = None


def load(path: Path) -> Trust:
    """The file, checked; Misconfigured says where it is wrong."""
    try:
        return read(path.read_bytes(), path)
    except FileNotFoundError as error:
        raise missing(path) from error


def missing(path: Path) -> Misconfigured:
    """What to say where there is no file."""
    return Misconfigured("There is no trust file at {path}.", {"path": str(path)})


def read(text: bytes, path: Path) -> Trust:
    """What a trust file says, checked; Misconfigured names the file and where it is wrong."""
    try:
        found = msgspec.convert(tomllib.loads(text.decode()), Trust)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Misconfigured("{path}: {why}", {"path": str(path), "why": str(error)}) from error
    _once(path, (n.node for n in found.nodes))
    _once(path, (n.alias for n in found.nodes))
    _once(path, (h.record for h in found.hidden))
    return found


def _once(path: Path, values: Iterable[str]) -> None:
    listed = list(values)
    if twice := {v for v in listed if listed.count(v) > 1}:
        raise Misconfigured("{path}: {value} is listed twice.", {"path": str(path), "value": min(twice)})


def sources(trust: Trust) -> list[Source]:
    """The logs to follow."""
    return [Source(node=n.node, url=n.url, alias=n.alias, mode=n.mode) for n in trust.nodes]
