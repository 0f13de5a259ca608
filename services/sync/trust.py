"""Whom a sync listens to: `trust.toml`, public as `/trust`."""

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from schemas.place import NodeId
from services.errors import Misconfigured
from services.follow_store import Source


class Trusted(Struct, frozen=True, forbid_unknown_fields=True):
    """A node that this sync listens to: its pinned id, where it is read, how, and what we call it."""

    node: NodeId
    url: Annotated[str, Meta(pattern=r"^https?://")]
    alias: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9\-]{0,62}$")]
    mode: Literal["follow", "muted"] = "follow"


class Trust(Struct, frozen=True, forbid_unknown_fields=True, rename={"nodes": "node"}):
    """The nodes that this sync listens to. `muted` ones are proven and kept, and not in the view."""

    nodes: tuple[Trusted, ...] = ()


def load(path: Path) -> Trust:
    """The file, checked; Misconfigured says where it is wrong."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text("utf-8")), Trust)
    except FileNotFoundError as error:
        raise Misconfigured("There is no trust file at {path}.", {"path": str(path)}) from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise Misconfigured("{path}: {why}", {"path": str(path), "why": str(error)}) from error
    for what in ("node", "alias"):
        values = [getattr(n, what) for n in found.nodes]
        if twice := {v for v in values if values.count(v) > 1}:
            raise Misconfigured("{path}: {value} is listed twice.", {"path": str(path), "value": min(twice)})
    return found


def sources(trust: Trust) -> list[Source]:
    """The logs to follow."""
    return [Source(node=n.node, url=n.url, alias=n.alias, mode=n.mode) for n in trust.nodes]
