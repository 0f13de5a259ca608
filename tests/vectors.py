"""`make schemas`: test vectors beside the JSON Schemas, the same bytes at every run; `--check` tells of drift."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from schemas import event as events
from schemas.claim import Claim
from schemas.place import Place
from schemas.vocabulary import Area, Term
from services import merkle, signing
from services.merkle import Range
from services.sync import merge
from services.sync.merge import Record
from tests.author import CREATED, Author, Json, key, place, record_id, sealed, shown

FOLDER = Path(__file__).parent.parent / "schemas" / "vectors"


def body(lines: Iterable[Any]) -> str:
    """Lines as they are served."""
    return "".join(msgspec.json.encode(line).decode() + "\n" for line in lines)


def stand(tree: Range, epoch: int) -> Json:
    """How far a log is read."""
    return {
        "cursor": f"{epoch}.{tree.size}",
        "peaks": [peak.hex() for peak in tree.peaks],
        "root": merkle.root(tree).hex(),
    }


START: Json = {"cursor": "0.0", "peaks": [], "versions": {}}


# Descriptors


def descriptors() -> Json:
    """Chains that hold, and chains that do not."""
    one, three, heir = _rotated(), Author("trois", roots=3, threshold=2), "trois root 4"
    first, second, third = (f"ouest online {number}" for number in (1, 2, 3))
    three.describe(by=three.roots[1:], contact="autre@trois.example")
    three.describe(by=three.roots[:2], root_keys=[shown(heir)["public"]], threshold=1)
    three.describe(by=[heir], name="Réseau des trois, repris")
    names = (*one.roots, first, second, third, *three.roots, heir, three.online)
    return {
        "keys": {name: shown(name) for name in names},
        "valid": [
            _held("genesis", one.chain[:1], {"1.0": first}),
            _held("rotation", one.chain[:2], {"1.0": first, "1.40": second, "1.41": second}),
            _held("revocation, with a new epoch", one.chain, {"1.60": second, "2.60": third, "2.61": third}),
            _held("two of three root keys, then one heir", three.chain, {"1.0": three.online}),
        ],
        "invalid": [*_unheld(one), *_unheld_by_two(three)],
    }


def _rotated() -> Author:
    """A node that changed its signing key at 40, and revoked the second one at 60."""
    author = Author("ouest")
    first, second, third = (f"ouest online {number}" for number in (1, 2, 3))
    author.describe(signing_keys=[author.range(first, "1.0", "1.40"), author.range(second, "1.40")])
    ranges = (first, "1.0", "1.40"), (second, "1.40", "1.60"), (third, "2.60", None)
    keys = [author.range(*each) for each in ranges]
    root = merkle.root(merkle.extended(Range(), (merkle.leaf(b"entry %d" % n) for n in range(1, 61)))).hex()
    opened = {"epoch": 2, "base": {"size": 60, "root": root}, "reason": "key-revoked"}
    author.describe(signing_keys=keys, epochs=[*author.said["epochs"], opened])
    return author


def _held(name: str, chain: Sequence[Json], signers: Mapping[str, str]) -> Json:
    """A chain that holds; `signers` tell which key may sign at a position."""
    return {
        "name": name,
        "node": signing.node_id(chain[0]["raw"].encode()),
        "hashes": [_hash(one) for one in chain],
        "signers": {at: shown(who)["kid"] for at, who in signers.items()},
        "chain": list(chain),
    }


def _refused(name: str, why: str, *chain: Json, **other: Any) -> Json:
    return {"name": name, "why": why, **other, "chain": list(chain)}


def _unheld(one: Author) -> list[Json]:
    """Chains that do not hold, or are not those of the node that was meant."""
    first, second, third = one.chain
    two: Json = msgspec.json.decode(second["raw"])
    other, renamed, born = Author("est"), Author("ouest", region="autre"), msgspec.json.decode(first["raw"])

    def instead(**changes: Any) -> Json:
        return one.approved({**two, **changes}, one.roots)

    def later(**changes: Any) -> Json:
        return one.next(one.roots, **changes)

    epochs = one.said["epochs"]
    moved = [epochs[0], {**epochs[1], "base": {**epochs[1]["base"], "size": 59}}]
    third_epoch, baseless = {**moved[1], "epoch": 3}, {**moved[1], "base": None}
    known = two["signing_keys"][0]
    misnamed = {**known, "kid": "0" * 16}
    tampered = {**second, "signatures": [_tampered(second["signatures"][0])]}
    usurped = one.approved({**two, "root_keys": other.said["root_keys"]}, other.roots)
    free = one.approved({**born, "threshold": 0}, [])
    return [
        _refused("rollback", "version 3 follows version 1 again", first, second, instead(version=3)),
        _refused("other prev", "prev is not the hash of version 1", first, instead(prev="0" * 64)),
        _refused("skipped version", "version 3 stands in the second place", first, instead(version=3)),
        _refused("withheld version", "version 3 comes without version 2", first, third),
        _refused("other genesis", "version 2 follows another version 1", renamed.chain[0], second),
        _refused("another node", "it holds, and is not the node that is followed", *other.chain, node=one.node),
        _refused("tampered signature", "the signature of version 2 does not fit", first, tampered),
        _refused("altered", "version 2 is not what was signed", first, _altered(second)),
        _refused("usurped", "version 2 is signed by its own new root key only", first, usurped),
        _refused("unsigned", "version 2 has no signature", first, {**second, "signatures": []}),
        _refused("no threshold", "version 1 asks for no signature at all", free),
        _refused("misnamed key", "a kid is not the one of its key", first, instead(signing_keys=[misnamed])),
        _refused("key listed twice", "one kid has two ranges", first, instead(signing_keys=[known, known])),
        _refused("rewritten epoch", "version 4 moves the base of an epoch", *one.chain, later(epochs=moved)),
        _refused("forgotten epoch", "version 4 has one epoch less", *one.chain, later(epochs=moved[:1])),
        _refused("skipped epoch", "epoch 3 follows epoch 1", first, instead(epochs=[moved[0], third_epoch])),
        _refused("second beginning", "epoch 2 is based on nothing", first, instead(epochs=[moved[0], baseless])),
        _refused("no epoch", "there is no epoch", first, instead(epochs=[])),
        _refused("empty", "there is no descriptor"),
    ]  # fmt: skip


def _unheld_by_two(three: Author) -> list[Json]:
    """Chains that lack one of the two signatures that they need."""
    first, second, third = three.chain[:3]
    alone = {**second, "signatures": second["signatures"][:1]}
    twice = {**alone, "signatures": alone["signatures"] * 2}
    late = three.approved({**three.said, "version": 4, "prev": _hash(third)}, three.roots[:2])
    return [
        _refused("wrong threshold", "one root key signed, of the two that are needed", first, alone),
        _refused("one signature twice", "the same root key signed twice", first, twice),
        _refused("former roots", "version 4 is signed by root keys that version 3 replaced", *three.chain[:3], late),
    ]  # fmt: skip


def _hash(signed: Json) -> str:
    return sha256(signed["raw"].encode()).hexdigest()


def _tampered(signature: Json) -> Json:
    """A signature with its first bits turned."""
    first = "B" if signature["sig"][0] == "A" else "A"
    return {**signature, "sig": first + signature["sig"][1:]}


def _altered(line: Json) -> Json:
    """A line whose text is not what was signed."""
    changed = line["raw"].replace("contact@ouest", "ailleurs@ouest").replace("Rennes", "Redon")
    assert changed != line["raw"]
    return {**line, "raw": changed}


# Events


def log() -> Author:
    """A log with every type of event that a registry writes."""
    author = Author("ouest")
    other = record_id(Author("est").node, 7)
    mine = record_id(author.node, 1)
    author.write(
        1,
        place(
            "L'Établi", kind="physical", position={"lat": 48.1113387, "lon": -1.6800198, "precision": "exact"},
            families=["coworking", "fablab"], types=["ouest:atelier-bois"], extensions={"ouest": {"adhésion": 12.5}},
        ),
    )  # fmt: skip
    author.write(2, place("La Cuisine", status="project"))
    author.write(3, msgspec.to_builtins(Claim(a=mine, b=other, verdict="same")), events.CLAIM_PUT)
    term = Term(namespace="ouest", code="atelier-bois", labels={"fr": "Atelier bois"}, close=("fablab",))
    author.write(4, msgspec.to_builtins(term), events.VOCABULARY_PUT)
    area = Area(name="Bassin rennais", communes=("35238", "35051"))
    author.write(5, msgspec.to_builtins(area), events.AREA_PUT)
    author.write(1, place("L'Établi", status="closed", closed_on="2026-01"))
    author.write(3, {"reason": "error"}, events.CLAIM_WITHDRAW)
    author.write(5, {"reason": "other"}, events.AREA_WITHDRAW)
    author.write(2, {"reason": "duplicate", "successor": mine}, events.PLACE_WITHDRAW)
    erase(author, 2, 2, 9)
    return author


def erase(author: Author, number: int, *seqs: int) -> Json:
    """Erase earlier events of a record."""
    leaves = [author.leaves()[seq - 1].hex() for seq in seqs]
    return author.write(number, {"leaves": leaves}, events.RECORD_ERASE)


def redacted(author: Author, seq: int, by: Json | None) -> Json:
    """The line of an erased event."""
    line: Json = {"redacted": True, "seq": seq, "leaf": author.leaves()[seq - 1].hex()}
    return line if by is None else {**line, "by": by}


def view_log() -> Author:
    """The log of a sync."""
    sync = Author("vue", emits=list(events.SYNC_EMITS))
    id = record_id(Author("ouest").node, 1)
    traits = {
        "networks": [id[:26]], "families": ["coworking"], "types": [], "labels": [], "status": "open",
        "departement": "35", "insee": None, "lat": None, "lon": None,
    }  # fmt: skip
    cause = [f"{id[:26]}/1-{1:016d}"]
    after = {"name": "L'Établi", "status": "open", "families": ["coworking"]}
    put = {
        "id": id, "networks": [id[:26]], "after": after, "traits": traits, "before": None,
        "changed": {name: {"before": None, "after": value} for name, value in after.items()}, "cause": cause,
    }  # fmt: skip
    gone = {"id": id, "before": traits, "reason": "withdrawn", "moved_to": None, "cause": cause}
    other = record_id(Author("est").node, 1)
    noticed = {"kind": "contradicted", "record": other, "by": [id], "field": "name", "shown": "L'Établi"}
    notice = {"id": id, "network": other[:26], "items": [noticed], "cause": cause}
    sync.write(0, notice, events.VIEW_NOTICE, subject=f"{sync.node}:{id}")
    sync.write(0, put, events.VIEW_PUT, subject=f"{sync.node}:{id}")
    sync.write(0, gone, events.VIEW_REMOVE, subject=f"{sync.node}:{id}")
    return sync


def written() -> Json:
    """Events with what is signed, their leaves and signatures."""
    author, sync = log(), view_log()
    return {
        "keys": {"registry": shown(author.online), "sync": shown(sync.online)},
        "nodes": {"registry": author.node, "sync": sync.node},
        "events": [_told(line, "registry") for line in author.lines]
        + [_told(line, "sync") for line in sync.lines],
        "redacted": {"line": redacted(author, 2, author.lines[-1]), "erased": author.lines[1]},
    }


def _told(line: Json, node: str) -> Json:
    raw = line["raw"].encode()
    return {
        "node": node,
        "type": msgspec.json.decode(raw)["type"],
        **line,
        "dsse": signing.encoding(signing.EVENT, raw).hex(),
        "leaf": merkle.leaf(raw).hex(),
    }


# Trees, states, digests


def trees() -> Json:
    """Merkle ranges over the texts `entry 1`, `entry 2`, and so on."""
    leaves = [merkle.leaf(b"entry %d" % number) for number in range(1, 1001)]
    sizes = (*range(18), 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, 1000)
    return {
        "entries": "the texts entry 1, entry 2, ... without quotes or line feed",
        "leaves": [leaf.hex() for leaf in leaves[:17]],
        "trees": [_tree(merkle.extended(Range(), leaves[:size])) for size in sizes],
    }


def _tree(tree: Range) -> Json:
    peaks = [peak.hex() for peak in tree.peaks]
    return {"size": tree.size, "peaks": peaks, "root": merkle.root(tree).hex()}


def states() -> Json:
    """States of logs: two records in one bucket, of which the smaller id has the greater hash."""
    node = Author("ouest").node
    ids = [record_id(node, number) for number in range(1, 41)]
    at = sha256(ids[0].encode()).digest()[0]
    known = (record_id(node, number) for number in range(41, 10**6))
    ids.append(next(i for i in known if _name(i)[0] == at and _name(i) < _name(ids[0])))
    pairs = [(id, merkle.leaf(id.encode())) for id in sorted(ids)]
    return {
        "empty": {"state_root": merkle.state_root([]).hex()},
        "states": [_state(pairs[:1]), _state(pairs)],
    }


def _name(record: str) -> bytes:
    return sha256(record.encode()).digest()


def _state(pairs: Sequence[tuple[str, bytes]]) -> Json:
    buckets: dict[int, list[bytes]] = {}
    for record, leaf in pairs:
        buckets.setdefault(_name(record)[0], []).append(_name(record) + leaf)
    return {
        "records": [{"id": record, "leaf": leaf.hex()} for record, leaf in pairs],
        "buckets": {str(b): sha256(b"".join(buckets[b])).hexdigest() for b in sorted(buckets)},
        "other_buckets": merkle.EMPTY.hex(),
        "count": len(pairs),
        "state_root": merkle.state_root(pairs).hex(),
    }


def digests() -> Json:
    """Followed sets, and the digest of a view from its bytes."""
    nodes = sorted(Author(name).node for name in ("ouest", "est", "nord"))
    followed = merge.followed_hash(nodes, [record_id(nodes[0], 9)])
    views = [merge.merged([found], []) for found in _records(nodes)]
    told = [(view.id, merge.view_bytes(view)) for view in views if view]
    entries: dict[int, list[bytes]] = {}
    for id, said in told:
        entries.setdefault(merge.bucket(id), []).append(merge.entry(id, said))
    buckets = {b: merge.bucket_hash(found) for b, found in sorted(entries.items())}
    policy = sha256(b"a policy of the vectors").hexdigest()
    top = merge.view_root(policy, followed, [buckets.get(b, merkle.EMPTY) for b in range(256)])
    return {
        "followed": [
            {"nodes": [], "hidden": [], "hash": merge.followed_hash([], [])},
            {"nodes": nodes[:2], "hidden": [], "hash": merge.followed_hash(nodes[:2], [])},
            {"nodes": nodes, "hidden": [record_id(nodes[0], 9)], "hash": followed},
        ],
        "views": [
            {"id": id, "bytes": said.decode(), "hash": sha256(said).hexdigest(), "bucket": merge.bucket(id)}
            for id, said in told
        ],
        "buckets": {str(b): found.hex() for b, found in buckets.items()},
        "other_buckets": merkle.EMPTY.hex(),
        "policy_id": policy,
        "followed_hash": followed,
        "count": len(told),
        "view_root": top.hex(),
    }


def _records(nodes: Sequence[str]) -> list[Record]:
    """Places of three networks; two are in one bucket, of which the smaller id has the greater hash."""
    ids = [record_id(node, number) for node in nodes for number in range(1, 5)]
    first, more = _name(ids[0]), (record_id(nodes[1], number) for number in range(5, 10**6))
    ids.append(next(i for i in more if _name(i)[0] == first[0] and _name(i) < first))
    return [
        Record(id, 1, merkle.leaf(id.encode()).hex(), CREATED, msgspec.convert(place(f"Lieu {n}"), Place))
        for n, id in enumerate(ids)
    ]


# Checkpoints


def checkpoints() -> Json:
    """Checkpoints that hold, that do not, and pairs of which one is a lie."""
    author = log()
    rival = author.next(author.roots, contact="autre@ouest.example")
    author.describe(signing_keys=[author.range(author.online, "1.0", "1.10")])
    whole = author.checkpoint()
    one, two = author.checkpoint(size=4, full=False), author.checkpoint(size=4, full=False)
    later = author.checkpoint()
    author.n -= 1
    same_n = author.checkpoint(at="2026-01-01T00:00:01.000Z")
    same_size = author.checkpoint(log_root="0" * 64)
    shorter = author.checkpoint(size=3, full=False)
    pairs = {
        "one n, two raws": (later, same_n),
        "one size, two roots": (later, same_size),
        "a higher n, a smaller size": (later, shorter),
    }
    return {
        "node": author.node,
        "descriptors": author.chain,
        "valid": [whole, one],
        "invalid": _unsigned(author, whole),
        "contradicting": [{"name": name, "a": a, "b": b} for name, (a, b) in pairs.items()],
        "agreeing": [
            {"name": "the same one twice", "a": whole, "b": whole},
            {"name": "a higher n, the same log", "a": one, "b": two},
            {"name": "a higher n, a longer log", "a": two, "b": later},
        ],
        "evidence": _evidence(author, [("checkpoint", *pair) for pair in pairs.values()], rival),
    }


def _unsigned(author: Author, whole: Json) -> list[Json]:
    """Checkpoints that are not the node's, or not as it signed them."""
    said, other = msgspec.json.decode(whole["raw"]), Author("est")

    def instead(by: str = author.online, kind: str = signing.CHECKPOINT, **changes: Any) -> Json:
        return sealed(key(by), kind, {**said, **changes})

    found = {
        "altered": ("it is not what was signed", {**whole, "raw": whole["raw"].replace('"n":1,', '"n":9,')}),
        "tampered signature": ("the signature does not fit", _tampered(whole)),
        "another node": ("it speaks of another node", instead(node=other.node)),
        "unknown key": ("no key of the node signed it", instead(by=other.online)),
        "key out of range": ("the key ended at 1.10", instead(size=11)),
        "signed as an event": ("the payload type is signed too", instead(kind=signing.EVENT)),
        "numbers out of range": ("no log is that long", instead(size=2**63)),
    }
    return [{"name": name, "why": why, **one} for name, (why, one) in found.items()]


