"""What a sync saw of nodes is served to whoever compares, or has lost it."""

from pathlib import Path
from typing import Any

import msgspec

from schemas.event import SignedText
from schemas.node import Signed
from services import (
    identity,
    keyring,
    ledger,
    ledger_epochs,
    ledger_store,
    merkle,
    observed_store,
    proofs,
    succession,
)
from services.identity import Identity
from services.merkle import Range
from services.proofs import Position
from services.registry import app as registry_app
from services.registry import rebuilding
from services.sync import app as sync_app
from tests.conftest import Federation
from tests.nodes import Registry, Sync, eventually


async def seen(sync: Sync, node: str) -> Any:
    """What `/observed` says of a node."""
    return {o["node"]: o for o in (await sync.get("/observed"))["observed"]}.get(node)


async def met(sync: Sync, node: str) -> Identity:
    """Who the node is, by the descriptors that the sync serves."""
    lines = (await sync.get(f"/observed/{node}/descriptors")).splitlines()
    return identity.verified([msgspec.json.decode(line, type=Signed) for line in lines])


async def erased(registry: Registry, record: str, version: int) -> None:
    """Erase one version of a record."""
    async with registry_app.database(registry.settings) as pool, pool.acquire() as conn, conn.transaction():
        head = await ledger.locked(conn)
        (old,) = await ledger_store.at_versions(conn, [(record, version)])
        await ledger_epochs.erase(
            conn,
            head,
            record,
            [merkle.leaf(old.raw)],
            registry_app.pen_of(registry.settings),
            author="essai",
            routing="record.erase._",
        )


async def opened_at(registry: Registry, size: int) -> None:
    """Open a new epoch after this event."""
    root = keyring.load(Path(registry.settings.key_dir).parent / "root.key")
    pen, now = registry_app.pen_of(registry.settings), ledger.stamp(ledger.clock())
    async with registry_app.database(registry.settings) as pool, pool.acquire() as conn, conn.transaction():
        head, whose = await ledger.locked(conn), await ledger_epochs.whose(conn)
        base = await ledger_epochs.range_at(conn, head, size)
        raw = succession.successor(whose, succession.opened(base, "opened"), created=now)
        await ledger_epochs.adopt(conn, identity.signed(raw, [root]), pen, rebuilding.rewound)


async def test_a_followed_log_is_read_again_from_the_sync(federation: Federation) -> None:
    """Whoever reads a node's log at a sync proves it as at the node itself, erased events included."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    places = [await registry.add() for _ in range(5)]
    await registry.change(places[1]["id"], summary="Une autre phrase")
    await sync.caught_up([registry])
    await erased(registry, places[1]["id"], 1)
    await sync.caught_up([registry])
    whose = await met(sync, registry.node)
    assert whose.node == registry.node
    here, events = Position(), []
    for _ in range(20):
        body = await sync.get(f"/observed/{registry.node}/feed?after={here.cursor}&limit=3")
        found, here, close = proofs.proven(proofs.page(body), here, whose)
        events += found
        if not found:
            break
    assert [e.seq for e in events] == list(range(1, 9))
    assert [e.seq for e in events if e.erased] == [2]
    assert (close.size, here.tree.size) == (8, 8)
    both = [await node.get(path) for node, path in (
        (registry, "/feed?after=1.3"), (sync, f"/observed/{registry.node}/feed?after=1.3")
    )]  # fmt: skip
    assert both[0].splitlines()[:-1] == both[1].splitlines()[:-1]


async def test_the_highest_checkpoint_is_shown_and_those_before_it(federation: Federation) -> None:
    """`/observed` has the highest checkpoint of each node, `/observed/{node}` the kept ones in pages."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    for number in range(1, 5):
        await registry.add()
        await sync.caught_up([registry])

        async def heard(number: int = number) -> bool:
            return bool((one := await seen(sync, registry.node)) and one["size"] == number)

        await eventually(heard)
    whose = await met(sync, registry.node)
    highest = await seen(sync, registry.node)
    said = proofs.checkpoint(msgspec.convert(highest["checkpoint"], SignedText), whose)
    assert (said.epoch, said.size, said.n) == (highest["epoch"], highest["size"], highest["n"])
    kept: list[Any] = []
    after = "0.0"
    while page := (await sync.get(f"/observed/{registry.node}?after={after}&limit=2"))["checkpoints"]:
        assert len(page) <= 2
        kept += [proofs.checkpoint(msgspec.convert(one, SignedText), whose) for one in page]
        after = f"{kept[-1].epoch}.{kept[-1].n}"
    assert [c.n for c in kept] == sorted({c.n for c in kept})
    assert {c.size for c in kept} >= {1, 2, 3, 4}
    assert kept[-1].n >= said.n


