"""A node that writes whatever a test vector needs: fixed keys, fixed time, the same bytes at every run."""

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec

from schemas import event as events
from schemas.place import Place
from services import identity, merkle, signing
from services.merkle import Range
from services.signing import Signer

CREATED = "2026-01-01T00:00:00.000Z"
Json = dict[str, Any]


def seed(name: str) -> bytes:
    """The seed of a key: these keys are public, and sign vectors only."""
    return sha256(f"maillage vectors {name}".encode()).digest()


def key(name: str) -> Signer:
    """The key of a name."""
    return signing.signer(seed(name))


def shown(name: str) -> Json:
    """A key as the vectors show it, its secret included."""
    found = key(name)
    return {"seed": seed(name).hex(), "public": signing.text(found.public), "kid": found.kid}


def record_id(node: str, number: int) -> str:
    """The id of a node's record of this number."""
    return f"{node}:019b7000-0000-7000-8000-{number:012x}"


def sealed(signer: Signer, kind: str, content: Mapping[str, Any] | bytes) -> Json:
    """Bytes, or an object written as JSON, as they are served: with their signature."""
    raw = content if isinstance(content, bytes) else msgspec.json.encode(content)
    return {"raw": raw.decode(), "kid": signer.kid, "sig": signing.text(signer.sign(kind, raw))}


def place(name: str, **other: Any) -> Json:
    """The data of a place."""
    said = {"name": name, "status": "open", "address": {"postcode": "35000", "city": "Rennes"}, **other}
    built: Json = msgspec.json.decode(
        msgspec.json.encode(msgspec.json.decode(msgspec.json.encode(said), type=Place))
    )
    return built