def _evidence(author: Author, pairs: Sequence[tuple[str, Json, Json]], rival: Json) -> list[Json]:
    """What `/evidence` of a sync says: two signed things of which only one can be true."""
    raw = msgspec.json.decode(author.lines[0]["raw"])
    twin = sealed(key(author.online), signing.EVENT, {**raw, "data": place("L'Autre Établi")})
    told = [*pairs, ("event", author.lines[0], twin), ("descriptor", author.chain[1], rival)]
    return [
        {"node": author.node, "kind": kind, "found_at": CREATED, "descriptors": author.chain, "a": a, "b": b}
        for kind, a, b in told
    ]


# Pages


def pages() -> Json:
    """Pages of a feed and snapshots that prove, and that must be refused."""
    author = log()
    return {
        "node": author.node,
        "descriptors": author.chain,
        "proves": _proving(author),
        "refused": [*_lies(), *_forgeries()],
        "snapshots": _snapshots(),
        "cursors": _cursors(),
        "epochs": _epochs(),
        "redacted": _redacted(),
    }


def _stand(author: Author, size: int) -> Json:
    """How far the log of an author is read."""
    return stand(merkle.extended(Range(), author.leaves()[:size]), _epoch_of(author, size))


def _from(author: Author, size: int) -> Json:
    """Where to read on: how far the log is read, and the versions of its records."""
    found = [msgspec.json.decode(line["raw"]) for line in author.lines[:size]]
    return {**_stand(author, size), "versions": {each["subject"]: each["recordversion"] for each in found}}


