"""Where to go on in a followed log when its node has opened an epoch on an older base."""

from collections.abc import Awaitable, Callable

from services import follow_store, merkle, proofs
from services.follow_store import Node
from services.identity import Identity
from services.merkle import Range
from services.postgres import Connection
from services.proofs import Position

# What a service does in the transaction that drops the events of a node after a size: `(connection, node, size)`.
Rewound = Callable[[Connection, str, int], Awaitable[None]]


async def nothing_rewound(conn: Connection, node: str, size: int) -> None:
    """For followers that keep nothing but events."""


async def rewind(conn: Connection, node: Node, whose: Identity, rewound: Rewound) -> Position:
    """Drop what later epochs of a node have cut off; the position to go on from, none where it cannot be found.

    Forked where the new epoch was founded on another log than the one that is held.
    """
    here = node.position
    last = whose.last_of(here.epoch)
    if last is None or here.epoch == 0 or here.tree.size < last:
        return here
    if last < node.start_size:
        await rewound(conn, node.node, 0)
        await follow_store.start_over(conn, node.node)
        return Position()
    tree = await range_at(conn, node, last)
    proofs.on_this_log(tree, whose)
    there = Position(epoch=whose.epoch_of(last + 1), tree=tree, n=here.n)
    await rewound(conn, node.node, last)
    await follow_store.rewind(conn, node.node, there)
    return there


async def range_at(conn: Connection, node: Node, size: int) -> Range:
    """The Merkle range over the first events of a node that we hold without a hole, so many of them."""
    leaves = await follow_store.leaves(conn, node.node, after=node.start_size, until=size)
    return merkle.extended(Range(node.start_size, node.start_peaks), leaves)
