"""What was erased, noted beside the keys and outside every backup: a restored database must not bring it back."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from schemas.event import RECORD_ERASE
from schemas.node import Base64Url, Kid
from services import keyring, signing
from services.errors import Misconfigured
from services.ledger_repair_store import Erasure
from services.ledger_store import Entry

NAME = "erased.ndjson"


class _Line(Struct, frozen=True):
    record: str
    raw: str
    kid: Kid
    sig: Base64Url


def note(folder: Path, entries: Sequence[Entry]) -> None:
    """Note the erase events among these, on disk when this returns: called just before they are committed.

    A line whose transaction then fails names what somebody asked to erase, and is looked at only where a backup older
    than it is restored.
    """
    keep(folder, [Erasure(e.record, e.raw, e.kid, e.sig) for e in entries if e.type == RECORD_ERASE])


def keep(folder: Path, erasures: Sequence[Erasure]) -> None:
    """Note erase events that are not noted yet."""
    known = {e.raw for e in read(folder)} if erasures else set[bytes]()
    lines = [
        _Line(record=e.record, raw=e.raw.decode(), kid=e.kid, sig=signing.text(e.sig))
        for e in erasures
        if e.raw not in known
    ]
    if lines:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(folder / NAME, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(handle, "r+b") as file:
            file.seek(_whole(file))
            file.write(b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
        keyring.flush(folder)


def _whole(file: BinaryIO) -> int:
    """Where the whole lines end. A torn one was never committed: the power went while it was written."""
    return file.read().rfind(b"\n") + 1


def read(folder: Path) -> list[Erasure]:
    """All that is noted, oldest first. Misconfigured where the file is damaged."""
    path = folder / NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for number, line in enumerate(text[: text.rfind(b"\n") + 1].splitlines(), start=1):
        try:
            one = msgspec.json.decode(line, type=_Line)
            found.append(Erasure(one.record, one.raw.encode(), one.kid, signing.data(one.sig)))
        except ValueError as error:
            raise Misconfigured(
                "{path} is damaged at line {line}.", {"path": str(path), "line": number}
            ) from error
    return found
