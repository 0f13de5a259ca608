"""The doctor of a sync: quiet on a healthy one; whom it follows and what it shows, in plain words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from demo.process import free_port
from services.doctor import Check
from services.sync import checks
from services.sync.__main__ import main
from tests.conftest import Federation
from tests.doctors import at_home, english, findings, settled, sql, visit
from tests.federation.impostor import Impostor
from tests.nodes import Registry, Service, Sync, eventually

NODES, VIEW = Check("nodes", checks.nodes), Check("view", checks.view)


async def healthy_sync(federation: Federation, followed: list[Registry], **settings: object) -> Sync:
    """A sync at its public address that has read all there is."""
    port = free_port()
    sync = await federation.sync(followed, start=False, url=f"http://127.0.0.1:{port}", **settings)
    await at_home(sync, port)
    return sync


@pytest.fixture
async def registry(federation: Federation) -> Registry:
    """A registry with places."""
    registry = await federation.registry()
    for _ in range(3):
        await registry.add()
    return registry


@pytest.fixture
async def sync(federation: Federation, registry: Registry) -> Sync:
    """A sync in good health."""
    sync = await healthy_sync(federation, [registry])
    await sync.caught_up([registry])
    return sync


@asynccontextmanager
async def following(federation: Federation, impostor: Impostor) -> AsyncIterator[Sync]:
    """A sync that follows a node which says what we like, and has read its three events."""
    for _ in range(3):
        impostor.say()
    async with impostor.serving():
        followed = Service(federation.client, lambda port: None)  # type: ignore[arg-type, return-value]
        followed.node, followed.port = impostor.node, int(impostor.url.rpartition(":")[2])
        sync = await healthy_sync(federation, [followed])  # type: ignore[list-item]
        await stands(sync, "live")
        yield sync
        await sync.stop()


async def stands(sync: Sync, state: str) -> None:
    """Wait until the one followed node is in this state."""

    async def there() -> bool:
        return next(iter((await sync.networks()).values()))["state"] == state

    await eventually(there, 60)


@pytest.mark.parametrize("words", [(), ("--deep",)])
async def test_a_healthy_sync_has_nothing_to_say(sync: Sync, words: tuple[str, ...]) -> None:
    """Each check says one line that all is well, and the exit code is 0; its online key is its root key."""
    seen = await visit(main, settled(sync), *words)
    assert seen.troubles == {}
    assert seen.code == 0
    assert [line.check for line in seen.report.findings] == ["settings", *(c.name for c in checks.CHECKS)]
    assert "The view has 3 places" in seen.told("view")


@pytest.mark.parametrize("text", [None, "[[node]\n", '[[node]]\nnode = "x"\n'])
async def test_a_trust_file_that_cannot_be_read(sync: Sync, text: str | None) -> None:
    """A file that is missing or wrong is broken, as the service would not start with it."""
    path = Path(sync.settings.trust)
    path.unlink()
    if text is not None:
        path.write_text(text)
    seen = await visit(main, settled(sync))
    assert seen.troubles["trust"] == "broken"
    assert str(path) in seen.told("trust")
    assert "pinned" in seen.told("skipped")


async def test_a_trust_file_that_names_nobody(sync: Sync) -> None:
    """A file that names nobody is in force within a moment, and needs attention."""
    Path(sync.settings.trust).write_text("")
    seen = await visit(main, settled(sync))
    assert seen.troubles == {"trust": "attention"}
    assert "names nobody" in seen.told("trust")


async def test_a_trust_file_that_the_service_does_not_read(
    sync: Sync, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the command reads another file than the service, that is told with the setting that says which."""
    monkeypatch.setattr(checks, "PAUSE", 0.01)
    other = tmp_path / "autre.toml"
    other.write_text("")
    seen = await visit(main, settled(sync, trust=str(other)))
    assert seen.troubles == {"trust": "attention", "in-force": "attention"}
    assert "MAILLAGE_SYNC_TRUST" in seen.told("in-force")


