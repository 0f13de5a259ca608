"""An independent reader: proves what a node or a sync says, from `docs/protocol.md` alone; it shares nothing with ours.

`python tests/reader.py URL` reads a log, with `--digest` also the view of a sync; it exits with 1 where it refuses.
"""

import json
import re
import sys
from argparse import ArgumentParser
from base64 import b32encode, urlsafe_b64decode
from contextlib import contextmanager
from hashlib import sha256
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, ProxyHandler, build_opener

from nacl.exceptions import BadSignatureError
from nacl.signing import VerifyKey

ERASE = "org.maillage.record.erase.v1"
LARGEST, MOST_BYTES, MOST_EVENT = 2**53, 80 * 1024 * 1024, 256 * 1024
RECORD = re.compile(r"[a-z2-7]{26}:([a-z2-7]{26}:)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PATTERNS = {"id": r"[1-9]\d{0,9}-\d{16}", "source": r"urn:maillage:[a-z2-7]{26}", "sequence": r"\d{1,16}"}
TEXTS = (*PATTERNS, "specversion", "type", "subject", "time", "datacontenttype", "salt")


class Refused(Exception):
    """What was said does not prove."""


def insist(fact, why):
    if not fact:
        raise Refused(why)


@contextmanager
def reading():
    """What cannot even be read is refused as well."""
    try:
        yield
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise Refused(f"cannot be read: {error!r}") from error


def h(*parts):
    return sha256(b"".join(parts)).digest()


def unpacked(text):
    insist(re.fullmatch(r"[A-Za-z0-9_-]+", text), "no base64url")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def cursor(text):
    epoch, seq = text.split(".")
    return int(epoch), int(seq)


def within(key, at):
    """Whether a position is in the range of a key, both ends included."""
    _, start, end = key
    return cursor(start) <= at and (end is None or at <= cursor(end))


def dsse(kind, raw):
    kind, raw = f"application/vnd.maillage.{kind}+json".encode(), raw.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(raw), raw)


def verifies(kind, raw, sig, key):
    try:
        return bool(VerifyKey(key).verify(dsse(kind, raw), unpacked(sig)))
    except (BadSignatureError, ValueError):
        return False


def merged(peaks, size, leaf):
    """The peaks after one more leaf."""
    peaks = list(peaks)
    while size & 1:
        leaf, size = h(b"\1", peaks.pop(), leaf), size >> 1
    return [*peaks, leaf]


def root(peaks):
    if not peaks:
        return h()
    node, *rest = reversed(peaks)
    for peak in rest:
        node = h(b"\1", peak, node)
    return node


def state_root(latest):
    """The root over {record id: leaf of its latest event}."""
    buckets = [[] for _ in range(256)]
    for record in sorted(latest):
        name = h(record.encode())
        buckets[name[0]] += [name, latest[record]]
    return h(*(h(*bucket) for bucket in buckets))


def bucket_hash(entries):
    """The hash of a bucket of a view, given {common id: hash of its bytes}."""
    return h(*sorted(h(name.encode()) + bytes.fromhex(said) for name, said in entries.items()))


def view_root(policy, followed, buckets):
    return h(bytes.fromhex(policy), bytes.fromhex(followed), *buckets)


def followed_hash(nodes, hidden):
    return h("\n".join(sorted({*nodes, *hidden})).encode()).hex()


def no_number(text):
    raise ValueError(text)


def shallow(raw):
    """An object with null for whatever nests in it: its own attributes can be read however deep that goes."""
    kept, depth = [], 0
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^"{}\[\]]+', raw):
        opens, closes = token in ("{", "["), token in ("}", "]")
        depth -= closes
        if depth == 0 or (depth == 1 and not opens and not closes):
            kept.append(token)
        elif depth == 1 and opens:
            kept.append("null")
        depth += opens
    return "".join(kept)


