"""How lists are written: what stands before, between and after items, and cells that no spreadsheet runs. Pure."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from msgspec import Struct

T = TypeVar("T")

FORMULA = frozenset("=+-@\t\r'")
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?\Z", re.ASCII)


class Form(Struct, Generic[T], frozen=True):
    """How a list is written: what stands before, between and after its items, and each of them."""

    start: bytes
    one: Callable[[T], bytes]
    between: bytes = b""
    end: bytes = b""

    def written(self, items: Iterable[T], *, begun: bool = False) -> Iterator[bytes]:
        """These items without start and end; `begun`: others stand before them."""
        for item in items:
            yield (self.between if begun else b"") + self.one(item)
            begun = True

    def whole(self, items: Iterable[T]) -> Iterator[bytes]:
        """A whole list."""
        yield self.start
        yield from self.written(items)
        yield self.end


def guarded(cell: str) -> str:
    """A cell that no spreadsheet runs: plain numbers pass, `=1+1` and the like get an apostrophe."""
    return "'" + cell if cell[:1] in FORMULA and not NUMBER.match(cell) else cell


def line(cells: Iterable[str]) -> bytes:
    """A line of CSV (RFC 4180) in UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue().encode()