def _proof(name: str, start: Json, lines: Sequence[Json], end: Json, **other: Any) -> Json:
    return {"name": name, "start": start, **other, "body": body(lines), "end": end}


def _refusal(name: str, why: str, lines: Sequence[Json], **other: Any) -> Json:
    return {"name": name, "why": why, "start": START, **other, "body": body(lines)}


def _proving(author: Author) -> list[Json]:
    """Pages of one log, each with where it starts and where it leads."""
    half, close, lines = author.checkpoint(size=6, full=False), author.checkpoint(), author.lines
    size = len(lines)
    end = _stand(author, size)
    return [
        _proof("to a checkpoint", START, [*lines[:6], {"checkpoint": half}], _stand(author, 6)),
        _proof("from the middle", _from(author, 6), [*lines[6:], {"checkpoint": close}], end),
        _proof("the whole log", START, [*lines, {"checkpoint": close}], end),
        _proof("short of its checkpoint", START, [*lines[:3], {"checkpoint": close}], _stand(author, 3)),
        _proof("nothing new", _from(author, size), [{"checkpoint": close}], end),
        _opaque(),
    ]


def _opaque() -> Json:
    """A page with what a reader may not know."""
    author = Author("ouest")
    author.write(1, place("L'Établi"), couleur="bleu")
    author.write(2, {"humeur": "bonne"}, "org.maillage.mood.put.v1")
    author.put(b"this is no event")
    author.write(1, place("L'Établi", status="paused"), recordversion=3)
    lines = [*author.lines, {"checkpoint": author.checkpoint(full=False, couleur="vert")}]
    name = "unknown attributes, an unknown type, and no event at all"
    return _proof(name, START, lines, _stand(author, 4), opaque=[2, 3])


