"""The test vectors: the files are what is generated, what our code does, and what an independent reader does."""

import ast
import json
import sys
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from schemas.event import Line, SignedText, SnapshotHead
from schemas.node import Descriptor, Signed
from services import identity, ledger, merkle, proofs, signing
from services.errors import Failure, Forked, Untrue
from services.identity import Identity
from services.ledger_store import Head
from services.merkle import Range
from services.problems import STATUS
from services.proofs import Heard, Position
from services.sync import digest
from tests import reader, vectors
from tests.reader import Refused

Json = dict[str, Any]


def load(name: str) -> Json:
    """A file of vectors, as anybody reads it."""
    found: Json = json.loads((vectors.FOLDER / f"{name}.json").read_text("utf-8"))
    return found


CHAINS, EVENTS, TREES, STATES = load("descriptors"), load("events"), load("merkle"), load("state")
CHECKPOINTS, DIGESTS, PAGES = load("checkpoints"), load("digests"), load("pages")


def named(cases: list[Json]) -> Any:
    """Cases, each a test of its own under its name."""
    return pytest.mark.parametrize("case", cases, ids=[case.get("name", case.get("from")) for case in cases])


def owner(chain: list[Json]) -> Identity:
    """The identity behind a chain, by our code."""
    return identity.verified(msgspec.convert(chain, list[Signed]))


def test_the_files_are_those_of_the_generator() -> None:
    """No vector has drifted from what is generated, and none is left over."""
    assert vectors.drifted() == []


def test_drift_is_noticed(tmp_path: Path) -> None:
    """A changed, a missing and a left-over file are each named."""
    for file in vectors.FOLDER.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "merkle.json").write_text("{}")
    (tmp_path / "state.json").unlink()
    (tmp_path / "rien.json").write_text("{}")
    assert vectors.drifted(tmp_path) == ["merkle.json", "rien.json", "state.json"]