class Author:
    """A node that writes: its chain of descriptors, and one chain of its log."""

    def __init__(self, name: str, *, roots: int = 1, threshold: int = 1, **about: Any) -> None:
        self.name = name
        self.roots = [f"{name} root {number}" for number in range(1, roots + 1)]
        self.online = f"{name} online 1"
        self.chain: list[Json] = []
        self.n = 0
        self.said: Json = {
            "v": 1, "version": 1, "prev": None, "created": CREATED, "slug": name, "name": f"Réseau {name}",
            "license": "etalab-2.0", "contact": f"contact@{name}.example", "url": f"https://{name}.example",
            "amqp": None, "root_keys": [shown(root)["public"] for root in self.roots], "threshold": threshold,
            "signing_keys": [self.range(self.online, "1.0")],
            "epochs": [{"epoch": 1, "base": None, "reason": "genesis"}], "heartbeat_s": 60,
            "emits": list(events.REGISTRY_EMITS), "peers": [],
        }  # fmt: skip
        self.describe(by=self.roots[:threshold], **about)
        self.node = signing.node_id(self.chain[0]["raw"].encode())
        self.lines: list[Json] = []
        self.versions: dict[str, int] = {}

    @staticmethod
    def range(name: str, start: str, end: str | None = None) -> Json:
        """A signing key and the positions at which it is valid."""
        return {"kid": shown(name)["kid"], "key": shown(name)["public"], "from": start, "to": end}

    def next(self, by: Sequence[str], **changes: Any) -> Json:
        """What a next descriptor would be."""
        follows = {"version": len(self.chain) + 1, "prev": self.hash} if self.chain else {}
        return self.approved({**self.said, **follows, **changes}, by)

    @staticmethod
    def approved(content: Json, by: Sequence[str]) -> Json:
        """A descriptor signed by these root keys."""
        return msgspec.to_builtins(identity.signed(msgspec.json.encode(content), [key(name) for name in by]))

    def describe(self, *, by: Sequence[str] | None = None, **changes: Any) -> None:
        """Publish the next descriptor."""
        self.chain.append(self.next(self.roots if by is None else by, **changes))
        self.said = msgspec.json.decode(self.chain[-1]["raw"])

    @property
    def hash(self) -> str:
        """The hash of the descriptor in force."""
        return sha256(self.chain[-1]["raw"].encode()).hexdigest()

    @property
    def epoch(self) -> int:
        """The epoch in which is written now."""
        return int(self.said["epochs"][-1]["epoch"])

    @property
    def tree(self) -> Range:
        """The Merkle range over the chain."""
        return merkle.extended(Range(), self.leaves())

    def leaves(self) -> list[bytes]:
        """The leaves of the chain."""
        return [merkle.leaf(line["raw"].encode()) for line in self.lines]

    def raw(self, number: int, data: Mapping[str, Any], type: str = events.PLACE_PUT, **other: Any) -> bytes:
        """The next event as bytes: of the record of this number, except for what is named."""
        seq = other.pop("seq", len(self.lines) + 1)
        epoch = other.pop("epoch", self.epoch)
        subject = other.pop("subject", None) or record_id(self.node, number)
        version = other.pop("recordversion", self.versions.get(subject, 0) + 1)
        self.versions[subject] = version
        salt = sha256(f"salt {self.name} {epoch} {seq}".encode()).digest()[:16]
        return msgspec.json.encode(
            {
                "specversion": "1.0",
                "id": f"{epoch}-{seq:016d}",
                "source": f"urn:maillage:{self.node}",
                "type": type,
                "subject": subject,
                "time": f"2026-01-02T09:00:{seq % 60:02d}.000Z",
                "datacontenttype": "application/json",
                "sequence": f"{seq:016d}",
                "epoch": epoch,
                "recordversion": version,
                "salt": signing.text(salt),
                "data": data,
                **other,
            }
        )

    def write(self, number: int, data: Mapping[str, Any], *args: Any, **other: Any) -> Json:
        """Write the next event; its line."""
        return self.put(self.raw(number, data, *args, **other))

    def put(self, raw: bytes) -> Json:
        """Write these bytes as the next event; its line."""
        self.lines.append(sealed(key(self.online), signing.EVENT, raw))
        return self.lines[-1]

    def cut(self, size: int, **base: str) -> None:
        """Open an epoch: the chain goes on after so many events."""
        self.lines = self.lines[:size]
        base = {"size": size, "root": merkle.root(self.tree).hex(), **base}
        opened = {"epoch": self.epoch + 1, "base": base, "reason": "restored"}
        found = [msgspec.json.decode(line["raw"]) for line in self.lines]
        self.versions = {each["subject"]: each["recordversion"] for each in found}
        self.describe(epochs=[*self.said["epochs"], opened])

    def places(self, *numbers: int) -> None:
        """Write a place each."""
        for number in numbers:
            self.write(number, place(f"Lieu n° {number}"))

    def latest(self, size: int | None = None) -> list[tuple[str, Json]]:
        """The latest line of every record that can be read, by record id."""
        found = {}
        for line in self.lines[:size]:
            try:
                found[str(msgspec.json.decode(line["raw"])["subject"])] = line
            except msgspec.DecodeError:
                continue
        return sorted(found.items())

    def checkpoint(self, *, full: bool = True, size: int | None = None, by: str = "", **other: Any) -> Json:
        """The next checkpoint, over the first `size` events."""
        self.n += 1
        leaves = self.leaves()[:size]
        latest = [(record, merkle.leaf(line["raw"].encode())) for record, line in self.latest(size)]
        content = {
            "v": 1,
            "node": self.node,
            "n": self.n,
            "epoch": self.epoch,
            "size": len(leaves),
            "log_root": merkle.root(merkle.extended(Range(), leaves)).hex(),
            "descriptor": self.hash,
            "state_root": merkle.state_root(latest).hex() if full else None,
            "count": len(latest) if full else None,
            "at": CREATED,
            **other,
        }
        return sealed(key(by or self.online), signing.CHECKPOINT, content)

    def snapshot(self, lines: Sequence[Json] | None = None, **other: Any) -> list[Json]:
        """The lines of a snapshot."""
        close = self.checkpoint(**other)
        said = msgspec.json.decode(close["raw"])
        peaks = [peak.hex() for peak in self.tree.peaks]
        head = {name: said[name] for name in ("epoch", "size", "log_root", "descriptor")}
        latest = [line for _, line in self.latest()] if lines is None else lines
        return [{**head, "peaks": peaks, "checkpoint": close}, *latest]