def _lies() -> list[Json]:
    """Pages that are not those of the log that was signed."""
    author = log()
    lines, close, early = author.lines[:5], author.checkpoint(size=5, full=False), author.checkpoint()
    end: Json = {"checkpoint": close}
    altered = [lines[0], _altered(lines[1]), *lines[2:], end]
    badly = [*lines[:4], {**lines[4], "sig": _tampered(lines[4])["sig"]}, {"checkpoint": early}]
    other_root = {"checkpoint": author.checkpoint(size=5, full=False, log_root="0" * 64)}
    unknown = {"checkpoint": author.checkpoint(size=5, full=False, descriptor="0" * 64)}
    tampered = {"checkpoint": _tampered(close)}
    return [
        _refusal("gap", "the third event is left out", [*lines[:2], *lines[3:], end]),
        _refusal("order", "two events changed places", [lines[1], lines[0], *lines[2:], end]),
        _refusal("repeat", "an event comes twice", [lines[0], *lines, end]),
        _refusal("altered", "an event is not what was signed", altered),
        _refusal("wrong root", "the checkpoint is of another log", [*lines, other_root]),
        _refusal(
            "bad signature", "short of its checkpoint, the signature of the fifth event does not fit", badly
        ),
        _refusal("bad checkpoint", "the signature of the checkpoint does not fit", [*lines, tampered]),
        _refusal("no checkpoint", "the page is cut", lines),
        _refusal(
            "unknown descriptor", "the checkpoint names a descriptor that is not served", [*lines, unknown]
        ),
        _refusal("no event", "a line holds no event", [{}, *lines[1:], end]),
        _refusal(
            "unknown key", "an event by no key of the node", [{**lines[0], "kid": "0" * 16}, *lines[1:], end]
        ),
    ]


