"""What the doctor looks at in a notify: the one log that it follows, and what it has to tell of it."""

import msgspec

from services import checks, follow_checks, follow_store
from services.doctor import Check, Findings, Patient, attention, broken, well
from services.errors import Args
from services.follow_store import Node
from services.notify import store
from services.notify.settings import Settings

FATAL = ("broken", "forked")


async def followed(at: Patient[Settings]) -> Findings:
    """The log is heard, and proves."""
    async with at.moment() as conn:
        nodes = await follow_store.nodes(conn)
    if not nodes:
        todo = "Look whether {url} answers; where it does, start the service."
        yield attention("Nothing is known yet of the log at {url}.", {"url": at.settings.follow}, todo=todo)
        return
    node = nodes[0]
    wanted = at.settings.follow_node
    if wanted is not None and wanted != node.node:
        todo = "Give a notify of {wanted} a database of its own, or put {variable} back."
        args = {"node": node.node, "wanted": wanted, "variable": at.prefix + "FOLLOW_NODE"}
        yield broken("This database holds the changes of node {node}.", args, todo=todo)
        return
    found = list(follow_checks.trouble(node, at.now()))
    for finding in found:
        # There is no other log here that would go on.
        yield msgspec.structs.replace(finding, mark="broken") if node.state in FATAL else finding
    if not found:
        yield well("The log of {name} is heard.", {"name": node.name or node.url})


async def address(at: Patient[Settings]) -> Findings:
    """At the address of the log answers its node."""
    async with at.moment() as conn:
        nodes = await follow_store.nodes(conn)
    url = at.settings.follow
    node = at.settings.follow_node or next((n.node for n in nodes), None)
    finding = await follow_checks.at_address(at, alias=url, url=url, node=node)
    yield finding or well("The followed node answers at {url}.", {"url": url})


async def changes(at: Patient[Settings]) -> Findings:
    """What the log said has become changes that subscribers are told, from some position on."""
    async with at.moment() as conn:
        nodes = await follow_store.nodes(conn)
        floor, any = await store.floor(conn), await store.has_changes(conn)
    node = nodes[0] if nodes else None
    args: Args
    if node is not None and node.size > 0 and not any:
        todo = "Look whether {url} is the address of a sync or a registry that has places."
        args = {"count": node.size, "url": node.url}
        yield attention("The log has {count} events, and not one became a change to tell.", args, todo=todo)
        return
    args = {"floor": f"{floor[0]}.{floor[1]}", "head": _head(node), "behind": _behind(node)}
    yield well("Changes are complete from {floor} to {head}; {behind} events are still to be read.", args)


def _head(node: Node | None) -> str:
    return f"{node.epoch}.{node.size}" if node else "0.0"


def _behind(node: Node | None) -> int:
    return max(0, node.told - node.size) if node else 0


CHECKS = (
    *checks.CHECKS,
    Check("followed", followed, ("migrations",)),
    Check("address", address, ("migrations",)),
    Check("changes", changes, ("migrations",)),
)
