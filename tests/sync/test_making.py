"""The view made again from the stored events alone, looked at beside them, and tried under another policy."""

from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from services.sync import policy
from services.sync.policy import POLICY
from tests.conftest import Federation
from tests.nodes import Sync
from tests.sync.test_repair import FLIP, run, value

MOULIN = {
    "name": "Le Moulin de la Filature",
    "phone": "+33299000000",
    "website": "https://moulin-filature.example",
    "address": {"street": "3 rue du Moulin", "postcode": "35600", "city": "Redon"},
}


async def served(federation: Federation) -> tuple[Sync, list[Any]]:
    """A sync of two networks that have a place in common, without a word of theirs."""
    networks = [await federation.registry() for _ in range(2)]
    for number, network in enumerate(networks):
        await network.add(**MOULIN)
        await network.add(name=f"La Ruche numéro {number}")
    sync = await federation.sync(networks)
    assert (await sync.caught_up(networks))["count"] == 3
    return sync, networks


def without_joins(tmp_path: Path) -> Path:
    """A policy by which nothing is alike enough."""
    matching = replace(POLICY.matching, join=100_000, propose=99_000)
    file = tmp_path / "rien.json"
    file.write_bytes(policy.document(replace(POLICY, name="rien-1", matching=matching)))
    return file


async def test_a_rebuild_makes_the_same_view_and_no_event(federation: Federation) -> None:
    """From the stored events alone come the same places under the same root, whatever was noted; the log stays."""
    sync, networks = await served(federation)
    before, size = await sync.digest(), await value(sync, "SELECT size FROM ledger_head")
    await sync.stop()
    await run(sync, f"UPDATE view SET body = {FLIP.format('body')}, words = 'faux'")
    await run(sync, "DELETE FROM alike")
    await run(sync, "UPDATE profile SET body = '{}'")
    said = await sync.command("rebuild")
    assert before["view_root"] in said
    assert "4" in said
    await sync.start()
    assert await sync.caught_up(networks) == before
    assert await value(sync, "SELECT size FROM ledger_head") == size
    assert await value(sync, "SELECT count(*) FROM view WHERE words = 'faux'") == 0
    assert await value(sync, "SELECT count(*) FROM alike") > 0


async def test_an_audit_compares_and_replaces_nothing(federation: Federation) -> None:
    """A place that is not what the events make is told by its id, and left as it is."""
    sync, _ = await served(federation)
    assert (await sync.tried("audit")).exit_code == 0
    wrong = await value(sync, "SELECT id FROM view ORDER BY id LIMIT 1")
    await run(sync, f"UPDATE view SET body = {FLIP.format('body')} WHERE id = $1", wrong)
    flipped = await value(sync, "SELECT body FROM view WHERE id = $1", wrong)
    found: Any = await sync.tried("audit")
    assert found.exit_code == 1
    assert wrong in found.output
    assert await value(sync, "SELECT body FROM view WHERE id = $1", wrong) == flipped


async def test_another_policy_is_tried_without_a_trace(federation: Federation, tmp_path: Path) -> None:
    """What would part, join and move is told with names; the view stays what it is."""
    sync, networks = await served(federation)
    before = await sync.digest()
    said = await sync.command("policy", "try", str(without_joins(tmp_path)))
    assert "Places: 3 -> 4" in said
    assert "Pairs left open: 0 -> 0" in said
    assert "Parted: 1" in said
    assert "Joined: 0" in said
    assert str(MOULIN["name"]) in said
    assert await sync.caught_up(networks) == before


async def test_a_policy_is_shown_and_compared(federation: Federation, tmp_path: Path) -> None:
    """What is shown as JSON is the policy itself; a difference is told leaf by leaf."""
    sync = await federation.sync([])
    document = await sync.command("policy", "show", "--json")
    assert policy.policy_id(policy.load(document.encode())) == policy.policy_id()
    people = await sync.command("policy", "show")
    assert POLICY.name in people
    assert f"join {POLICY.matching.join}" in people
    same = tmp_path / "same.json"
    same.write_text(document)
    assert (await sync.tried("policy", "diff", str(same))).exit_code == 0
    other = await sync.tried("policy", "diff", str(without_joins(tmp_path)))
    assert other.exit_code == 1
    assert f"matching.join: {POLICY.matching.join} -> 100000" in other.output
    for broken in ("{}", "pas du JSON"):
        same.write_text(broken)
        refused = await sync.tried("policy", "try", str(same))
        assert refused.exit_code == 2
        assert str(same) in refused.output


async def test_two_policies_stand_side_by_side(federation: Federation, tmp_path: Path) -> None:
    """Another policy is openly another view: its id and its root say so, and `compare` names the reason."""
    sync, networks = await served(federation)
    other = await federation.sync(networks, policy=str(without_joins(tmp_path)))
    theirs = await other.caught_up(networks)
    mine = await sync.digest()
    assert (mine["count"], theirs["count"]) == (3, 4)
    assert mine["policy_id"] != theirs["policy_id"]
    assert (await other.get("/policy"))["name"] == "rien-1"
    async with other.client.get(f"{other.url}/policy") as reply:
        assert sha256(await reply.read()).hexdigest() == theirs["policy_id"]
    compared = await sync.tried("compare", "--here", sync.url, other.url)
    assert compared.exit_code == 1
    assert mine["policy_id"][:16] in compared.output
    assert theirs["policy_id"][:16] in compared.output