def envelope(raw):
    """The attributes of an event; None where they cannot be read, which is no lie."""
    try:
        event = json.loads(raw, parse_constant=no_number) if len(raw.encode()) <= MOST_EVENT else None
    except RecursionError:
        return envelope(shallow(raw))
    except ValueError:
        return None
    if not isinstance(event, dict) or "data" not in event:
        return None
    texts = all(isinstance(event.get(name), str) for name in TEXTS)
    numbers = all(type(event.get(name)) is int and event[name] > 0 for name in ("epoch", "recordversion"))
    fits = texts and all(re.fullmatch(p, event[n], re.ASCII) for n, p in PATTERNS.items())
    return event if fits and numbers else None


class Node:
    """Who signs: a chain of descriptors, oldest first, each by the root keys of the one before."""

    @reading()
    def __init__(self, chain, node=None):
        insist(0 < len(chain) <= 1000, "no descriptor, or too many")
        self.hashes, before = [], None
        for version, one in enumerate(chain, start=1):
            now = json.loads(one["raw"])
            authority = before or now
            roots = {h(unpacked(key)).hex()[:16]: unpacked(key) for key in authority["root_keys"]}
            said = {s["kid"]: s["sig"] for s in one["signatures"]}
            good = sum(verifies("descriptor", one["raw"], said[k], roots[k]) for k in roots.keys() & said)
            insist(good >= authority["threshold"] > 0, f"descriptor {version}: too few signatures")
            insist(now["version"] == version, f"descriptor {version}: numbered otherwise")
            insist(now["prev"] == (self.hashes[-1] if before else None), f"descriptor {version}: other prev")
            told = [(e["epoch"], e["base"] is None) for e in now["epochs"]]
            insist(
                told and told == [(n, n == 1) for n in range(1, len(told) + 1)], "epochs that do not follow"
            )
            kept = authority["epochs"]
            insist(now["epochs"][: len(kept)] == kept, f"descriptor {version}: other epochs than before")
            self.hashes.append(h(one["raw"].encode()).hex())
            before = now
        self.now = now
        self.id = b32encode(h(chain[0]["raw"].encode())).decode().lower()[:26]
        insist(node in (None, self.id), f"this is node {self.id}")
        self.keys = {k["kid"]: (unpacked(k["key"]), k["from"], k["to"]) for k in now["signing_keys"]}
        insist(len(self.keys) == len(now["signing_keys"]), "a key is listed twice")
        insist(
            all(h(k).hex()[:16] == kid for kid, (k, _, _) in self.keys.items()), "a key bears another's name"
        )
        self.bases, low = {}, LARGEST
        for epoch in reversed(now["epochs"]):
            base = epoch["base"] or {"size": 0, "root": h().hex()}
            if base["size"] <= low:
                self.bases[base["size"]], low = base["root"], base["size"]

    def epoch(self, seq):
        """The epoch in which the event of this number on the current chain was written."""
        found = (e["epoch"] for e in reversed(self.now["epochs"]) if seq > (e["base"] or {"size": 0})["size"])
        return next(found)

    def signed(self, kind, one, at):
        """Refused unless a key that is valid at this position signed this."""
        key = self.keys.get(one["kid"])
        insist(key and within(key, at), f"{one['kid']} may not sign at {at}")
        insist(verifies(kind, one["raw"], one["sig"], key[0]), f"the signature at {at} does not fit")

    def checkpoint(self, one):
        said = json.loads(one["raw"])
        insist(said["node"] == self.id, "a checkpoint of another node")
        insist(said["descriptor"] in self.hashes, "a checkpoint under an unknown descriptor")
        insist(said["epoch"] in {e["epoch"] for e in self.now["epochs"]}, "a checkpoint of no epoch")
        insist(all(0 <= (said[n] or 0) <= LARGEST for n in ("n", "size", "count")), "numbers out of range")
        self.signed("checkpoint", one, (said["epoch"], said["size"]))
        return said

    def event(self, one, at):
        """The event in a line that stands at a position, None where it cannot be read."""
        self.signed("event", one, at)
        if (event := envelope(one["raw"])) is None:
            return None
        own = event["source"] == f"urn:maillage:{self.id}" and event["subject"].startswith(self.id + ":")
        insist(own and RECORD.fullmatch(event["subject"]), f"not the node's own: {event['subject']}")
        insist(event["id"] == f"{at[0]}-{at[1]:016d}", f"{event['id']} stands at {at}")
        insist((event["epoch"], int(event["sequence"])) == at, f"{event['id']} names another position")
        insist(event["recordversion"] <= LARGEST, "a version out of range")
        return event

    def erased(self, line, at):
        """The record and the leaf of a redacted line, which an event of that record further on must list."""
        insist(line.get("by"), f"nothing says why {at} is redacted")
        said = envelope(line["by"]["raw"])
        insist(said, "the erasure cannot be read")
        there = said["epoch"], int(said["sequence"])
        self.event(line["by"], there)
        insist(said["type"] == ERASE and there > at, "this erases nothing before it")
        insist(line["leaf"] in said["data"]["leaves"] and line["seq"] == at[1], f"this does not erase {at}")
        return said["subject"], bytes.fromhex(line["leaf"])