async def test_what_is_not_held_is_told(federation: Federation) -> None:
    """A sync that began with a snapshot serves what came after it, and says from where on."""
    registry = await federation.registry()
    for _ in range(3):
        await registry.add()
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    await registry.add()
    await sync.caught_up([registry])
    path = f"/observed/{registry.node}/feed"
    status, problem, _ = await sync.call("GET", f"{path}?after=1.2")
    assert (status, problem["type"], problem["floor"]) == (410, "urn:maillage:problem:cursor-too-old", "1.3")
    assert len((await sync.get(f"{path}?after=1.3")).splitlines()) == 2
    status, problem, _ = await sync.call("GET", f"{path}?after=1.9")
    assert (status, problem["head"]) == (409, "1.4")
    status, problem, _ = await sync.call("GET", f"{path}?after=2.1")
    assert (status, problem["type"]) == (409, "urn:maillage:problem:cursor-in-future")
    assert (await sync.call("GET", f"{path}?after=x"))[0] == 400
    for unknown in ("", "/descriptors", "/feed"):
        assert (await sync.call("GET", f"/observed/{'a' * 26}{unknown}"))[0] == 404


async def test_a_reopened_log_is_served_in_its_present_chain(federation: Federation) -> None:
    """What an epoch cut off is not served, and who stands there is told so."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    for _ in range(4):
        await registry.add()
    await sync.caught_up([registry])
    await opened_at(registry, 2)
    await registry.add()

    async def rewound() -> bool:
        one = await seen(sync, registry.node)
        return bool(one and (one["epoch"], one["size"]) == (2, 3))

    await eventually(rewound)
    path = f"/observed/{registry.node}/feed"
    status, problem, _ = await sync.call("GET", f"{path}?after=1.4")
    assert (status, problem["type"]) == (409, "urn:maillage:problem:epoch-changed")
    assert [e["epoch"] for e in problem["epochs"]] == [1, 2]
    body = await sync.get(f"{path}?after=1.2")
    (line, _) = body.splitlines()
    assert msgspec.json.decode(msgspec.json.decode(line)["raw"])["id"] == f"2-{3:016d}"
    whose = await met(sync, registry.node)
    events, here, _ = proofs.proven(proofs.page(await sync.get(f"{path}?after=0.0")), Position(), whose)
    assert [e.cursor for e in events] == ["1.1", "1.2", "2.3"]
    assert here.tree == merkle.extended(Range(), [e.leaf for e in events])
    # Where the old log had a checkpoint and the present one has none, nothing of the old one closes a page.
    rows = "".join(f'{{"name":"Lieu {n}","status":"open","postcode":"35000"}}\n' for n in range(5))
    await registry.list_in(rows.encode(), media="application/x-ndjson", format="jsonl")

    async def read() -> bool:
        return bool((await sync.networks())[registry.node]["cursor"] == "2.8")

    await eventually(read)
    events, here, close = proofs.proven(
        proofs.page(await sync.get(f"{path}?after=2.3&limit=2")), here, await met(sync, registry.node)
    )
    assert (close.epoch, [e.cursor for e in events]) == (2, ["2.4", "2.5"])


async def test_old_checkpoints_are_thinned(federation: Federation) -> None:
    """The latest stay, before them one for so many events and the last of each epoch; of each node for itself."""
    sync = await federation.sync([])
    async with sync_app.database(sync.settings) as pool, pool.acquire() as conn:
        # Of each node forty checkpoints of twenty events in a first epoch, and ten in a second.
        kept = [(node, 1, n, n // 2) for node in ("a", "b") for n in range(1, 41)]
        kept += [(node, 2, n, 20 + n % 2) for node in ("a", "b") for n in range(41, 51)]
        for node, epoch, n, size in kept:
            await conn.execute(
                """INSERT INTO follow_checkpoint (node, epoch, n, size, log_root, signed)
                   VALUES ($1, $2, $3, $4, '', '{}')""",
                node,
                epoch,
                n,
                size,
            )
        gone = await observed_store.thin_checkpoints(conn, every=8, keep=5)
        assert await observed_store.thin_checkpoints(conn, every=8, keep=5) == 0
        rows = await conn.fetch("SELECT node, epoch, n FROM follow_checkpoint ORDER BY node, epoch, n")
    left = {node: [(r["epoch"], r["n"]) for r in rows if r["node"] == node] for node in ("a", "b")}
    assert left["a"] == [(1, 15), (1, 31), (1, 40), *((2, n) for n in range(46, 51))]
    assert left["b"] == left["a"]
    assert gone == 2 * (50 - 8)
