"""Whom a sync listens to changes while it runs, all at once, by hand or by command."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from services.sync import app as sync_app
from services.sync import following
from tests.conftest import Federation
from tests.nodes import Sync, eventually
from tests.sync.trusting import command, hidden, in_force, stands, table, write


async def test_nodes_come_and_go_while_the_sync_runs(federation: Federation) -> None:
    """Added, muted, let in again, left: the view is each time what a sync that always listened so computes."""
    here, there = await federation.registry(), await federation.registry()
    await here.add(), await there.add(), await there.add()
    sync = await federation.sync([here])
    first = await sync.caught_up([here])
    write(sync, table(here, "ici"), table(there, "la"))
    both = await stands(sync, [here.node, there.node], 3)
    assert (
        both["view_root"]
        == (await (await federation.sync([there, here])).caught_up([here, there]))["view_root"]
    )
    known = await sync.networks()
    assert (known[here.node]["alias"], known[there.node]["state"]) == ("ici", "live")
    write(sync, table(here, "ici"), table(there, "la", "muted"))
    assert (await stands(sync, [here.node], 1))["view_root"] == first["view_root"]
    await there.add()

    async def kept() -> bool:
        return bool((await sync.networks())[there.node]["cursor"] == "1.3")

    await eventually(kept)
    write(sync, table(here, "ici"), table(there, "la"))
    await stands(sync, [here.node, there.node], 4)
    write(sync, table(there, "la"))
    await stands(sync, [there.node], 3)
    assert here.node not in await sync.networks()
    assert [n["alias"] for n in (await sync.get("/trust"))["node"]] == ["la"]


async def test_a_node_that_was_left_is_read_no_longer(federation: Federation) -> None:
    """Nothing that a node says after it was left is asked for; when it is heard again, it is read to its end."""
    here = await federation.registry()
    await here.add()
    sync = await federation.sync([here])
    await sync.caught_up([here])
    write(sync)
    await stands(sync, [], 0)

    async def asked() -> float:
        return await here.metric("maillage_http_requests_total", route="/feed")

    async def quiet() -> bool:
        return len({await asked() for _ in range(20)}) == 1

    # Whoever waits for news is answered with the first, and would have asked again by the second.
    await here.add()
    await eventually(quiet)
    before = await asked()
    await here.add()
    assert await quiet()
    assert await asked() == before
    write(sync, table(here, "encore"))
    await stands(sync, [here.node], 3)
    assert await asked() > before


async def test_a_node_that_moved_is_read_where_it_is(federation: Federation) -> None:
    """Another address in the file is where the node is read from then on, from where it was."""
    here = await federation.registry()
    await here.add()
    sync = await federation.sync([])
    write(sync, table(here, "ici", url="http://127.0.0.1:9/"))
    await in_force(sync, node=1)
    assert (await sync.networks())[here.node]["state"] == "new"
    write(sync, table(here, "la-bas"))
    await stands(sync, [here.node], 1)
    known = (await sync.networks())[here.node]
    assert (known["alias"], known["url"]) == ("la-bas", here.url)


async def test_a_file_that_is_not_valid_changes_nothing(federation: Federation) -> None:
    """A mistake in the file is said once in the log and shown until it is mended; what was in force goes on."""
    here = await federation.registry()
    await here.add()
    sync = await federation.sync([here])
    await sync.caught_up([here])
    assert (await sync.get("/readyz"))["trust"] == "in force"
    with capture_logs() as logged:
        write(sync, table(here, "ici"), table(here, "encore"))

        async def refused() -> bool:
            return bool("is listed twice" in (await sync.get("/readyz"))["trust"])

        await eventually(refused)
        Path(sync.settings.trust).unlink()

        async def missing() -> bool:
            return bool("no trust file" in (await sync.get("/readyz"))["trust"])

        await eventually(missing)
        await here.add()
        assert (await sync.caught_up([here]))["count"] == 2
        said = [line["detail"] for line in logged if line["event"] == "trust refused"]
        assert len(said) == 2
        assert str(Path(sync.settings.trust).parent) not in "".join(said)
        write(sync, table(here, "ici"))

        async def mended() -> bool:
            return bool((await sync.get("/readyz"))["trust"] == "in force")

        await eventually(mended)

        async def told() -> bool:
            return [line["nodes"] for line in logged if line["event"] == "trust changed"] == [1]

        await eventually(told)
    assert (await sync.networks())[here.node]["alias"] == "ici"


async def test_a_half_written_file_is_not_believed(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the file says for a moment, while an editor writes it, takes no node away."""
    here = await federation.registry()
    sync = await federation.sync([here], start=False)
    whole = Path(sync.settings.trust).read_bytes()
    looks: Iterator[bytes] = iter([whole, whole, b"", whole, b"", whole, whole, whole])
    seen: list[bytes] = []

    def text(path: Path) -> bytes | None:
        seen.append(next(looks, whole))
        return seen[-1]

    monkeypatch.setattr(following, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(following, "_text", text)
    with capture_logs() as logged:
        await sync.start()

        async def looked() -> bool:
            return len(seen) > 8

        await eventually(looked)
    assert seen.count(b"") == 2
    assert [line for line in logged if line["event"].startswith("trust ")] == []
    assert here.node in await sync.networks()


async def test_the_operator_listens_by_command(federation: Federation) -> None:
    """Follow, mute, let in, leave: each says what it changed, a running sync does it, and remarks stay."""
    here = await federation.registry(slug="ici", name="Réseau d'ici")
    await here.add()
    sync = await federation.sync([])
    Path(sync.settings.trust).write_text("# Ask Anne.\n")
    Path(sync.settings.trust).chmod(0o640)
    code, said = await command(sync, "follow", here.url + "/")
    assert code == 0, said
    assert said.splitlines() == [
        f"Réseau d'ici (ici): node {here.node}",
        f"ici ({here.node}, follow, read at {here.url}) is new in the trust file.",
    ]
    await stands(sync, [here.node], 1)
    assert await command(sync, "mute", "ici") == (0, "ici is muted.\n")
    await stands(sync, [], 0)
    assert await command(sync, "unmute", here.node) == (0, "ici is no longer muted.\n")
    await stands(sync, [here.node], 1)
    code, _ = await command(sync, "leave", "ici")
    await stands(sync, [], 0)
    file = Path(sync.settings.trust)
    assert file.read_text().startswith("# Ask Anne.\n")
    assert file.stat().st_mode & 0o777 == 0o640
    assert [each.name for each in file.parent.iterdir() if "trust" in each.name] == ["trust.toml"]


async def test_commands_that_cannot_be_done_say_why(federation: Federation) -> None:
    """A wrong node, a taken name, nobody there, a file that is wrong: one clear line, and the file is as it was."""
    here, there = await federation.registry(slug="ici"), await federation.registry(slug="ici")
    sync = await federation.sync([here])
    file = Path(sync.settings.trust)
    before = file.read_bytes()
    for words, expected in (
        (("follow", there.url, "--node", here.node), f"answers node {there.node}, not {here.node}"),
        (("follow", there.url, "--alias", "reseau-0"), "choose another name with --alias"),
        (("follow", "http://127.0.0.1:9"), "Nobody answers at http://127.0.0.1:9: "),
        (("follow", "registre.example"), "A web address of a node is expected"),
        (("follow", sync.url + "/feed"), "It answers with status 404"),
        (("mute", "personne"), "There are: reseau-0"),
        (("hide", "42", "--reason", "legal"), "'42' is no record"),
        (("hide", f"{here.node}:{'0' * 8}-0000-7000-8000-{'0' * 12}", "--reason", "because"), "on-request"),
        (("answer", there.node, "--refuse", "spam"), "has not asked to be heard"),
    ):
        code, said = await command(sync, *words)
        assert (code, expected in said) == (2, True), (words, code, said)
        assert "Traceback" not in said
    assert file.read_bytes() == before
    file.write_text("[[node]\n")
    code, said = await command(sync, "mute", "reseau-0")
    assert (code, str(file) in said) == (2, True)
    assert file.read_text() == "[[node]\n"


async def test_a_node_that_forked_is_accepted_by_its_operator(federation: Federation) -> None:
    """Following a forked node again makes it a new one, of which nothing is held against it; no other node is."""
    here = await federation.registry()
    await here.add()
    sync = await federation.sync([here])
    await sync.caught_up([here])
    await sync.stop()
    code, said = await command(sync, "follow", here.url)
    assert (code, "forked" in said) == (0, False)
    connection = await asyncpg.connect(sync.settings.database_url)

    async def row() -> Any:
        return tuple(
            await connection.fetchrow("SELECT state, epoch, size, n, highest, trouble FROM follow_node")
        )

    try:
        assert (await row())[1:3] == (1, 1)
        await connection.execute("UPDATE follow_node SET state = 'forked', trouble = 'two roots'")
        code, said = await command(sync, "follow", here.url)
        assert (code, "read anew" in said, "already" in said) == (0, True, True)
        assert await row() == ("new", 0, 0, 0, None, None)
    finally:
        await connection.close()
    await sync.start()

    async def live() -> bool:
        return bool((await sync.networks())[here.node]["state"] == "live")

    await eventually(live)
    await here.add()
    assert (await sync.caught_up([here]))["count"] == 2


async def test_the_file_is_public(federation: Federation) -> None:
    """Nodes, witnesses and hidden records are there for everybody."""
    here = await federation.registry()
    record = (await here.add())["id"]
    sync = await federation.sync([])
    write(sync, 'witnesses = ["https://autre.example"]', table(here, "ici"), hidden(record, "legal"))
    trust = await in_force(sync, node=1)
    assert trust["witnesses"] == ["https://autre.example"]
    assert trust["hidden"] == [{"record": record, "reason": "legal", "since": "2026-05-03"}]


async def spare_of(federation: Federation, sync: Sync) -> Sync:
    """Another process of the same sync."""
    spare = Sync(sync.client, lambda port: sync_app.serving(replace(sync.settings, port=port)))
    spare.settings = sync.settings
    federation.services.append(spare)
    await spare.start()
    return spare


async def test_processes_of_one_sync_change_together(federation: Federation) -> None:
    """Two processes that read one file do what it says, whichever follows the nodes, and end in the same view."""
    here, there = await federation.registry(), await federation.registry()
    await here.add(), await there.add()
    sync = await federation.sync([here])
    spare = await spare_of(federation, sync)
    for number in range(6):
        gone = number % 2 == 1
        write(sync, table(here, "ici"), *([] if gone else [table(there, f"la-{number}")]))
        wanted = [here.node] if gone else [here.node, there.node]
        for process in (sync, spare):
            await in_force(process, node=len(wanted))
        await stands(spare, wanted, len(wanted))
    await spare.stop()
    await there.add()
    write(sync, table(here, "ici"), table(there, "la"))
    await stands(sync, [here.node, there.node], 3)