def _too_late(author: Author) -> None:
    """An event by a key that had ended, under a checkpoint by the one that is in force."""
    new = "ouest online 2"
    author.describe(signing_keys=[author.range(author.online, "1.0", "1.3"), author.range(new, "1.3")])
    author.write(1, place("Trop tard"))
    author.online = new


FOREIGN = "a" * 26
FORGED: dict[str, tuple[str, Callable[[Author], Any]]] = {
    "foreign subject": (
        "the record is another node's",
        lambda a: a.write(1, place("Pris"), subject=record_id(FOREIGN, 1), recordversion=1),
    ),
    "foreign source": (
        "the source is another node",
        lambda a: a.write(1, place("Pris"), source=f"urn:maillage:{FOREIGN}"),
    ),
    "no record id": (
        "the subject is no record id",
        lambda a: a.write(1, place("Pris"), subject=f"{a.node}:un", recordversion=1),
    ),
    "number": ("the fourth event is numbered 5", lambda a: a.write(1, place("Saut"), seq=5)),
    "epoch": ("an event of an epoch that there is not", lambda a: a.write(1, place("Saut"), epoch=2)),
    "sequence": (
        "its sequence differs from its id",
        lambda a: a.write(1, place("Saut"), sequence=f"{9:016d}"),
    ),
    "version jump": (
        "a record goes from version 1 to version 3",
        lambda a: a.write(1, place("Saut"), recordversion=3),
    ),
    "version back": ("a record has version 1 twice", lambda a: a.write(1, place("Saut"), recordversion=1)),
    "first version": ("a record begins at version 2", lambda a: a.write(9, place("Saut"), recordversion=2)),
    "key out of range": ("its key ended at 1.3", _too_late),
}


