"""The file that holds a whole node: what its lines are, how it is written and read.

gzip-compressed NDJSON, in this order: a manifest, descriptors, keys, erasures, checkpoints, events, dropped events,
rows of tables, and an end that proves that nothing is missing.
"""

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Raw, Struct

from schemas.event import SignedText
from schemas.node import Base64Url, Hex256, Kid, Signature
from services import keyring
from services.errors import Fault, Invalid

FORMAT = 1
# A piece of an uploaded list, in hexadecimal, is the longest line.
MOST_LINE = 64 * 1024 * 1024
DAMAGED = (OSError, EOFError, zlib.error)


class _Said(Struct, frozen=True, tag_field="line"):
    """One line, which names its kind."""


class Manifest(_Said, frozen=True, tag="manifest"):
    """The first line: whose log this is and where it stood.

    `migrations`: by which scripts the tables were made. `moved`: the node was sealed, and is to go on from this file
    alone. `relayed`: up to where the broker had confirmed. `floor_peaks`: the Merkle range of what was let go.
    """

    format: int
    made_at: datetime
    moved: bool
    migrations: tuple[str, ...]
    node: str
    epoch: int
    size: int
    n: int
    kid: Kid
    floor: int
    floor_peaks: tuple[Hex256, ...]
    relayed: int
    checkpoint: SignedText


class Descriptor(_Said, frozen=True, tag="descriptor"):
    """A descriptor of the node, oldest first."""

    raw: str
    signatures: tuple[Signature, ...]


class Key(_Said, frozen=True, tag="key"):
    """A private key: the text of its file."""

    kid: Kid
    file: str


class Erasure(_Said, frozen=True, tag="erasure"):
    """An erase event by which something left, under a number of this file."""

    id: int
    record: str
    raw: str
    kid: Kid
    sig: Base64Url


class Checkpoint(_Said, frozen=True, tag="checkpoint"):
    """A checkpoint that was kept."""

    n: int
    epoch: int
    size: int
    complete: bool
    raw: str
    kid: Kid
    sig: Base64Url


class Event(_Said, frozen=True, tag="event"):
    """An event as it was signed; `time` is more exact than in its bytes."""

    raw: str
    kid: Kid
    sig: Base64Url
    time: datetime
    routing: str
    also: str | None
    author: str


class Erased(_Said, frozen=True, tag="erased"):
    """An event whose bytes are gone; `by` is the number of an erasure."""

    seq: int
    epoch: int
    record: str
    version: int
    type: str
    time: datetime
    kid: Kid
    leaf: Hex256
    routing: str
    also: str | None
    author: str
    by: int


class Dropped(_Said, frozen=True, tag="dropped"):
    """An event that an epoch cut off; without bytes where it was erased."""

    epoch: int
    seq: int
    record: str
    version: int
    type: str
    time: datetime
    raw: str
    kid: Kid
    sig: str
    leaf: Hex256
    author: str


class Row(_Said, frozen=True, tag="row"):
    """A row of one of the other tables, as PostgreSQL writes it in JSON."""

    table: str
    row: Raw


class End(_Said, frozen=True, tag="end"):
    """The last line: how many lines came before, and the SHA-256 of all their bytes."""

    count: int
    sha256: Hex256


Line = Manifest | Descriptor | Key | Erasure | Checkpoint | Event | Erased | Dropped | Row | End


class Sink:
    """A file as it is written, line by line."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0)
        self._hash, self._count = sha256(), 0

    def add(self, line: Line) -> None:
        """Write the next line."""
        text = msgspec.json.encode(line) + b"\n"
        self._zip.write(text)
        self._hash.update(text)
        self._count += 1

    def end(self) -> None:
        """Write the line that says that this is all."""
        self.add(End(count=self._count, sha256=self._hash.hexdigest()))
        self._zip.close()


class _Format(Struct, frozen=True):
    line: str
    format: int


class Source:
    """A file as it is read: the manifest at once, then the other lines. Invalid where it is damaged."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = gzip.GzipFile(fileobj=file, mode="rb")
        self._hash = sha256()
        self.at = 0
        self.manifest = self._first()

    def damaged(self, *faults: Fault) -> Invalid:
        """What to raise of the line that was read last."""
        return Invalid("The file is damaged at line {line}.", {"line": self.at}, faults=faults)

    def _text(self) -> bytes:
        self.at += 1
        try:
            text = self._zip.readline(MOST_LINE)
        except DAMAGED:
            raise self.damaged() from None
        if not text.endswith(b"\n"):
            raise Invalid("The file is cut at line {line}.", {"line": self.at})
        return text

    def _first(self) -> Manifest:
        try:
            text = self._text()
            if msgspec.json.decode(text, type=_Format).line != "manifest":
                raise Invalid
        except (Invalid, ValueError):
            raise Invalid("This is no archive of a registry.") from None
        if msgspec.json.decode(text, type=_Format).format > FORMAT:
            raise Invalid("The file was written by a newer version: install that version.")
        manifest = self._line(text)
        if not isinstance(manifest, Manifest):
            raise Invalid("This is no archive of a registry.")
        self._hash.update(text)
        return manifest

    def _line(self, text: bytes) -> Line:
        try:
            return _DECODER.decode(text)
        except ValueError:
            raise self.damaged() from None

    def lines(self) -> Iterator[Line]:
        """All lines between the manifest and the end, which is checked."""
        while True:
            text = self._text()
            line = self._line(text)
            if isinstance(line, End):
                break
            self._hash.update(text)
            yield line
        try:
            more = self._zip.read(1)
        except DAMAGED:
            more = b"?"
        if more or (line.count, line.sha256) != (self.at - 1, self._hash.hexdigest()):
            raise Invalid("The file is damaged: it is not what was written.")


_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file that is there whole or not at all, readable by its owner only: it holds keys."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    keyring.flush(path.parent)
