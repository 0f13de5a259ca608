"""What a change touches: as much as it must, and no more than the owners agreed to."""

import random
from collections.abc import Sequence
from typing import get_args

import pytest

from schemas.claim import Verdict
from services import postgres
from services.sync import alike_store, pairing, placing, store
from services.sync import app as sync_app
from services.sync.matching import Score
from services.sync.merge import POLICY, Said
from tests.conftest import Federation

A, B, C = (letter * 26 for letter in "abc")


def rid(node: str, n: int) -> str:
    """The id of a node's nth record."""
    return f"{node}:01900000-0000-7000-8000-{n:012x}"


def say(verdict: Verdict, a: str, b: str) -> Said:
    """A claim in the log of the owner of its first record."""
    return Said(a[:26], a, b, verdict)


async def touched(url: str, claims: Sequence[Said], start: str) -> set[str]:
    """What is computed anew with one record while these claims are in force."""
    async with postgres.pool(url, migrations=sync_app.SCRIPTS) as pool, pool.acquire() as conn:
        rows = [(rid(said.claimant, 900_000 + n), n, said) for n, said in enumerate(claims)]
        await store.set_claims(conn, rows)
        return await placing.closure(conn, {start}, POLICY)


@pytest.mark.parametrize("verdict", get_args(Verdict))
async def test_one_network_alone_makes_no_work_for_the_others(database_url: str, verdict: Verdict) -> None:
    """Whatever a network says of a place and thousands of its records, each change stays as small as it was."""
    mine = rid(A, 0)
    claims = [say(verdict, rid(B, n), mine) for n in range(5000)]
    assert await touched(database_url, claims, mine) == {mine}
    assert await touched(database_url, claims, rid(B, 0)) == {rid(B, 0)}


async def test_what_is_alike_is_computed_together(database_url: str) -> None:
    """What is alike enough to beat a join ties two records, what is less so where one owner says that they are one."""
    least, lifted = pairing.least(POLICY.matching), POLICY.matching.propose
    claims = [say("same", rid(A, n), rid(B, n)) for n in (3, 4)]
    points = {1: least, 2: least - 1, 3: min(lifted, least), 4: min(lifted, least) - 1}
    alike = {(rid(A, n), rid(B, n)): Score(much, ()) for n, much in points.items()}
    async with postgres.pool(database_url, migrations=sync_app.SCRIPTS) as pool, pool.acquire() as conn:
        await alike_store.save_alike(conn, alike)
    for (a, b), together in zip(alike, (True, False, True, False), strict=True):
        for start in (a, b):
            assert await touched(database_url, claims, start) == ({a, b} if together else {start})


async def test_what_all_owners_agree_to_is_computed_together(database_url: str) -> None:
    """Both owners of two records, and the one owner of both, tie them; who objects or is silent does not."""
    claims = [
        say("same", rid(A, 0), rid(B, 0)),
        say("same", rid(B, 0), rid(A, 0)),
        say("same", rid(B, 1), rid(B, 0)),
        say("same", rid(B, 1), rid(C, 0)),
        say("distinct", rid(C, 0), rid(B, 1)),
        say("distinct", rid(B, 2), rid(B, 0)),
    ]
    whole = {rid(A, 0), rid(B, 0), rid(B, 1)}
    for start in whole:
        assert await touched(database_url, claims, start) == whole


async def test_a_view_kept_in_step_is_the_view_from_scratch(federation: Federation) -> None:
    """After each of many random claims, changes and withdrawals, the view is what a late sync computes at once."""
    chance = random.Random(18)
    networks = [await federation.registry(heartbeat_s=1) for _ in range(3)]
    owner = {(await r.add())["id"]: r for r in networks for _ in range(3)}
    sync = await federation.sync(networks)
    claims: dict[str, str] = {}
    for step in range(40):
        a, b = chance.sample(list(owner), 2)
        what = chance.choices(("claim", "agree", "unsay", "change"), (5, 6, 3, 1))[0]
        if what == "claim":
            said = await owner[a].claim(a, b, chance.choice(("same", "distinct", "part-of")))
            claims[said["id"]] = a
        elif what == "agree":
            for x, y in ((a, b), (b, a)):
                claims[(await owner[x].claim(x, y))["id"]] = x
        elif what == "unsay" and claims:
            claim = chance.choice(list(claims))
            await owner[claims.pop(claim)].call("DELETE", f"/claims/{claim}", headers={"If-Match": "*"})
        elif what == "change":
            await owner[a].change(a, name=f"Lieu {step}")
        await sync.caught_up(networks)
        if step % 20 == 19:
            late = await federation.sync(networks)
            assert await late.caught_up(networks) == await sync.digest()
            await late.stop()
    assert 1 < (await sync.digest())["count"] < len(owner)
