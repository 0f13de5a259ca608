"""What other nodes send, before anything of it is believed: bytes that may not even be JSON. Pure."""

import re
from itertools import accumulate
from typing import TypeVar

import msgspec

from schemas.event import MAX_EVENT, MAX_VIEW_EVENT
from services import signing
from services.errors import Untrue

T = TypeVar("T")

# A little more than what people may send to a registry, whose record lies inside an event.
DEEPEST = 80
# Undecodable text is a ValueError of its own; how deep a reader can go differs between machines.
UNREADABLE = (ValueError, RecursionError)
# A text that never ends is one token too: else each quote in it would be tried as a beginning of its own.
_TEXT = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
# Brackets as the bytes 1 and -1, of which the running sum is how deep they nest.
_STEPS = bytes.maketrans(b"{[}]", b"\x01\x01\xff\xff")
_NO_BRACKETS = bytes(set(range(256)) - set(b"{[}]"))
_TOKEN = re.compile(_TEXT.pattern + rb'|[{}\[\]]|[^"{}\[\]]+', re.DOTALL)
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")


def decoded(data: bytes | str, struct: type[T], most: int | None = None) -> T:
    """The Struct in JSON of at most so many bytes from another node; Untrue where there is none."""
    text = data.encode() if isinstance(data, str) else data
    why = f"longer than {most} bytes" if most is not None and len(text) > most else flaw(text)
    if why is not None:
        raise Untrue("What the node sent cannot be read: {why}", {"why": why})
    try:
        return msgspec.json.decode(text, type=struct)
    except UNREADABLE as error:
        raise Untrue("What the node sent cannot be read: {why}", {"why": str(error)}) from error


def flaw(raw: bytes) -> str | None:
    """Why JSON is left unread although it may be well formed: a NUL (no database keeps it), or too deep.

    It must not depend on the machine: where one sync reads a record, every sync does.
    """
    if b"\\u0000" in raw and _NUL.search(raw):
        return "a NUL character"
    if raw.count(b"{") + raw.count(b"[") > DEEPEST and _depth(raw) > DEEPEST:
        return f"nested deeper than {DEEPEST} levels"
    return None


def _depth(raw: bytes) -> int:
    steps = _TEXT.sub(b"", raw).translate(_STEPS, _NO_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0)


def overlong(raw: bytes, kind: str) -> str | None:
    """Why an event of this type is left unread although it could be: no node may write one that long."""
    most = MAX_VIEW_EVENT if ".view." in kind else MAX_EVENT
    return f"longer than {most} bytes" if len(raw) > most else None


def shallow(raw: bytes) -> bytes:
    """A JSON object with null for whatever lies nested in it: what can be read of it in any case."""
    kept, depth = bytearray(), 0
    for token in _TOKEN.findall(raw):
        if token in _OPENING:
            kept += token if depth == 0 else b"null" if depth == 1 else b""
            depth += 1
        elif token in _CLOSING:
            depth -= 1
            kept += token if depth == 0 else b""
        elif depth < 2:
            kept += token
    return bytes(kept)


def unpacked(text: str) -> bytes:
    """The bytes of a base64url text; Untrue when it is not one."""
    try:
        return signing.data(text)
    except ValueError as error:
        raise Untrue("A key or a signature is not base64url.") from error
