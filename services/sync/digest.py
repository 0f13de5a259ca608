"""How two syncs tell that they agree: hashes over the bytes of their views."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

BUCKETS = 256


def followed_hash(nodes: Iterable[str], hidden: Iterable[str]) -> str:
    """The hash, in hex, of the ids of followed nodes and hidden records: sorted, joined by newlines."""
    return sha256("\n".join(sorted({*nodes, *hidden})).encode()).hexdigest()


def entry(view_id: str, view_bytes: bytes) -> bytes:
    """What stands for a place in its bucket: H(common id) and H(view bytes), 64 bytes."""
    return entry_of(view_id, sha256(view_bytes).digest())


def entry_of(view_id: str, view_hash: bytes) -> bytes:
    """The entry of a place of which the hash of its bytes is known."""
    return sha256(view_id.encode()).digest() + view_hash


def bucket(view_id: str) -> int:
    """The bucket of a place: the first byte of H(common id)."""
    return sha256(view_id.encode()).digest()[0]


def bucket_hash(entries: Iterable[bytes]) -> bytes:
    """The hash of a bucket's entries, whatever order they come in; of an empty one H("")."""
    return sha256(b"".join(sorted(entries))).digest()


def view_root(policy_id: str, followed: str, buckets: Sequence[bytes]) -> bytes:
    """H(policy id, followed hash, the 256 bucket hashes); the first two are given in hex."""
    if len(buckets) != BUCKETS:
        raise ValueError(f"{BUCKETS} buckets make a root, not {len(buckets)}")
    return sha256(bytes.fromhex(policy_id) + bytes.fromhex(followed) + b"".join(buckets)).digest()