async def test_a_node_that_is_silent(federation: Federation) -> None:
    """After three heartbeats without a sign of life the doctor says since when, and whom to write to."""
    impostor = Impostor("silencieux", heartbeat_s=1, contact="a@exemple.fr")
    async with following(federation, impostor) as sync:
        impostor.says("/feed", b"", 503)
        impostor.says("/descriptors", b"", 503)
        await stands(sync, "stale")
        seen = await visit(main, settled(sync))
        assert seen.troubles == {"nodes": "attention", "pinned": "attention"}
        assert "reseau-0 has said nothing since 2" in seen.told("nodes")
        assert "Write to a@exemple.fr" in seen.told("nodes")
        assert seen.code == 1


async def test_a_node_that_lies_and_one_that_forks(federation: Federation) -> None:
    """What does not prove and what contradicts itself are told apart; the fork is evidence, if it was kept."""
    impostor = Impostor("menteur")
    async with following(federation, impostor) as sync:
        impostor.says("/feed", b'{"raw": "x"}\n')
        await stands(sync, "broken")
        found = (await findings(main, settled(sync), NODES))["nodes"]
        assert "reseau-0 sends what does not prove" in english(found)
        del impostor.answers["/feed"]
        impostor.lines[1] = impostor.signed(impostor.lines[1]["raw"].replace("Lieu", "Mieu").encode(), EVENT)
        await stands(sync, "forked")
        found = (await findings(main, settled(sync), NODES))["nodes"]
        assert "reseau-0 signed two logs" in english(found)
        assert [f.mark for f in found] == ["attention"]


EVENT = "application/vnd.maillage.event+json"


STANDING = {
    "state = 'new', heard_at = NULL": "reseau-0 has not been heard yet.",
    "state = 'lagging', told = size + 1001": "reseau-0 has 1001 events that were not read yet",
    "state = 'lagging', heard_at = now() - interval '11 minutes'": "reseau-0 has 0 events that were not read",
    "opaque = 4": "4 events of reseau-0 are kept and cannot be read by this version. → Install the newest",
}
HEALTH = "UPDATE follow_node SET state = 'live', told = size, heard_at = now(), opaque = 0"


async def test_how_a_followed_node_stands(sync: Sync) -> None:
    """Whatever is the matter with a followed node is said by the name that the operator gave it."""
    await sync.stop()
    for fault, said in STANDING.items():
        await sql(sync, f"UPDATE follow_node SET {fault}")
        found = (await findings(main, settled(sync), NODES))["nodes"]
        assert [f.mark for f in found] == ["attention"], fault
        assert said in english(found)
        await sql(sync, HEALTH)
        assert [f.mark for f in (await findings(main, settled(sync), NODES))["nodes"]] == ["ok"]


async def test_records_that_cannot_be_shown(sync: Sync) -> None:
    """Records of a followed node that are no places are counted, as its operator should hear of them."""
    await sql(sync, "INSERT INTO unread (record, why) SELECT node || ':x', 'x' FROM follow_node")
    found = (await findings(main, settled(sync), NODES))["nodes"]
    assert "1 records of reseau-0 cannot be shown. → Write to" in english(found)


async def test_a_node_that_catches_up_is_left_in_peace(sync: Sync) -> None:
    """A node that is a little behind since a moment ago is no news."""
    await sync.stop()
    await sql(sync, "UPDATE follow_node SET state = 'lagging', told = size + 1000, heard_at = now()")
    assert [f.mark for f in (await findings(main, settled(sync), NODES))["nodes"]] == ["ok"]


async def test_somebody_else_at_the_address_of_a_node(sync: Sync, registry: Registry) -> None:
    """The id is pinned: another node at its address is broken, something that is no node needs attention."""
    await registry.stop()
    other = Impostor("autre")
    path = Path(sync.settings.trust)
    async with other.serving():
        path.write_text(path.read_text().replace(registry.url, other.url))
        seen = await visit(main, settled(sync))
        assert seen.troubles["pinned"] == "broken"
        assert f"answers node {other.node}, and not {registry.node}" in seen.told("pinned")
        other.says("/descriptors", b"<html>\n")
        seen = await visit(main, settled(sync))
        assert seen.troubles["pinned"] == "attention"
        assert "something that is no node" in seen.told("pinned")
    assert "does not answer" in (await visit(main, settled(sync))).told("pinned")