class Log:
    """How far a log is proven: its Merkle range, and the latest event of every record."""

    def __init__(self, node, size=0, peaks=(), versions=None, redacted=()):
        self.node, self.size, self.peaks = node, size, list(peaks)
        self.latest, self.versions, self.signed = {}, dict(versions or {}), 0
        # Records of which versions were passed over, whether any may have been, and whether all records are known.
        self.redacted, self.gaps, self.whole = set(redacted), False, size == 0

    @property
    def cursor(self):
        written = self.node.epoch(self.size) if self.size else 0
        return f"{max(written, self.signed)}.{self.size}"

    def _append(self, leaf):
        self.peaks, self.size = merged(self.peaks, self.size, leaf), self.size + 1
        if self.size in self.node.bases:
            insist(root(self.peaks).hex() == self.node.bases[self.size], "an epoch goes on from another log")

    def _note(self, event, leaf):
        record, version = event["subject"], event["recordversion"]
        known = self.versions.get(record, 0)
        fits = version > known if self.gaps or record in self.redacted else version == known + 1
        insist(fits, f"{record} goes from version {known} to {version}")
        self.versions[record], self.latest[record] = version, leaf

    def _line(self, line):
        at = self.node.epoch(self.size + 1), self.size + 1
        if line.get("redacted"):
            record, leaf = self.node.erased(line, at)
            self.redacted.add(record)
            self.latest[record] = leaf
            return self._append(leaf)
        event, leaf = self.node.event(line, at), h(b"\0", line["raw"].encode())
        self.gaps |= event is None
        self.whole &= event is not None
        if event is not None:
            self._note(event, leaf)
        return self._append(leaf)

    @reading()
    def page(self, body):
        """Prove a page of the feed; how many events it had."""
        *lines, last = [json.loads(line) for line in body.split("\n")[:-1]] or [{}]
        insist(
            body.endswith("\n") and "checkpoint" in last and len(lines) <= 1000,
            "the page is cut, or too long",
        )
        for line in lines:
            self._line(line)
        said = self.node.checkpoint(last["checkpoint"])
        if said["size"] == self.size:
            self._agree(said)
        return len(lines)

    def _agree(self, said):
        insist(said["log_root"] == root(self.peaks).hex(), "this is not the log that was signed")
        self.signed = said["epoch"]
        if said["state_root"] and self.whole:
            state = (state_root(self.latest).hex(), len(self.latest))
            insist(state == (said["state_root"], said["count"]), "this is not the state that was signed")

    @reading()
    def snapshot(self, body):
        """Prove a snapshot, and stand where it stands."""
        head, *lines = [json.loads(line) for line in body.split("\n")[:-1]]
        said = self.node.checkpoint(head["checkpoint"])
        self.size, self.peaks = head["size"], [bytes.fromhex(peak) for peak in head["peaks"]]
        insist(
            (head["epoch"], head["size"]) == (said["epoch"], said["size"]), "another moment than was signed"
        )
        insist(len(self.peaks) == self.size.bit_count() and said["state_root"], "this proves no snapshot")
        last = ""
        for line in lines:
            epoch, seq = map(int, envelope(line["raw"])["id"].split("-"))
            insist(
                0 < seq <= self.size and epoch == self.node.epoch(seq),
                f"{epoch}-{seq} is not before {self.size}",
            )
            event = self.node.event(line, (epoch, seq))
            insist(event and event["subject"] > last, f"not in order at {epoch}.{seq}")
            last = event["subject"]
            self.versions[last], self.latest[last] = event["recordversion"], h(b"\0", line["raw"].encode())
        self._agree(said)