def test_the_reader_is_independent() -> None:
    """The reader imports the standard library and a signature library, and nothing of ours."""
    found = set()
    for node in ast.walk(ast.parse(Path(reader.__file__).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    assert found - sys.stdlib_module_names == {"nacl"}


# Descriptors


@named(CHAINS["valid"])
def test_a_chain_that_holds(case: Json) -> None:
    """Both readers find the same node, the same hashes, and the key that may sign at a position."""
    ours, theirs = owner(case["chain"]), reader.Node(case["chain"], case["node"])
    assert ours.node == theirs.id == case["node"]
    assert list(ours.heads) == theirs.hashes == case["hashes"]
    for at, kid in case["signers"].items():
        position = reader.cursor(at)
        public = identity.key_at(ours, kid, position)
        assert signing.kid(public) == kid == reader.h(public).hex()[:16]
        assert reader.within(theirs.keys[kid], position)


def test_a_key_is_valid_in_its_range_only() -> None:
    """Positions are compared as (epoch, seq), and both ends of a range are included."""
    case = CHAINS["valid"][2]
    ours, theirs = owner(case["chain"]), reader.Node(case["chain"])
    first, second, third = (CHAINS["keys"][f"ouest online {n}"]["kid"] for n in (1, 2, 3))
    wanted = {
        (first, "1.0"): True, (first, "1.40"): True, (first, "1.41"): False, (first, "2.1"): False,
        (second, "1.39"): False, (second, "1.60"): True, (second, "1.61"): False, (second, "2.40"): False,
        (third, "1.99"): False, (third, "2.59"): False, (third, "2.60"): True, (third, "3.0"): True,
    }  # fmt: skip
    for (kid, at), valid in wanted.items():
        assert reader.within(theirs.keys[kid], reader.cursor(at)) is valid
        try:
            identity.key_at(ours, kid, reader.cursor(at))
        except Untrue:
            assert not valid
        else:
            assert valid


@named(CHAINS["invalid"])
def test_a_chain_that_does_not_hold(case: Json) -> None:
    """Both readers refuse it."""
    with pytest.raises(Refused):
        reader.Node(case["chain"], case.get("node"))
    if "node" in case:
        assert owner(case["chain"]).node != case["node"]
        return
    with pytest.raises((Untrue, msgspec.ValidationError)):
        owner(case["chain"])


# Events


def test_events_are_signed_as_they_say() -> None:
    """What is signed, the leaf, the key and the signature of every type of event are as both readers compute them."""
    seen = set()
    for one in EVENTS["events"]:
        raw, secret = one["raw"].encode(), EVENTS["keys"][one["node"]]
        signer = signing.signer(bytes.fromhex(secret["seed"]))
        assert signing.text(signer.public) == secret["public"]
        assert signer.kid == secret["kid"] == one["kid"]
        assert (
            signing.encoding(signing.EVENT, raw)
            == reader.dsse("event", one["raw"])
            == bytes.fromhex(one["dsse"])
        )
        assert signing.text(signer.sign(signing.EVENT, raw)) == one["sig"]
        assert reader.verifies("event", one["raw"], one["sig"], signer.public)
        assert not reader.verifies("checkpoint", one["raw"], one["sig"], signer.public)
        assert merkle.leaf(raw).hex() == reader.h(b"\0", raw).hex() == one["leaf"]
        assert (
            one["raw"].encode()
            == json.dumps(json.loads(raw), ensure_ascii=False, separators=(",", ":")).encode()
        )
        seen.add(one["type"])
    assert seen == proofs.KNOWN


# Trees, states, digests


def test_ranges_and_roots_of_every_size() -> None:
    """Leaf by leaf both readers come through every tree of the vectors."""
    trees = {tree["size"]: tree for tree in TREES["trees"]}
    ours, peaks, met = Range(), [], 0
    for size in range(max(trees) + 1):
        if size:
            leaf = reader.h(b"\0", b"entry %d" % size)
            assert size > 17 or TREES["leaves"][size - 1] == leaf.hex()
            ours, peaks = merkle.extended(ours, [leaf]), reader.merged(peaks, size - 1, leaf)
        if tree := trees.get(size):
            assert [p.hex() for p in ours.peaks] == [p.hex() for p in peaks] == tree["peaks"]
            assert merkle.root(ours).hex() == reader.root(peaks).hex() == tree["root"]
            met += 1
    assert met == len(trees) >= 25


def test_states_have_their_roots() -> None:
    """Both readers compute the state root, and each of its buckets; order within one is that of the record ids."""
    for state in STATES["states"]:
        pairs = [(each["id"], bytes.fromhex(each["leaf"])) for each in state["records"]]
        assert merkle.state_root(pairs).hex() == reader.state_root(dict(pairs)).hex() == state["state_root"]
        buckets: dict[str, list[bytes]] = {}
        for record, leaf in sorted(pairs):
            name = reader.h(record.encode())
            buckets.setdefault(str(name[0]), []).extend((name, leaf))
        assert {b: reader.h(*parts).hex() for b, parts in buckets.items()} == state["buckets"]
        assert len(pairs) == state["count"]
    assert reader.state_root({}).hex() == STATES["empty"]["state_root"]
    clash = max(buckets.values(), key=len)
    assert clash[::2] != sorted(clash[::2])


def test_digests_of_followed_sets_and_views() -> None:
    """Both readers compute the hash of a followed set, the entries of a view, its buckets and its root."""
    for one in DIGESTS["followed"]:
        found = digest.followed_hash(one["nodes"], one["hidden"])
        assert found == reader.followed_hash(one["nodes"], one["hidden"]) == one["hash"]
    buckets: dict[int, Json] = {}
    for view in DIGESTS["views"]:
        assert reader.h(view["bytes"].encode()).hex() == view["hash"]
        assert digest.bucket(view["id"]) == reader.h(view["id"].encode())[0] == view["bucket"]
        sorted_ = json.dumps(
            json.loads(view["bytes"]), sort_keys=True, ensure_ascii=False, separators=(",", ":")
        )
        assert sorted_ == view["bytes"]
        buckets.setdefault(view["bucket"], {})[view["id"]] = view["hash"]
    hashes = {b: reader.bucket_hash(entries) for b, entries in buckets.items()}
    assert {str(b): each.hex() for b, each in sorted(hashes.items())} == DIGESTS["buckets"]
    full = sorted(max(buckets.values(), key=len).items())
    entries = [reader.h(id.encode()) + bytes.fromhex(said) for id, said in full]
    assert len(entries) == 2
    assert entries != sorted(entries)
    assert digest.bucket_hash(entries) == digest.bucket_hash(entries[::-1]) == reader.bucket_hash(dict(full))
    every = [hashes.get(b, bytes.fromhex(DIGESTS["other_buckets"])) for b in range(256)]
    policy, followed = DIGESTS["policy_id"], DIGESTS["followed_hash"]
    assert digest.view_root(policy, followed, every) == reader.view_root(policy, followed, every)
    assert reader.view_root(policy, followed, every).hex() == DIGESTS["view_root"]


# Checkpoints


def text(one: Json) -> SignedText:
    """A signed text as our code has it."""
    return SignedText(raw=one["raw"], kid=one["kid"], sig=one["sig"])


def test_checkpoints_that_hold() -> None:
    """Both readers believe them."""
    ours, theirs = owner(CHECKPOINTS["descriptors"]), reader.Node(CHECKPOINTS["descriptors"])
    for one in CHECKPOINTS["valid"]:
        assert msgspec.to_builtins(proofs.checkpoint(text(one), ours)) == theirs.checkpoint(one)


@named(CHECKPOINTS["invalid"])
def test_a_checkpoint_that_does_not_hold(case: Json) -> None:
    """Both readers refuse it."""
    with pytest.raises(Untrue):
        proofs.checkpoint(text(case), owner(CHECKPOINTS["descriptors"]))
    with pytest.raises(Refused):
        reader.Node(CHECKPOINTS["descriptors"]).checkpoint(case)


def contradicts(a: Json, b: Json) -> bool:
    """Whether no one log can have had two checkpoints, as the document says it."""
    one, two = sorted(
        (json.loads(each["raw"]) for each in (a, b)), key=lambda said: (said["n"], said["size"])
    )
    if one["epoch"] != two["epoch"]:
        return False
    same_n = one["n"] == two["n"] and a["raw"] != b["raw"]
    same_size = one["size"] == two["size"] and one["log_root"] != two["log_root"]
    return bool(same_n or same_size or (one["n"] < two["n"] and one["size"] > two["size"]))


@named(CHECKPOINTS["contradicting"])
def test_two_checkpoints_that_contradict_each_other(case: Json) -> None:
    """Whichever comes first, the second one is a fork."""
    whose = owner(CHECKPOINTS["descriptors"])
    for a, b in ((case["a"], case["b"]), (case["b"], case["a"])):
        assert contradicts(a, b)
        with pytest.raises(Forked):
            proofs.checkpoint(text(b), whose, Heard(text(a), proofs.said(text(a))))


@named(CHECKPOINTS["agreeing"])
def test_two_checkpoints_of_one_log(case: Json) -> None:
    """Whichever comes first, both are believed."""
    whose = owner(CHECKPOINTS["descriptors"])
    for a, b in ((case["a"], case["b"]), (case["b"], case["a"])):
        assert not contradicts(a, b)
        proofs.checkpoint(text(b), whose, Heard(text(a), proofs.said(text(a))))


def test_evidence_proves_itself_offline() -> None:
    """From an entry alone: the node is its first descriptor's, both sides are signed, and they contradict."""
    kinds = []
    for one in CHECKPOINTS["evidence"]:
        node, a, b = reader.Node(one["descriptors"], one["node"]), one["a"], one["b"]
        assert a["raw"] != b["raw"]
        if one["kind"] == "checkpoint":
            assert node.checkpoint(a)
            assert node.checkpoint(b)
            assert contradicts(a, b)
        elif one["kind"] == "event":
            said = reader.envelope(a["raw"])
            at = said["epoch"], int(said["sequence"])
            assert node.event(a, at)["id"] == node.event(b, at)["id"]
        else:
            before = one["descriptors"][: json.loads(a["raw"])["version"] - 1]
            assert reader.Node([*before, a]).hashes[:-1] == reader.Node([*before, b]).hashes[:-1]
        kinds.append(one["kind"])
    assert set(kinds) == {"checkpoint", "event", "descriptor"}


# Pages


def theirs(case: Json, chain: list[Json]) -> reader.Log:
    """The log as the reader has it after a page."""
    start = case["start"]
    size = reader.cursor(start["cursor"])[1]
    peaks = [bytes.fromhex(peak) for peak in start["peaks"]]
    log = reader.Log(
        reader.Node(case.get("descriptors", chain)), size, peaks, start["versions"], start.get("redacted", ())
    )
    log.page(case["body"])
    return log


def ours(case: Json, chain: list[Json]) -> tuple[Position, list[proofs.Followed]]:
    """Where our follower stands after a page, and the events of it."""
    start, whose = case["start"], owner(case.get("descriptors", chain))
    epoch, size = reader.cursor(start["cursor"])
    tree = Range(size=size, peaks=tuple(bytes.fromhex(peak) for peak in start["peaks"]))
    page = proofs.page(case["body"].encode())
    found, after, close = proofs.proven(page, Position(epoch=epoch, tree=tree), whose)
    if close.descriptor not in whose.heads:
        raise Untrue
    known, redacted, blind = dict(start["versions"]), set(start.get("redacted", ())), False
    for each in found:
        if each.erased is not None:
            redacted.add(each.erased.record)
        elif each.event is None:
            blind = True
        elif not blind and each.event.subject not in redacted:
            proofs.next_version(each, known.get(each.event.subject))
            known[each.event.subject] = each.event.recordversion
    return after, found


@named(PAGES["proves"])
def test_a_page_that_proves(case: Json) -> None:
    """Both readers stand at the same cursor, range and root after it."""
    after, found = ours(case, PAGES["descriptors"])
    log = theirs(case, PAGES["descriptors"])
    assert after.cursor == log.cursor == case["end"]["cursor"]
    assert [p.hex() for p in after.tree.peaks] == [p.hex() for p in log.peaks] == case["end"]["peaks"]
    assert merkle.root(after.tree).hex() == reader.root(log.peaks).hex() == case["end"]["root"]
    assert [each.seq for each in found if each.opaque] == case.get("opaque", [])


@named(PAGES["refused"])
def test_a_page_that_must_be_refused(case: Json) -> None:
    """Both readers refuse it whole."""
    with pytest.raises(Untrue):
        ours(case, PAGES["descriptors"])
    with pytest.raises(Refused):
        theirs(case, PAGES["descriptors"])


def our_snapshot(body: str, chain: list[Json]) -> tuple[Position, int]:
    """Where our follower stands after a snapshot, and how many records it has."""
    whose, lines = owner(chain), body.splitlines()
    there, close = proofs.snapshot(msgspec.json.decode(lines[0], type=SnapshotHead), whose)
    state = proofs.State(close)
    for line in lines[1:]:
        state.add([proofs.snapshot_line(msgspec.json.decode(line, type=Line), there, whose)])
    state.agree()
    return there, state.count


@named(PAGES["snapshots"]["proves"])
def test_a_snapshot_that_proves(case: Json) -> None:
    """Both readers stand where it stands, with all its records."""
    there, count = our_snapshot(case["body"], PAGES["descriptors"])
    log = reader.Log(reader.Node(PAGES["descriptors"]))
    log.snapshot(case["body"])
    assert there.cursor == log.cursor == case["end"]["cursor"]
    assert merkle.root(there.tree).hex() == reader.root(log.peaks).hex() == case["end"]["root"]
    assert count == len(log.latest) == case["count"]


@named(PAGES["snapshots"]["refused"])
def test_a_snapshot_that_must_be_refused(case: Json) -> None:
    """Both readers refuse it."""
    with pytest.raises(Untrue):
        our_snapshot(case["body"], PAGES["descriptors"])
    with pytest.raises(Refused):
        reader.Log(reader.Node(PAGES["descriptors"])).snapshot(case["body"])


async def answered(cursor: str, head: str, floor: int = 0) -> Json:
    """What our log, standing there, says to a cursor."""
    epoch, size = reader.cursor(head)
    where = Head(
        node="", epoch=epoch, size=size, n=1, kid="", descriptor="", peaks=(), full_size=0,
        signed_at=ledger.clock(), floor=floor,
    )  # fmt: skip
    try:
        await ledger.check_cursor(cast(Any, None), ledger.position(cursor), where)
    except Failure as failure:
        return {"status": STATUS[type(failure)], **failure.extra}
    return {"status": 200}


async def test_cursors_are_answered_as_they_are_told() -> None:
    """A log tells what is wrong with a cursor, and never guesses what was meant."""
    cursors = PAGES["cursors"]
    floor = reader.cursor(cursors["floor"])[1]
    for cases, start in ((cursors["answers"], 0), (cursors["answers_from_the_floor"], floor)):
        for case in cases:
            assert {
                "cursor": case["cursor"],
                **await answered(case["cursor"], cursors["head"], start),
            } == case


# Epochs


EPOCHS, REDACTED = PAGES["epochs"], PAGES["redacted"]


def test_each_number_has_the_epoch_in_which_it_was_written() -> None:
    """However often a log was cut, looking from the last epoch back finds where an event was written."""
    theirs, ours = reader.Node(EPOCHS["descriptors"]), owner(EPOCHS["descriptors"])
    for seq, epoch in EPOCHS["epoch_of"].items():
        assert theirs.epoch(int(seq)) == ours.epoch_of(int(seq)) == epoch
    assert list(EPOCHS["epoch_of"].values()) == [1, 1, 1, 1, 1, 2, 4, 4]


SPECIAL = [
    *((case, EPOCHS["descriptors"]) for case in EPOCHS["proves"]),
    *((case, REDACTED["descriptors"]) for case in REDACTED["proves"]),
]


@pytest.mark.parametrize(("case", "chain"), SPECIAL, ids=[case["name"] for case, _ in SPECIAL])
def test_a_page_of_epochs_or_erased_events_proves(case: Json, chain: list[Json]) -> None:
    """Both readers stand where it leads."""
    after, _ = ours(case, chain)
    log = theirs(case, chain)
    assert after.cursor == log.cursor == case["end"]["cursor"]
    assert merkle.root(after.tree).hex() == reader.root(log.peaks).hex() == case["end"]["root"]


@named([*EPOCHS["refused"], *EPOCHS["forked"], *REDACTED["refused"]])
def test_a_page_of_epochs_or_erased_events_must_be_refused(case: Json) -> None:
    """Both readers refuse it."""
    with pytest.raises(Untrue):
        ours(case, EPOCHS["descriptors"])
    with pytest.raises(Refused):
        theirs(case, EPOCHS["descriptors"])


def rewound(leaves: list[str], size: int) -> list[bytes]:
    """The peaks over the first of these leaves."""
    peaks: list[bytes] = []
    for number, leaf in enumerate(leaves[:size]):
        peaks = reader.merged(peaks, number, bytes.fromhex(leaf))
    return peaks


@named(EPOCHS["rewinds"])
def test_a_follower_rewinds_to_the_smallest_base_of_newer_epochs(case: Json) -> None:
    """Its own leaves up to there have the root that the epoch names, and the feed goes on from there."""
    size = reader.cursor(case["to"]["cursor"])[1]
    assert owner(EPOCHS["descriptors"]).last_of(reader.cursor(case["from"])[0]) == size
    peaks = rewound(case["leaves"], size)
    assert reader.root(peaks).hex() == case["to"]["root"]
    assert [peak.hex() for peak in peaks] == case["to"]["peaks"]
    assert theirs({**case, "start": case["to"]}, EPOCHS["descriptors"]).cursor == case["end"]["cursor"]


@named(EPOCHS["forked_rewinds"])
def test_a_follower_that_was_told_another_log_cannot_rewind(case: Json) -> None:
    """Its own root at the base is not the one that the epoch names: the node is forked."""
    base = case["base"]
    assert reader.root(rewound(case["leaves"], base["size"])).hex() != base["root"]
    assert reader.root(rewound(EPOCHS["rewinds"][0]["leaves"], base["size"])).hex() == base["root"]


async def test_old_cursors_are_valid_up_to_the_smallest_newer_base(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told of a cursor follows from the descriptor alone."""
    said = owner(EPOCHS["descriptors"]).descriptor

    async def described(conn: object) -> Descriptor:
        return said

    monkeypatch.setattr(ledger, "described", described)
    seen = set()
    for case in EPOCHS["cursors"]:
        epoch, seq = reader.cursor(case["cursor"])
        newer = [each.base.size for each in said.epochs if each.base and each.epoch > epoch]
        assert bool(newer and seq > min(newer)) is (case.get("code") == "epoch-changed"), case
        assert {"cursor": case["cursor"], **await answered(case["cursor"], "4.8")} == case
        seen.add(case["status"])
    assert seen == {200, 409}