async def test_a_node_that_sends_without_end_is_cut(sync: Sync, registry: Registry) -> None:
    """An answer that never ends holds up nobody and fills no memory."""
    await registry.stop()
    endless = Impostor("bavard")
    endless.says("/descriptors", b"x" * (20 * 1024 * 1024))
    path = Path(sync.settings.trust)
    async with endless.serving():
        path.write_text(path.read_text().replace(registry.url, endless.url))
        found = (await findings(main, settled(sync), Check("pinned", checks.pinned)))["pinned"]
    assert [f.mark for f in found] == ["attention"]


async def test_a_view_that_is_behind(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that does not reach what was followed is told with how much it lacks."""
    monkeypatch.setattr(checks, "PAUSE", 0.01)
    await sync.stop()
    await sql(sync, "UPDATE merged SET size = size - 2")
    merge = Check("merge", checks.merged)
    found = (await findings(main, settled(sync), merge))["merge"]
    assert english(found).startswith("The view lacks 2 events that were followed.")
    await sql(sync, "DELETE FROM merged")
    found = (await findings(main, settled(sync), merge))["merge"]
    assert english(found).startswith("The view lacks 3 events")


async def test_a_view_that_is_about_to_get_there_is_left_in_peace(sync: Sync, registry: Registry) -> None:
    """What was written a moment ago is merged while the doctor looks."""
    for _ in range(3):
        await registry.add()
        assert [
            f.mark for f in (await findings(main, settled(sync), Check("merge", checks.merged)))["merge"]
        ] == ["ok"]


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE view SET body = body || ' ' WHERE id = (SELECT min(id) FROM view)",
        "UPDATE view SET entry = sha256('x') || sha256('y') WHERE id = (SELECT min(id) FROM view)",
        "DELETE FROM view WHERE id = (SELECT min(id) FROM view)",
        "UPDATE bucket SET hash = sha256('x') WHERE bucket = (SELECT min(bucket) FROM view)",
    ],
)
async def test_places_that_are_not_what_their_hash_says(sync: Sync, fault: str) -> None:
    """With --deep every place of the view is hashed again; a single byte is seen."""
    await sync.stop()
    await sql(sync, fault)
    (found,) = (await findings(main, settled(sync), VIEW, deep=True))["view"]
    assert found.mark == "broken"
    assert "are not what its hash says" in found.what
    assert [f.mark for f in (await findings(main, settled(sync), VIEW))["view"]] == ["ok"]


async def test_a_view_by_the_rules_of_another_version(sync: Sync) -> None:
    """After an upgrade of the rules, a view that was not made again is told."""
    await sync.stop()
    await sql(sync, "UPDATE merge SET policy = repeat('0', 64)")
    (found,) = (await findings(main, settled(sync), VIEW))["view"]
    assert (found.mark, "another version" in found.what) == ("attention", True)


async def test_evidence_is_not_forgotten(sync: Sync) -> None:
    """A proof that a node signed two things stays on the list, with the command that shows it."""
    await sql(
        sync,
        """INSERT INTO follow_evidence (node, kind, found_at, a, b)
           SELECT node, 'checkpoint', now(), 'a', 'b' FROM follow_node""",
    )
    seen = await visit(main, settled(sync))
    assert seen.troubles == {"evidence": "attention"}
    assert "Proofs that reseau-0 signed two things: 1. → Save /evidence to a file" in seen.told("evidence")


async def test_a_sync_that_has_never_started(federation: Federation, registry: Registry) -> None:
    """Before its first start there are no tables, and the doctor says so without making any."""
    sync = await federation.sync([registry], start=False)
    sync.settings = replace(sync.settings, database_url=await federation.database())
    sync.port = free_port()
    seen = await visit(main, settled(sync))
    assert "never been here" in seen.told("migrations")
    assert "nodes" in seen.told("skipped")
    assert "pinned" not in seen.troubles
    assert await sql(sync, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


async def test_a_key_that_is_lost_has_no_other(sync: Sync) -> None:
    """A sync's online key is its only root: nothing but a backup brings it back, and no other command is named."""
    for file in Path(sync.settings.key_dir).glob("*.key"):
        file.unlink()
    seen = await visit(main, settled(sync))
    assert seen.troubles["keys"] == "broken"
    assert "Bring the folder of keys back from its backup." in seen.told("keys")
    assert "rotate" not in seen.told("keys")
