"""Evidence is verified by whoever reads it, with nothing but what it holds."""

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from schemas.evidence import Evidence, Kind, Statement
from schemas.node import Signed
from services import evidence, identity, signing, succession
from services.errors import Untrue
from tests.federation.impostor import Impostor


def told(i: Impostor, kind: Kind, a: dict[str, Any], b: dict[str, Any]) -> Evidence:
    """Two statements of a node as evidence."""
    said = {"node": i.node, "kind": kind, "found_at": "2026-01-01T00:00:00.000Z"}
    return msgspec.convert({**said, "descriptors": i.chain, "a": a, "b": b}, Evidence)


def two_events(i: Impostor) -> Evidence:
    """Two events under one number."""
    a = i.signed(i.event(), signing.EVENT)
    b = i.signed(i.event(), signing.EVENT)
    return told(i, "event", a, b)


def two_descriptors(i: Impostor) -> Evidence:
    """Two second versions of a descriptor."""
    whose = identity.verified(i.chain)
    pair = [
        identity.signed(succession.successor(whose, created=f"2026-02-0{day}T00:00:00Z"), [i.root])
        for day in (1, 2)
    ]
    a, b = (msgspec.to_builtins(one) for one in pair)
    return told(i, "descriptor", a, b)


def proves(shown: Evidence) -> str:
    """What evidence proves; Untrue where it does not."""
    said = evidence.contradiction(shown)
    return said.what.format(**said.args)


def test_two_events_of_one_number_are_proof() -> None:
    """One id, two signed texts: in either order, as it was served."""
    shown = two_events(Impostor("double"))
    assert proves(shown) == "The node signed two events of the number 1.1."
    assert proves(replace(shown, a=shown.b, b=shown.a)) == proves(shown)
    assert proves(msgspec.json.decode(msgspec.json.encode(shown), type=Evidence)) == proves(shown)


def test_two_checkpoints_are_proof_by_number_size_and_order() -> None:
    """One number with two texts, one size with two roots, a higher number with fewer events."""
    i = Impostor("double")
    i.say()
    whole = i.checkpoint(n=5)
    again = i.checkpoint(n=5, at="2026-01-02T00:00:00Z")
    other = i.checkpoint(n=6, log_root="0" * 64)
    less = i.checkpoint(n=7, size=0)
    assert "two checkpoints of the number 5" in proves(told(i, "checkpoint", whole, again))
    assert "two logs of 1 events" in proves(told(i, "checkpoint", whole, other))
    assert "1 events by checkpoint 5, then 0 by checkpoint 7" in proves(told(i, "checkpoint", whole, less))


def test_two_descriptors_of_one_version_are_proof() -> None:
    """Two successors of one descriptor, both signed by its root keys."""
    assert proves(two_descriptors(Impostor("double"))) == "The node signed two descriptors of version 2."


def honest(i: Impostor) -> Evidence:
    i.say()
    first = i.checkpoint()
    i.say()
    return told(i, "checkpoint", first, i.checkpoint())


def one_event_twice(i: Impostor) -> Evidence:
    shown = two_events(i)
    return replace(shown, b=shown.a)


def events_of_two_numbers(i: Impostor) -> Evidence:
    return told(i, "event", i.say(), i.say())


def badly_signed(i: Impostor) -> Evidence:
    shown = two_events(i)
    return replace(shown, b=replace(shown.b, sig="A" * 86))


def unsigned(i: Impostor) -> Evidence:
    shown = two_events(i)
    return replace(shown, b=Statement(raw=shown.b.raw))


def by_a_key_of_its_own(i: Impostor) -> Evidence:
    shown = two_events(i)
    stranger = signing.signer(b"\1" * 32)
    sig = signing.text(stranger.sign(signing.EVENT, shown.b.raw.encode()))
    return replace(shown, b=Statement(raw=shown.b.raw, kid=stranger.kid, sig=sig))


def of_another_node(i: Impostor) -> Evidence:
    return replace(two_events(Impostor("autre")), node=i.node)


def of_two_nodes_with_one_key(i: Impostor) -> Evidence:
    other = Impostor("autre")
    other.online = i.online
    shown = two_events(i)
    b = other.signed(other.event(), signing.EVENT)
    return replace(shown, b=msgspec.convert(b, Statement))


def checkpoints_called_events(i: Impostor) -> Evidence:
    return replace(two_checkpoints_of_one_number(i), kind="event")


def two_checkpoints_of_one_number(i: Impostor) -> Evidence:
    return told(i, "checkpoint", i.checkpoint(n=1), i.checkpoint(n=1, at="2026-01-02T00:00:00Z"))


def of_two_epochs(i: Impostor) -> Evidence:
    base = i.tree()
    whose = identity.verified(i.chain)
    raw = succession.successor(whose, succession.opened(base, "restored"), created="2026-02-01T00:00:00Z")
    i.chain.append(identity.signed(raw, [i.root]))
    return told(i, "checkpoint", i.checkpoint(n=5, epoch=1), i.checkpoint(n=5, epoch=2))


def by_a_revoked_key(i: Impostor) -> Evidence:
    shown = two_events(i)
    whose = identity.verified(i.chain)
    changes = (succession.revoked(i.online.kid, (1, 0)), succession.opened(i.tree(), "revoked"))
    raw = succession.successor(whose, *changes, created="2026-02-01T00:00:00Z")
    return replace(shown, descriptors=(*i.chain, identity.signed(raw, [i.root])))


def descriptors_signed_by_nobody(i: Impostor) -> Evidence:
    shown = two_descriptors(i)
    return replace(shown, b=Statement(raw=shown.b.raw))


def no_descriptors(i: Impostor) -> Evidence:
    return replace(two_events(i), descriptors=())


NOTHING = (
    honest,
    one_event_twice,
    events_of_two_numbers,
    badly_signed,
    unsigned,
    by_a_key_of_its_own,
    of_another_node,
    of_two_nodes_with_one_key,
    checkpoints_called_events,
    of_two_epochs,
    by_a_revoked_key,
    descriptors_signed_by_nobody,
    no_descriptors,
)


@pytest.mark.parametrize("make", NOTHING, ids=lambda make: make.__name__)
def test_nobody_is_accused_by_what_proves_nothing(make: Any) -> None:
    """Old copies, strangers' signatures, other nodes, other epochs and revoked keys are no contradiction."""
    with pytest.raises(Untrue):
        evidence.contradiction(make(Impostor("juste")))


def test_the_tests_of_nothing_are_near_misses() -> None:
    """What the false evidence above is made from does prove."""
    assert proves(two_events(Impostor("double")))
    assert proves(two_checkpoints_of_one_number(Impostor("double")))
    assert all(isinstance(one, Signed) for one in two_descriptors(Impostor("double")).descriptors)