def _forgeries() -> list[Json]:
    """Pages whose fourth event no node may write, well signed."""
    found = []
    for name, (why, forge) in FORGED.items():
        author = Author("ouest")
        author.places(1, 2, 3)
        forge(author)
        lines = [*author.lines, {"checkpoint": author.checkpoint(full=False)}]
        found.append(_refusal(name, why, lines, descriptors=author.chain))
    return found


def _snapshots() -> Json:
    author = log()
    latest = [line for _, line in author.latest()]
    whole = author.snapshot()
    before = [author.lines[0], *latest[1:]]
    backwards = {**whole[0], "peaks": whole[0]["peaks"][::-1]}
    lies = {
        "missing record": ("a record is left out", author.snapshot(latest[1:])),
        "order": ("records are not in order", author.snapshot(latest[::-1])),
        "repeat": ("a record comes twice", author.snapshot([latest[0], *latest])),
        "old version": ("a record as it was before", author.snapshot(before)),
        "not full": ("the checkpoint has no state root", author.snapshot(full=False)),
        "other state": ("the state root is of another state", author.snapshot(state_root="0" * 64)),
        "other peaks": ("the Merkle range is of another log", [backwards, *whole[1:]]),
        "altered": ("an event is not what was signed", [whole[0], _altered(whole[1]), *whole[2:]]),
        "redacted": (
            "the latest event of a record never is",
            [whole[0], redacted(author, 6, None), *whole[2:]],
        ),
    }
    end = _stand(author, len(author.lines))
    return {
        "proves": [{"name": "the whole state", "body": body(whole), "end": end, "count": len(latest)}],
        "refused": [{"name": name, "why": why, "body": body(lines)} for name, (why, lines) in lies.items()],
    }


def _cursors() -> Json:
    """Cursors as a log of 12 events in its first epoch answers them, whole and without its first five events."""
    malformed = (
        "",
        "1",
        "1.",
        ".1",
        "1.2.3",
        "01.2",
        "1.02",
        "0.1",
        "-1.2",
        "1.-2",
        "1,2",
        "a.b",
        "1.2 ",
        "\uff11.2",
    )
    old = {"status": 410, "code": "cursor-too-old", "floor": "1.5", "snapshot": "/snapshot"}
    future = {"status": 409, "code": "cursor-in-future", "head": "1.12"}
    whole = [
        *({"cursor": text, "status": 200} for text in ("0.0", "1.0", "1.11", "1.12")),
        *({"cursor": text, "status": 400, "code": "cursor-malformed"} for text in malformed),
        *({"cursor": text, **future} for text in ("1.13", "2.0", "2.1")),
    ]
    short = [
        *({"cursor": text, **old} for text in ("0.0", "1.0", "1.4")),
        *({"cursor": text, "status": 200} for text in ("1.5", "1.12")),
    ]
    return {"head": "1.12", "floor": "1.5", "answers": whole, "answers_from_the_floor": short}


# Epochs


