"""A restored registry as syncs see it: with an epoch it is believed, without one it is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.conftest import Federation
from tests.federation.test_epochs import agree, stands
from tests.nodes import Registry, eventually
from tests.registry.archives import again, backed_up, elsewhere, feed
from tests.registry.test_commands import run, said


async def restored(federation: Federation, registry: Registry, file: Path, *options: str) -> Registry:
    """The registry as it was at a backup, at work again where it was."""
    await registry.stop()
    settings = await elsewhere(federation, registry)
    done = await run(settings, "restore", str(file), *options)
    assert done.exit_code == 0, said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    return twin


async def test_after_a_restore_every_sync_rewinds(federation: Federation, tmp_path: Path) -> None:
    """What was written after the backup leaves every view, and the log goes on in a new epoch."""
    registry = await federation.registry()
    place = await registry.add(name="Avant", summary="avant")
    early = await federation.sync([registry])
    await stands(early, registry.node, "1.1")
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.change(place["id"], summary="perdu")
    await registry.add(name="Perdu")
    await stands(early, registry.node, "1.3")
    twin = await restored(federation, registry, file, "--root-key", str(registry.root))
    await stands(early, registry.node, "2.1")
    assert (await early.get("/collections/places/items?q=perdu"))["numberMatched"] == 0
    await twin.change(place["id"], summary="après")
    await stands(early, registry.node, "2.2")
    fresh = await federation.sync([twin])
    await stands(fresh, registry.node, "2.2")
    assert (await agree(early, fresh))["count"] == 1


async def test_without_an_epoch_a_restored_log_is_caught(federation: Federation, tmp_path: Path) -> None:
    """Other bytes under a number that a sync has read: it keeps what it read, says so, and an epoch ends it."""
    registry = await federation.registry()
    await registry.add()
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.add(name="Première suite")
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.2")
    # The operator says that nothing was written since the backup, and is wrong.
    twin = await restored(federation, registry, file, "--same-epoch")
    await twin.add(name="Autre suite")
    await twin.add(name="Encore une")

    async def caught() -> Any:
        found = (await sync.networks())[registry.node]
        return found if found["state"] in ("broken", "forked") else None

    assert (await eventually(caught, 60))["cursor"] == "1.2"
    assert (await sync.get("/collections/places/items?q=premiere"))["numberMatched"] == 1
    await twin.key("epoch", "--at", "1")
    await stands(sync, registry.node, "2.1")
    await twin.add(name="Une seule suite")
    await stands(sync, registry.node, "2.2")
    assert (await sync.get("/collections/places/items?q=premiere"))["numberMatched"] == 0


async def test_nobody_notices_a_node_that_moves(federation: Federation, tmp_path: Path) -> None:
    """An exported node goes on elsewhere: for a sync it is the same log, event after event."""
    registry = await federation.registry()
    await registry.add()
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.1")
    file = tmp_path / "node.gz"
    await registry.command("export-node", str(file))
    settings = await elsewhere(federation, registry, key_dir=str(tmp_path / "there"))
    assert (await run(settings, "import-node", str(file))).exit_code == 0
    before = await feed(registry)
    await registry.stop()
    twin = again(federation, registry, settings)
    await twin.start()
    await twin.add()
    await stands(sync, registry.node, "1.2")
    assert (await feed(twin))[:1] == before
    assert (await sync.networks())[registry.node]["trouble"] is None


async def test_a_sync_gives_back_what_was_lost(federation: Federation, tmp_path: Path) -> None:
    """A registry restored beside a sync that follows it loses nothing, and nobody rewinds."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    await stands(sync, registry.node, "1.0")
    place = await registry.add(name="Avant", summary="avant")
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.change(place["id"], summary="après")
    gone = await registry.add(name="Effacé")
    await registry.command("erase", gone["id"], "--yes")
    await registry.add(name="Dernier")
    await stands(sync, registry.node, "1.5")
    before = await feed(registry)
    await registry.stop()
    settings = await elsewhere(federation, registry, witnesses=(sync.url,))
    done = await run(settings, "restore", str(file))
    assert "same epoch" in said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    assert await feed(twin) == before
    await twin.add(name="Après")
    await stands(sync, registry.node, "1.6")
    assert (await sync.networks())[registry.node]["trouble"] is None


async def test_a_sync_tells_of_a_key_and_an_epoch(federation: Federation, tmp_path: Path) -> None:
    """What the root key said after the backup comes back with the events, so that no descriptor is said twice."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    # It must have begun before what is lost: nobody gives back what she never read.
    await stands(sync, registry.node, "1.0")
    for _ in range(3):
        await registry.add()
    await stands(sync, registry.node, "1.3")
    file = await backed_up(registry, tmp_path / "node.gz")
    await registry.key("rotate")
    await registry.key("epoch", "--at", "2")
    await registry.add(name="Seconde époque")
    await stands(sync, registry.node, "2.3")
    before, chain = await feed(registry), await registry.get("/descriptors")
    await registry.stop()
    settings = await elsewhere(federation, registry, witnesses=(sync.url,))
    done = await run(settings, "restore", str(file))
    assert "same epoch" in said(done)
    twin = again(federation, registry, settings)
    await twin.start()
    assert (await feed(twin), await twin.get("/descriptors")) == (before, chain)
    await twin.add()
    await stands(sync, registry.node, "2.4")
