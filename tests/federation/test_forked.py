"""Nodes that sign two logs: what they signed proves it, and only they stop."""

from collections.abc import Callable

import pytest

from services import follow, merkle, signing
from services.merkle import Range
from tests.conftest import Federation
from tests.federation.impostor import Impostor, ndjson
from tests.federation.test_hostile import Mischief, all_stand, federated, served
from tests.nodes import eventually


def root_of(i: Impostor, size: int) -> str:
    """The honest root over the first events."""
    leaves = (merkle.leaf(line["raw"].encode()) for line in i.lines[:size])
    return merkle.root(merkle.extended(Range(), leaves)).hex()


def answers_with(i: Impostor, said: Callable[[], dict[str, str]]) -> None:
    """Serve no events, and this checkpoint."""
    i.says("/feed", lambda: ndjson([{"checkpoint": said()}]))


def rewrites_the_past(i: Impostor) -> None:
    raw = i.lines[1]["raw"].replace("Lieu", "Mieu")
    i.lines[1] = i.signed(raw.encode(), signing.EVENT)


def forgets_its_last_event(i: Impostor) -> None:
    answers_with(i, lambda: i.checkpoint(size=2, log_root=root_of(i, 2)))


def counts_back(i: Impostor) -> None:
    i.say()
    i.n = 0
    answers_with(i, lambda: i.checkpoint(n=0))


def gives_a_number_twice(i: Impostor) -> None:
    number = i.n
    answers_with(i, lambda: i.checkpoint(n=number, at="2026-01-02T00:00:00Z"))


def grows_under_one_number(i: Impostor) -> None:
    number = i.n
    i.say()
    i.says("/feed", lambda: ndjson([*i.lines[3:], {"checkpoint": i.checkpoint(n=number)}]))


FORKED: dict[str, Mischief] = {
    mischief.__name__: mischief
    for mischief in (
        rewrites_the_past,
        forgets_its_last_event,
        counts_back,
        gives_a_number_twice,
        grows_under_one_number,
    )
}


async def asked_who(i: Impostor) -> bool:
    """Whether a follower has looked at the chain of descriptors twice."""
    return i.asked.count("/descriptors") >= 2


async def test_contradicting_signatures_stop_a_node_as_forked(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two roots of one size, two checkpoints of one number, fewer events than before: forked, where it stood."""
    monkeypatch.setattr(follow, "LONGEST_PAUSE", 1.0)
    async with served([Impostor(name) for name in FORKED]) as impostors:
        for impostor in impostors.values():
            for _ in range(3):
                impostor.say()
        honest, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, dict.fromkeys(FORKED, ("live", "1.3")))
        honestly = {name: list(i.lines) for name, i in impostors.items()}
        for name, mischief in FORKED.items():
            mischief(impostors[name])
        await all_stand(sync, impostors, dict.fromkeys(FORKED, ("forked", "1.3")))
        assert await sync.metric("maillage_follow_refused_total") >= len(FORKED)
        networks = await sync.networks()
        assert all("signed" in networks[i.node]["trouble"] for i in impostors.values())
        await sync.hears(honest.node)
        await sync.caught_up([honest], 30)
        for name, impostor in impostors.items():
            impostor.lines, impostor.n = honestly[name], 1000
            impostor.answers.clear()
            impostor.say()
            impostor.asked.clear()
        # What it signed it has signed: showing the old log again is not enough, an epoch at what was read is.
        for impostor in impostors.values():
            await eventually(lambda i=impostor: asked_who(i))
            # Nothing is read of a fork but who the node is.
            assert not [path for path in impostor.asked if path.startswith("/feed")]
        await all_stand(sync, impostors, dict.fromkeys(FORKED, ("forked", "1.3")))
        for impostor in impostors.values():
            impostor.open_epoch(3)
            impostor.say()
        await all_stand(sync, impostors, dict.fromkeys(FORKED, ("live", "2.4")))


async def test_a_sync_that_was_away_knows_what_was_signed(federation: Federation) -> None:
    """The highest checkpoint outlives the process: who signs another log meanwhile is forked at its next word."""
    async with served([Impostor(name) for name in FORKED]) as impostors:
        for impostor in impostors.values():
            for _ in range(3):
                impostor.say()
        _, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, dict.fromkeys(FORKED, ("live", "1.3")))
        await sync.stop()
        for name, mischief in FORKED.items():
            mischief(impostors[name])
        await sync.start()
        await all_stand(sync, impostors, dict.fromkeys(FORKED, ("forked", "1.3")))


async def test_an_old_copy_is_no_fork(federation: Federation) -> None:
    """A mirror that shows an earlier checkpoint of the same log harms nobody, and is no sign of life either."""
    async with served([Impostor("miroir")]) as impostors:
        mirror = impostors["miroir"]
        mirror.say()
        old = mirror.checkpoint()
        mirror.say()
        _, sync, _ = await federated(federation, impostors)
        await all_stand(sync, impostors, {"miroir": ("live", "1.2")})
        answers_with(mirror, lambda: old)
        await all_stand(sync, impostors, {"miroir": ("stale", "1.2")})
        assert await sync.metric("maillage_follow_refused_total") == 0
        mirror.answers.clear()
        mirror.say()
        await all_stand(sync, impostors, {"miroir": ("live", "1.3")})