def _epoch_of(author: Author, seq: int) -> int:
    """The epoch of the event of this number on the chain; 0 before the first."""
    stretches = reversed(author.said["epochs"])
    return next((e["epoch"] for e in stretches if seq > (e["base"]["size"] if e["base"] else 0)), 0)


def _cut_often() -> tuple[Author, dict[str, list[Json]]]:
    """A log that was cut at 5, at 7 and at 6, and its chain as it was at the end of each epoch."""
    author = Author("ouest")
    past = {}
    author.places(*range(1, 8))
    for size, more in ((5, (11, 12, 13)), (7, (21, 22)), (6, (31, 32))):
        past[f"{author.epoch}.{len(author.lines)}"] = list(author.lines)
        author.cut(size)
        author.places(*more)
    return author, past


def _epochs() -> Json:
    """Pages of a log that was cut at 5, at 7 and at 6, as they are read from its four epochs."""
    author, past = _cut_often()
    lines, size = author.lines, len(author.lines)
    end, close = _stand(author, size), {"checkpoint": author.checkpoint()}
    dropped = past["1.7"][5]
    return {
        "descriptors": author.chain,
        "epoch_of": {str(seq): _epoch_of(author, seq) for seq in range(1, size + 1)},
        "cursors": _epoch_cursors(author),
        "proves": [
            _proof("events of three epochs", START, [*lines, close], end),
            _proof("before all bases", _from(author, 4), [*lines[4:], close], end),
            _proof("at the last base", _from(author, 6), [*lines[6:], close], end),
        ],
        "refused": [
            _refusal(
                "dropped", "an event that the second epoch cut off", [*lines[:5], dropped, *lines[6:], close]
            ),
            _refusal(
                "gap", "the first event of the second epoch is left out", [*lines[:5], *lines[6:], close]
            ),
        ],
        "rewinds": [_rewind(author, at, chain) for at, chain in past.items()],
        "forked": [_grafted()],
        "forked_rewinds": [_strayed(author, past["1.7"])],
    }


def _rewind(author: Author, at: str, chain: Sequence[Json]) -> Json:
    """A follower that stands where an epoch ended: how far back it goes, and what it reads then."""
    newer = [e for e in author.said["epochs"] if e["epoch"] > int(at.partition(".")[0])]
    base = min((e["base"] for e in newer), key=lambda base: int(base["size"]))
    size = base["size"]
    leaves = [merkle.leaf(line["raw"].encode()) for line in chain]
    lines = [*author.lines[size:], {"checkpoint": author.checkpoint()}]
    return {
        "from": at,
        "leaves": [leaf.hex() for leaf in leaves],
        "to": {**_from(author, size), "root": base["root"]},
        "body": body(lines),
        "end": _stand(author, len(author.lines)),
    }


def _strayed(author: Author, chain: Sequence[Json]) -> Json:
    """A follower that was told another third event than the one that the epochs go on from."""
    leaves = [merkle.leaf(line["raw"].encode()).hex() for line in chain]
    leaves[2] = merkle.leaf(author.lines[0]["raw"].encode()).hex()
    return {
        "name": "another third event",
        "from": "1.7",
        "leaves": leaves,
        "base": author.said["epochs"][1]["base"],
    }


def _grafted() -> Json:
    """An epoch that goes on from another log than the one that was told before."""
    author = Author("ouest")
    author.places(1, 2, 3)
    author.cut(2, root="0" * 64)
    author.places(11)
    lines = [*author.lines, {"checkpoint": author.checkpoint(full=False)}]
    why = "the base of the second epoch is not the root of the first two events"
    return _refusal("other base", why, lines, descriptors=author.chain)


def _epoch_cursors(author: Author) -> list[Json]:
    """Cursors as this log answers them."""
    epochs = [{name: each[name] for name in ("epoch", "base", "reason")} for each in author.said["epochs"]]
    changed = {"status": 409, "code": "epoch-changed", "epochs": epochs}
    future = {"status": 409, "code": "cursor-in-future", "head": f"{author.epoch}.{len(author.lines)}"}
    return [
        *(
            {"cursor": text, "status": 200}
            for text in ("0.0", "1.0", "1.5", "2.5", "2.6", "3.6", "4.6", "4.8")
        ),
        *({"cursor": text, **changed} for text in ("1.6", "1.7", "1.99", "2.7", "2.8", "3.7", "3.9")),
        *({"cursor": text, **future} for text in ("4.9", "5.0")),
    ]


# Redacted lines