class Still(HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def get(url):
    """The text of an answer; no redirect is followed, no proxy asked."""
    with build_opener(Still, ProxyHandler({})).open(url, timeout=60) as answer:
        body = answer.read(MOST_BYTES + 1)
    insist(len(body) <= MOST_BYTES, "the answer is too long")
    with reading():
        return body.decode()


@reading()
def log(url, pinned=None):
    """Read a snapshot, then the whole log up to it, and see that both say the same."""
    node = Node([json.loads(line) for line in get(f"{url}/descriptors").splitlines()], pinned)
    snap, read = Log(node), Log(node)
    snap.snapshot(get(f"{url}/snapshot"))
    try:
        while read.size < snap.size:
            most = min(1000, snap.size - read.size)
            insist(
                read.page(get(f"{url}/feed?after={read.cursor}&limit={most}")),
                "the feed ends before the snapshot",
            )
    except HTTPError as error:
        if error.code != 410 or read.size:
            raise
        read = snap
    insist(root(read.peaks) == root(snap.peaks), "feed and snapshot are two logs")
    insist(not read.whole or read.latest == snap.latest, "feed and snapshot are two states")
    while read.page(get(f"{url}/feed?after={read.cursor}&limit=1000")):
        pass
    node.checkpoint(json.loads(get(f"{url}/checkpoint")))
    return {
        "node": node.id,
        "cursor": read.cursor,
        "log_root": root(read.peaks).hex(),
        "records": len(read.latest),
    }


@reading()
def view(url):
    """Compute the digest of a sync from its entries, and see that it is the one that it says."""
    said, hashes = json.loads(get(f"{url}/digest")), json.loads(get(f"{url}/digest/buckets"))["buckets"]
    count = 0
    for number, expected in enumerate(hashes):
        listed = json.loads(get(f"{url}/digest/buckets/{number}"))["entries"]
        insist(
            all(h(e["id"].encode())[0] == number for e in listed),
            f"bucket {number} holds what is not its own",
        )
        entries = {e["id"]: e["hash"] for e in listed}
        insist(bucket_hash(entries).hex() == expected, f"bucket {number} has other entries")
        count += len(entries)
    trust = json.loads(get(f"{url}/trust"))
    nodes = [each["node"] for each in trust["node"] if each["mode"] == "follow"]
    hidden = [each["record"] for each in trust.get("hidden", ())]
    insist(followed_hash(nodes, hidden) == said["followed"], "it follows others than it says")
    top = view_root(said["policy_id"], said["followed"], [bytes.fromhex(b) for b in hashes])
    insist(len(hashes) == 256 and (top.hex(), count) == (said["view_root"], said["count"]), "another view")
    return said


if __name__ == "__main__":
    asked = ArgumentParser(description="Prove what a node or a sync says.")
    asked.add_argument("url")
    asked.add_argument("--node", help="the id that it must have")
    asked.add_argument("--digest", action="store_true", help="prove the view of a sync too")
    given = asked.parse_args()
    try:
        print(json.dumps(log(given.url, given.node) | (view(given.url) if given.digest else {})))
    except Refused as refused:
        sys.exit(f"refused: {refused}")
