"""RFC 6962 Merkle tree, kept as its peaks: the roots of the perfect subtrees, left to right."""

from collections.abc import Iterable
from hashlib import sha256

from msgspec import Struct

EMPTY = sha256(b"").digest()


class Range(Struct, frozen=True):
    """The leaves 1..size, by the roots of their perfect subtrees."""

    size: int = 0
    peaks: tuple[bytes, ...] = ()


def leaf(raw: bytes) -> bytes:
    """The hash of one entry."""
    return sha256(b"\x00" + raw).digest()


def _parent(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def extended(tree: Range, leaves: Iterable[bytes]) -> Range:
    """The range after these leaves were appended."""
    size, peaks = tree.size, list(tree.peaks)
    for item in leaves:
        node, rest = item, size
        while rest & 1:
            node = _parent(peaks.pop(), node)
            rest >>= 1
        peaks.append(node)
        size += 1
    return Range(size=size, peaks=tuple(peaks))


def root(tree: Range) -> bytes:
    """The Merkle root of the leaves 1..size."""
    if not tree.peaks:
        return EMPTY
    node = tree.peaks[-1]
    for peak in reversed(tree.peaks[:-1]):
        node = _parent(peak, node)
    return node


def sound(tree: Range) -> bool:
    """Whether the number of peaks fits the size."""
    return tree.size >= 0 and tree.size.bit_count() == len(tree.peaks)


class State:
    """The latest leaf of every record, hashed as they come by, sorted by record id bytes.

    256 buckets by the first byte of the id's hash, each the hash of H(id) and leaf of its records.
    """

    def __init__(self) -> None:
        self._buckets = [sha256() for _ in range(256)]

    def add(self, record: str, latest: bytes) -> None:
        """Take the next record in."""
        name = sha256(record.encode()).digest()
        self._buckets[name[0]].update(name + latest)

    def root(self) -> bytes:
        """The root over all that came."""
        return sha256(b"".join(b.digest() for b in self._buckets)).digest()


def state_root(states: Iterable[tuple[str, bytes]]) -> bytes:
    """Root over the latest leaf of every record; `states` come sorted by record id bytes."""
    state = State()
    for record, latest in states:
        state.add(record, latest)
    return state.root()