def _redacted() -> Json:
    """Pages of a log of which a record lost its first version, and another is gone."""
    author = Author("ouest")
    author.places(1, 2)
    author.write(1, place("Lieu n° 1", summary="Nouveau"))
    early = {"checkpoint": author.checkpoint()}
    first = erase(author, 1, 1)
    author.write(1, place("Lieu n° 1", summary="Nouveau"))
    second = erase(author, 2, 2)
    end: Json = {"checkpoint": author.checkpoint()}
    lines = [redacted(author, 1, first), redacted(author, 2, second), *author.lines[2:]]
    whole, one, two = _stand(author, 6), record_id(author.node, 1), record_id(author.node, 2)
    later = {**_from(author, 3), "versions": {one: 2}, "redacted": [one, two]}
    return {
        "descriptors": author.chain,
        "proves": [
            _proof("by events of the same page", START, [*lines, end], whole),
            _proof("by events of a later page", START, [*lines[:3], early], _stand(author, 3)),
            _proof("that later page", later, [*lines[3:], end], whole),
            _by_the_past(),
        ],
        "refused": [
            _refusal(name, why, [line, *lines[1:], end], descriptors=author.chain)
            for name, (why, line) in _unerased(author, lines[0]).items()
        ]
        + [_foretold()],
    }


def _unerased(author: Author, line: Json) -> dict[str, tuple[str, Json]]:
    """Redacted first lines that nothing redacts."""
    first, second, other = line["by"], author.lines[5], Author("est")
    said = msgspec.json.decode(first["raw"])
    foreign = sealed(key(other.online), signing.EVENT, first["raw"].encode())
    other.write(1, said["data"], events.RECORD_ERASE, seq=4)
    put = sealed(key(author.online), signing.EVENT, {**said, "type": events.PLACE_PUT})
    more = {**said, "data": {"leaves": [line["leaf"], "0" * 64]}}
    return {
        "no by": ("nothing says why it is redacted", {**line, "by": None}),
        "other leaf": ("it is erased by an event that lists another leaf", {**line, "by": second}),
        "foreign erasure": ("it is erased by another node", {**line, "by": other.lines[0]}),
        "foreign key": ("the erasure is signed by another node", {**line, "by": foreign}),
        "bad signature": ("the signature of the erasure does not fit", {**line, "by": _tampered(first)}),
        "no erasure": ("the event that lists it is no erasure", {**line, "by": put}),
        "another record": (
            "it is erased by an event of another record",
            {
                **line,
                "by": sealed(
                    key(author.online), signing.EVENT, {**said, "subject": record_id(author.node, 9)}
                ),
            },
        ),
        "other place": ("it says that it stands elsewhere", {**line, "seq": 2}),
        "other log": (
            "the leaf is erased, and not the one of this log",
            {**line, "leaf": "0" * 64, "by": sealed(key(author.online), signing.EVENT, more)},
        ),
    }


def _by_the_past() -> Json:
    """A line redacted by an event that the second epoch cut off, before it was written again."""
    author = Author("ouest")
    author.places(1, 2)
    by = erase(author, 1, 1)
    author.cut(2)
    lines = [redacted(author, 1, by), author.lines[1], {"checkpoint": author.checkpoint()}]
    return _proof(
        "by an event that was cut off", START, lines, stand(author.tree, 2), descriptors=author.chain
    )


def _foretold() -> Json:
    """A line redacted by an event that stands before it."""
    author = Author("ouest")
    after = author.raw(2, place("Lieu n° 2"), seq=2)
    by = author.write(1, {"leaves": [merkle.leaf(after).hex()]}, events.RECORD_ERASE)
    author.put(after)
    lines = [by, redacted(author, 2, by), {"checkpoint": author.checkpoint(full=False)}]
    return _refusal("foretold", "the erasure stands before what it erases", lines, descriptors=author.chain)


# The files

FILES: dict[str, Callable[[], Json]] = {
    "checkpoints": checkpoints,
    "descriptors": descriptors,
    "digests": digests,
    "events": written,
    "merkle": trees,
    "pages": pages,
    "state": states,
}


def rendered(content: Json) -> bytes:
    """A file of vectors, readable."""
    return json.dumps(content, ensure_ascii=False, indent=1).encode() + b"\n"


def drifted(folder: Path = FOLDER) -> list[str]:
    """Names of files that differ from what would be written, are missing, or belong to none."""
    wanted = {f"{name}.json": rendered(made()) for name, made in FILES.items()}
    found = {file.name: file.read_bytes() for file in folder.glob("*.json")}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


def main() -> int:
    """Write the vectors again, or check them; the exit code is 1 where they have drifted."""
    if "--check" in sys.argv[1:]:
        names = drifted()
        for name in names:
            print(f"vectors/{name} has drifted: run make schemas")
        return 1 if names else 0
    FOLDER.mkdir(exist_ok=True)
    for stale in FOLDER.glob("*.json"):
        stale.unlink()
    for name, made in FILES.items():
        (FOLDER / f"{name}.json").write_bytes(rendered(made()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
