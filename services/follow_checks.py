"""What the doctor says of a followed log, in plain words, and how it asks who answers at an address."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from schemas.node import Signed
from services import doctor, foreign, identity
from services.doctor import Finding, Patient, attention, broken
from services.errors import Args, Untrue
from services.follow_store import Node

# As far behind, or for as long, any node may be that has much to say.
BEHIND = 1000
BEHIND_FOR = timedelta(minutes=10)


def trouble(node: Node, now: datetime) -> Iterator[Finding]:
    """What is wrong with a followed log, in plain words; nothing where it is read as it should be."""
    args: Args = {
        "alias": node.alias,
        "url": node.url,
        "contact": node.contact or node.url,
        "since": doctor.since(node.heard_at) if node.heard_at else "-",
        "why": node.trouble or "-",
        "lag": node.told - node.size,
    }
    match node.state:
        case "stale" | "new" | "snapshotting" if node.heard_at is None:
            todo = "Look whether {url} answers; else write to {contact}."
            yield attention("{alias} has not been heard yet.", args, todo=todo)
        case "stale":
            todo = "Write to {contact}; what it said before is kept and shown."
            yield attention("{alias} has said nothing since {since}.", args, todo=todo)
        case "broken":
            todo = "Write to {contact}: its log does not prove. It stands where it stood, and is read again."
            yield attention("{alias} sends what does not prove: {why}", args, todo=todo)
        case "forked":
            todo = (
                "Call {contact}: a backup was restored, or a key is in two hands. It stands where it stood."
            )
            yield attention("{alias} signed two logs: {why}", args, todo=todo)
        case "lagging" if _long(node, now):
            todo = "Wait while it is read; where the number does not fall, write to {contact}."
            yield attention(
                "{alias} has {lag} events that were not read yet, last heard at {since}.", args, todo=todo
            )
    if node.opaque:
        args = {**args, "count": node.opaque}
        todo = "Install the newest version; in a sync, run then: python -m services.sync reproject"
        yield attention(
            "{count} events of {alias} are kept and cannot be read by this version.", args, todo=todo
        )


def _long(node: Node, now: datetime) -> bool:
    return node.told - node.size > BEHIND or node.heard_at is None or now - node.heard_at > BEHIND_FOR


async def at_address(at: Patient[Any], *, alias: str, url: str, node: str | None) -> Finding | None:
    """What is wrong with who answers at the address of a node; None where it is that node."""
    args: Args = {"alias": alias, "url": url, "node": node or "-"}
    try:
        status, body = await at.get(url.rstrip("/") + "/descriptors", 16 * doctor.MOST_ANSWER)
        if status != 200:
            raise ConnectionError(f"HTTP {status}")
        first = foreign.decoded(body.partition(b"\n")[0], Signed, 2 * identity.MAX_BYTES)
        found = identity.verified([first]).node
    except Untrue:
        todo = "Look what stands at this address, and put it right where you wrote it."
        return attention("At {url} answers something that is no node.", args, todo=todo)
    except ConnectionError as error:
        args = {**args, "reason": str(error)}
        todo = (
            "Look whether the address is right and the network lets us out; else wait: the node may be away."
        )
        return attention("{alias} does not answer at {url}: {reason}", args, todo=todo)
    if node is not None and found != node:
        args = {**args, "found": found}
        todo = "Ask its operator for the id by another way, then put the id or the address right."
        return broken("At {url} answers node {found}, and not {node}.", args, todo=todo)
    return None
