"""Root keys apart from the online key: who this node is, and by which keys it is known."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from schemas.node import Descriptor, Signed
from services import identity, keyring, proofs
from services.errors import Forked, Invalid, Untrue
from services.identity import Identity
from services.registry import __main__ as commands
from services.registry import keys
from tests.conftest import Federation
from tests.nodes import Registry


async def chain(registry: Registry) -> list[Signed]:
    """All descriptors that a registry serves."""
    body = await registry.get("/descriptors")
    return [msgspec.json.decode(line, type=Signed) for line in body.splitlines()]


async def known(registry: Registry) -> Identity:
    """Who a registry is, by the chain that it serves."""
    return identity.verified(await chain(registry))


async def log_of(registry: Registry) -> list[Any]:
    """The whole log, proven from its start by the chain and one checkpoint."""
    whose = await known(registry)
    body = await registry.get("/feed?after=0.0&limit=1000")
    events, _, _ = proofs.proven(proofs.page(body), proofs.Position(), whose)
    return events


async def offline(*words: str) -> str:
    """A command on a machine that has neither settings nor a database."""
    done = await asyncio.to_thread(CliRunner().invoke, commands.main, list(words), env={})
    assert done.exit_code == 0, done.output
    return done.output


async def test_a_rotation_in_the_middle_of_a_burst_rejects_nothing(registry: Registry) -> None:
    """While people write, the key is changed three times: every event is proven by the key of its position."""
    writing = [asyncio.create_task(registry.add()) for _ in range(40)]
    for _ in range(3):
        await registry.key("rotate")
        await registry.add()
    await asyncio.gather(*writing)
    events = await log_of(registry)
    assert len(events) == 43
    whose = await known(registry)
    assert len({event.kid for event in events}) > 1
    assert [key.end is None for key in whose.descriptor.signing_keys] == [False, False, False, True]
    assert whose.descriptor.version == 4


async def test_roots_elsewhere_sign_by_file(registry: Registry, tmp_path: Path) -> None:
    """A draft goes to the machine of the root key and back; what was written meanwhile stays valid."""
    draft = tmp_path / "draft.json"
    await registry.command("key", "rotate", "--draft", str(draft))
    refused = await registry.tried("key", "apply", str(draft))
    assert (refused.exit_code, "0 of the 1" in refused.output) == (2, True)
    await registry.add()
    await offline("key", "sign", str(draft), "--root-key", str(registry.root))
    said = await registry.command("key", "apply", str(draft))
    await registry.add()
    assert "In force" in said
    old, new = [event.kid for event in await log_of(registry)]
    assert old != new
    again = await registry.tried("key", "apply", str(draft))
    assert (again.exit_code, "draft it anew" in again.output) == (2, True)


async def test_two_of_three_roots(federation: Federation, tmp_path: Path) -> None:
    """With a threshold of two, one root key changes nothing, and any two of the three do."""
    registry = await federation.registry(start=False)
    settings = msgspec.structs.replace(
        registry.settings, database_url=await federation.database(), key_dir=str(tmp_path / "keys")
    )
    roots = [tmp_path / f"root-{n}.key" for n in range(3)]
    with pytest.raises(Invalid):
        await keys.founded(settings, roots, threshold=4)
    made = await keys.founded(settings, roots, threshold=2)
    registry.settings, registry.node = settings, made.node
    await registry.start()
    one = await registry.tried("key", "update", "--root-key", str(roots[0]))
    assert (one.exit_code, "1 of the 2" in one.output) == (2, True)
    await registry.command("key", "update", "--root-key", str(roots[2]), "--root-key", str(roots[0]))
    whose = await known(registry)
    assert (whose.descriptor.version, whose.descriptor.threshold) == (2, 2)
    twice = await registry.tried("key", "update", "--root-key", str(roots[1]), "--root-key", str(roots[1]))
    assert twice.exit_code == 2


async def test_a_revoked_key_ends_at_the_last_good_event(registry: Registry) -> None:
    """What came after it is cut off: places that were new are gone, changed ones are as they were."""
    kept = await registry.add(name="Avant", summary="un")
    gone = await registry.add(name="Après")
    await registry.change(kept["id"], summary="deux")
    kid = (await known(registry)).descriptor.signing_keys[0].kid
    await registry.key("revoke", kid, "--last-good", "1.1")
    place = await registry.get(f"/places/{kept['id']}")
    assert (place["place"]["summary"], place["cursor"]) == ("un", "1.1")
    assert (await registry.call("GET", f"/places/{gone['id']}"))[0] == 404
    status, problem, _ = await registry.call("GET", "/feed?after=1.3")
    assert (status, problem["type"]) == (409, "urn:maillage:problem:epoch-changed")
    assert [e["base"] and e["base"]["size"] for e in problem["epochs"]] == [None, 1]
    await registry.change(kept["id"], summary="trois")
    first, second = await log_of(registry)
    assert (first.cursor, second.cursor) == ("1.1", "2.2")
    assert second.kid != kid
    history = await registry.get(f"/places/{kept['id']}/history")
    assert [v["cursor"] for v in history["versions"]] == ["1.1", "2.2"]


async def test_a_cursor_of_an_old_epoch_is_good_up_to_its_end(registry: Registry) -> None:
    """One reads on over the border of an epoch as if there were none; beyond it one is told where it ended."""
    for _ in range(3):
        await registry.add()
    await registry.key("epoch", "--at", "2")
    await registry.add()
    for cursor, status in (
        ("1.1", 200),
        ("1.2", 200),
        ("1.3", 409),
        ("2.2", 200),
        ("2.3", 200),
        ("2.4", 409),
    ):
        assert (await registry.call("GET", f"/feed?after={cursor}"))[0] == status, cursor
    assert [event.cursor for event in await log_of(registry)] == ["1.1", "1.2", "2.3"]


async def test_the_recovery_sheet_is_the_root_key(registry: Registry, tmp_path: Path) -> None:
    """What is printed makes the key again when it is typed; a wrong letter is noticed."""
    sheet = await registry.command("key", "sheet", str(registry.root))
    root = keyring.load(registry.root)
    groups = [
        line.strip() for line in sheet.splitlines() if line.strip() in keyring.spelled(root) and line.strip()
    ]
    assert "FICHE DE SECOURS" in sheet
    assert registry.node in sheet
    typed = "\n".join(groups) + "\n"
    file = tmp_path / "again.key"
    words = ["key", "recover", "--root-key", str(file)]
    wrong = await asyncio.to_thread(
        CliRunner().invoke,
        commands.main,
        words,
        input=typed.replace(groups[0][0], "Z" if groups[0][0] != "Z" else "Y", 1),
    )
    assert (wrong.exit_code, file.exists()) == (2, False)
    done = await asyncio.to_thread(CliRunner().invoke, commands.main, words, input=typed.lower())
    assert done.exit_code == 0, done.output
    assert keyring.load(file).kid == root.kid


async def test_init_prints_the_recovery_sheet(federation: Federation, tmp_path: Path) -> None:
    """A new node prints what to lock away, once; a node that is made unattended prints no secret."""
    for quiet in (False, True):
        registry = await federation.registry(start=False)
        registry.settings = msgspec.structs.replace(
            registry.settings,
            database_url=await federation.database(),
            key_dir=str(tmp_path / f"keys-{quiet}"),
            contact="a@exemple.fr",
        )
        root = tmp_path / f"root-{quiet}.key"
        words = ["--no-sheet"] if quiet else []
        said = await registry.command("key", "init", "--root-key", str(root), *words)
        secret = keyring.spelled(keyring.load(root)).split()
        assert (secret[0] in said and secret[12] in said) is not quiet


async def test_what_a_node_says_of_itself_can_change(registry: Registry) -> None:
    """A new name and address are signed by the root key; the identity and the short name stay."""
    registry.settings = msgspec.structs.replace(
        registry.settings, name="Nouveau nom", url="https://neuf.exemple.fr"
    )
    await registry.key("update")
    served = msgspec.json.decode((await chain(registry))[-1].raw, type=Descriptor)
    assert (served.name, served.url, served.version) == ("Nouveau nom", "https://neuf.exemple.fr", 2)
    assert (await known(registry)).node == registry.node


async def test_an_older_chain_is_an_old_copy_and_another_one_a_fork(registry: Registry) -> None:
    """Nobody goes back to fewer descriptors; two of one version, both signed, prove that the node lies."""
    first = await chain(registry)
    await registry.key("rotate")
    second = await chain(registry)
    assert list(proofs.longer(second, first)) == second
    whose = identity.verified(first)
    other = identity.signed(
        msgspec.json.encode(
            msgspec.structs.replace(whose.descriptor, version=2, prev=whose.hash, name="Autre")
        ),
        [keyring.load(registry.root)],
    )
    with pytest.raises(Forked) as forked:
        proofs.longer(second, [*first, other])
    assert forked.value.extra["kind"] == "descriptor"
    with pytest.raises(Untrue):
        proofs.longer(second, [*first, msgspec.structs.replace(other, signatures=())])
