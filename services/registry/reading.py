"""Read lists as people have them: CSV of any dialect, GeoJSON, JSON Lines; a bad row stops no other."""

import codecs
import csv
import io
import re
from collections.abc import Iterator
from itertools import chain
from typing import Any, BinaryIO, Literal

import msgspec
from charset_normalizer import from_bytes
from msgspec import Raw, Struct

from services.errors import Fault, Malformed, TooLarge, Unsupported

Format = Literal["csv", "geojson", "jsonl"]

LINE_BYTES = 1024 * 1024
CELLS = 512
# A GeoJSON file is read whole, as it is no list of lines; so are lists in old encodings.
WHOLE_BYTES = 64 * 1024 * 1024
# Commas for each bracket of a list of places are a dozen; a file of bare numbers would fill the memory.
COMMAS = 256
HEAD_BYTES = 64 * 1024
DELIMITERS = (",", ";", "\t", "|")
TOO_FEW = "Only {count} cells for {limit} headings: the rest is read as empty."
TOO_WIDE = "A row has {limit} cells at most, this one {count}."
COMMA = Fault("", "The file has a comma too many before a closing bracket: it was left out.")
RECODED = "The list is not in UTF-8: it was read as {encoding}."
Records = Iterator[tuple[int, list[str] | Fault]]


class Row(Struct):
    """A row of a list: its line (in GeoJSON the number of the feature), its cells by heading.

    `raw` is the row's own JSON where the list is JSON Lines; `repairs` says what was put right to read it.
    """

    line: int
    cells: dict[str, Any]
    raw: bytes | None = None
    repairs: tuple[Fault, ...] = ()


class BadRow(Struct):
    """A row that cannot be read, and why."""

    line: int
    fault: Fault


def sniff(file: BinaryIO, name: str | None = None) -> Format:
    """What the file is, by its first bytes, then by its name; the file is left where it was.

    Raises Unsupported for what is not text (XLSX, ZIP, PDF).
    """
    start = file.tell()
    head = file.read(HEAD_BYTES)
    file.seek(start)
    if head.startswith((b"PK\x03\x04", b"%PDF", b"\xd0\xcf\x11\xe0", b"\x1f\x8b")):
        raise Unsupported("This is no text: save the list as CSV, GeoJSON or JSON Lines.")
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text.startswith(b"["):
        return "geojson"
    if not text.startswith(b"{"):
        return "csv"
    if re.match(rb'\{\s*"(type|features|crs|bbox|name)"\s*:', text) and b'"Feature' in text[:4096]:
        first, _, rest = text.partition(b"\n")
        whole = first.rstrip().endswith(b"}") and rest.lstrip().startswith(b"{")
        return "jsonl" if whole else "geojson"
    return "geojson" if (name or "").lower().endswith((".geojson", ".json")) else "jsonl"


def checked(format: str) -> Format:
    """The format that this word names; Malformed where it names none."""
    if format in ("tsv", "csv"):
        return "csv"
    if format in ("ndjson", "jsonl"):
        return "jsonl"
    if format in ("json", "geojson"):
        return "geojson"
    raise Malformed("Lists come as csv, geojson or jsonl, not {format}.", {"format": format})


def rows(file: BinaryIO, format: Format) -> Iterator[Row | BadRow]:
    """The rows of a list, one at a time; GeoJSON is read whole, the others as they come.

    Raises at the first row: Malformed where a file is no JSON, Unsupported for an unknown projection.
    """
    return READERS[format](file)


# --- CSV -------------------------------------------------------------------------------------------------


def _csv(file: BinaryIO) -> Iterator[Row | BadRow]:
    source = _Lines(file)
    first = next(source, None)
    while first is not None and (not first.strip() or SEPARATOR.match(first)):
        first = next(source, None)
    if first is None:
        return
    table = _records(csv.reader(chain([first], source), delimiter=_delimiter(first)), source)
    _, names = next(table)
    if isinstance(names, list) and len(names) > CELLS:
        names = Fault("", "A list has {limit} columns at most, this one {count}.", _count(CELLS, names))
    if isinstance(names, Fault):
        yield BadRow(source.line, names)
        return
    yield from _body(table, _headings(names), source)
    yield from source.broken()


def _body(table: Records, headings: list[str], source: "_Lines") -> Iterator[Row | BadRow]:
    told: tuple[Fault, ...] = ()
    for line, values in table:
        yield from source.broken()
        if isinstance(values, Fault):
            yield BadRow(line, values)
        elif any(values):
            repairs = source.repairs if told != source.repairs else ()
            told = source.repairs
            yield _row(line, headings, _bare(values) if source.guarded else values, repairs)


def _records(table: Iterator[list[str]], source: "_Lines") -> Records:
    while True:
        line = source.line + 1
        try:
            values = next(table)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, Fault("", "This line is no CSV: {reason}.", {"reason": str(error)})
            continue
        if source.ended:
            # The table has asked for more in the middle of a row: all lines from here on are one cell.
            yield (
                line,
                Fault("", "A quotation mark in this line is never closed: what follows it is not read."),
            )
            return
        yield line, values


def _row(line: int, headings: list[str], values: list[str], repairs: tuple[Fault, ...]) -> Row | BadRow:
    if len(values) > len(headings):
        if any(values[len(headings) :]):
            what = (
                "{count} cells where there are {limit} headings: is a separator inside a text without quotes?"
            )
            return BadRow(line, Fault("", what, _count(len(headings), values)))
        del values[len(headings) :]
    elif len(values) < len(headings):
        repairs = (*repairs, Fault("", TOO_FEW, _count(len(headings), values)))
        values.extend([""] * (len(headings) - len(values)))
    return Row(line, dict(zip(headings, values, strict=True)), repairs=repairs)


def _bare(values: list[str]) -> list[str]:
    """Cells without the apostrophe that our exports put before what a spreadsheet would run as a formula."""
    return [value[1:] if GUARD.match(value) else value for value in values]


def _count(limit: int, found: list[str]) -> dict[str, str | int | float]:
    return {"limit": limit, "count": len(found)}


def _delimiter(heading: str) -> str:
    bare = re.sub(r'"[^"]*"', "", heading)
    return max(DELIMITERS, key=bare.count)


def _headings(values: list[str]) -> list[str]:
    """Headings, each of them once: a repeated one gets `#2`, an empty one the number of its column."""
    seen: dict[str, int] = {}
    headings = []
    for number, value in enumerate(values, 1):
        heading = " ".join(value.split()) or f"colonne {number}"
        seen[heading] = seen.get(heading, 0) + 1
        headings.append(heading if seen[heading] == 1 else f"{heading}#{seen[heading]}")
    return headings


class _Lines(Iterator[str]):
    """The lines of a file as text, whatever its encoding; counts them, and keeps those that are too long."""

    def __init__(self, file: BinaryIO) -> None:
        self.line = 0
        self.ended = False
        self.repairs: tuple[Fault, ...] = ()
        self.guarded = False
        self._file = _as_utf8(file)
        self._encoding: str | None = None
        self._broken: list[BadRow] = []

    def __next__(self) -> str:
        while True:
            data = self._file.readline(LINE_BYTES)
            if not data:
                self.ended = True
                raise StopIteration
            self.line += 1
            if len(data) < LINE_BYTES or data.endswith(b"\n"):
                # PostgreSQL keeps no NUL in its texts, and no list means one.
                text = self._decoded(data.replace(b"\0", b"") if b"\0" in data else data)
                self.guarded = self.guarded or GUARDED.search(text) is not None
                return text
            self._skip()
            self._broken.append(BadRow(self.line, _too_long()))

    def broken(self) -> Iterator[BadRow]:
        """The lines that were left out since the last call."""
        found, self._broken = self._broken, []
        return iter(found)

    def _skip(self) -> None:
        while (data := self._file.readline(LINE_BYTES)) and not data.endswith(b"\n"):
            pass

    def _decoded(self, data: bytes) -> str:
        if self.line == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        try:
            return data.decode()
        except UnicodeDecodeError:
            if self._encoding is None:
                self._encoding = self._guessed(data)
                self.repairs = (Fault("", RECODED, {"encoding": self._encoding}),)
            return data.decode(self._encoding, "replace")

    def _guessed(self, data: bytes) -> str:
        """Windows-1252 unless the text only makes sense in an older encoding of the Mac or of DOS."""
        here = self._file.tell()
        sample = data + self._file.read(HEAD_BYTES)
        self._file.seek(here)
        best = from_bytes(sample, cp_isolation=["cp1252", "mac_roman", "cp850"]).best()
        return best.encoding if best else "cp1252"


def _as_utf8(file: BinaryIO) -> BinaryIO:
    """Spreadsheets save "Unicode text" as UTF-16, old Macs end lines otherwise; the rest is read as it comes."""
    start = file.tell()
    head = file.read(HEAD_BYTES)
    file.seek(start)
    if (encoding := _utf_16(head)) is not None:
        return _as_utf8(io.BytesIO(_whole(file).decode(encoding, "replace").encode("utf-8", "replace")))
    if b"\r" in head and b"\n" not in head:
        return io.BytesIO(_whole(file).replace(b"\r", b"\n"))
    return file


def _utf_16(head: bytes) -> str | None:
    """Which UTF-16 this is: by its mark, or as every second byte of Western text is 0 there."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    for encoding, zeros, letters in (
        ("utf-16-le", head[1::2], head[::2]),
        ("utf-16-be", head[::2], head[1::2]),
    ):
        if 2 * zeros.count(0) > len(zeros) and 10 * letters.count(0) < len(letters):
            return encoding
    return None


def _whole(file: BinaryIO) -> bytes:
    data = file.read(WHOLE_BYTES + 1)
    if len(data) > WHOLE_BYTES:
        raise TooLarge(
            "A list in UTF-16 or with the line ends of an old Mac may have {limit} bytes; longer ones go as UTF-8.",
            {"limit": WHOLE_BYTES},
        )
    return data


def _too_long() -> Fault:
    return Fault("", "A line holds {limit} bytes at most.", {"limit": LINE_BYTES})


# --- JSON Lines ------------------------------------------------------------------------------------------


def _jsonl(file: BinaryIO) -> Iterator[Row | BadRow]:
    source = _Lines(file)
    for text in source:
        yield from source.broken()
        stripped = text.strip()
        if not stripped:
            continue
        try:
            cells, raw, repairs = _line(stripped.encode())
        except (msgspec.DecodeError, RecursionError) as error:
            yield BadRow(source.line, Fault("", "This line is no JSON: {reason}.", {"reason": str(error)}))
            continue
        yield _object(source.line, cells, raw, repairs)
    yield from source.broken()


def _line(raw: bytes) -> tuple[Any, bytes, tuple[Fault, ...]]:
    try:
        return msgspec.json.decode(raw), raw, ()
    except msgspec.DecodeError:
        mended = _without_trailing(raw.removesuffix(b","))
        if mended == raw:
            raise
        return msgspec.json.decode(mended), mended, (COMMA,)


def _without_trailing(text: bytes) -> bytes:
    return TRAILING.sub(lambda match: match[0] if match[0] != b"," else b"", text)


def _object(line: int, cells: Any, raw: bytes | None, repairs: tuple[Fault, ...] = ()) -> Row | BadRow:
    if not isinstance(cells, dict):
        return BadRow(line, Fault("", "An object is needed here, with the names of the columns."))
    if len(cells) > CELLS:
        return BadRow(line, Fault("", TOO_WIDE, {"limit": CELLS, "count": len(cells)}))
    return Row(line, cells, raw, repairs)


# --- GeoJSON ---------------------------------------------------------------------------------------------


class _Collection(Struct):
    features: list[Raw] | None = None
    crs: Any = None
    type: str | None = None


class _Feature(Struct):
    type: str
    properties: dict[str, Any] | None = None
    geometry: Any = None
    id: str | int | float | None = None


def _geojson(file: BinaryIO) -> Iterator[Row | BadRow]:
    """Features of a collection; also a plain list of objects, as many platforms publish them."""
    text = _as_utf8(file).read(WHOLE_BYTES + 1).removeprefix(codecs.BOM_UTF8)
    if len(text) > WHOLE_BYTES:
        raise TooLarge(
            "A GeoJSON file may have {limit} bytes; longer lists go as CSV or JSON Lines.",
            {"limit": WHOLE_BYTES},
        )
    if text.count(b",") > COMMAS * (text.count(b"{") + text.count(b"[") + 1):
        raise Malformed("This file is no list of places: it has hardly any objects.")
    try:
        items, crs, repairs = _items(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed("This file is no JSON: {reason}.", {"reason": str(error)}) from None
    moved = _projection(crs)
    for number, item in enumerate(items, 1):
        try:
            yield _feature(number, item, moved, repairs)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield BadRow(number, Fault("", "This feature cannot be read: {reason}.", {"reason": str(error)}))
        repairs = ()


def _items(text: bytes) -> tuple[list[Raw], Any, tuple[Fault, ...]]:
    try:
        return *_collection(text), ()
    except msgspec.DecodeError:
        mended = _without_trailing(text)
        if mended == text:
            raise
        return *_collection(mended), (COMMA,)


def _collection(text: bytes) -> tuple[list[Raw], Any]:
    if text.lstrip().startswith(b"["):
        return msgspec.json.decode(text, type=list[Raw]), None
    found = msgspec.json.decode(text, type=_Collection)
    if found.features is None:
        return [Raw(text)], found.crs
    return found.features, found.crs


def _feature(number: int, item: Raw, moved: Any, repairs: tuple[Fault, ...]) -> Row | BadRow:
    found = msgspec.json.decode(item)
    if not (isinstance(found, dict) and found.get("type") == "Feature"):
        return _object(number, found, None, repairs)
    feature = msgspec.convert(found, _Feature)
    cells = dict(feature.properties or {})
    if feature.id is not None:
        cells.setdefault("id", feature.id)
    point, whole = _point(feature.geometry)
    if point is not None:
        x, y = moved.transform(*point) if moved is not None else point
        cells["_lon"], cells["_lat"] = x, y
    if point is not None and not whole:
        repairs = (*repairs, Fault("geometry", "The middle of a larger shape was taken as the position."))
    return _object(number, cells, None, repairs)


def _point(geometry: Any) -> tuple[tuple[float, float] | None, bool]:
    """The point of a geometry (the middle of its bounds for larger shapes), and whether it was a point."""
    if not isinstance(geometry, dict):
        return None, True
    points = list(_points(geometry.get("coordinates")))
    if not points:
        return None, True
    xs, ys = [x for x, _ in points], [y for _, y in points]
    if len(points) == 1:
        return points[0], True
    return ((min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2), False


def _points(coordinates: Any) -> Iterator[tuple[float, float]]:
    if not isinstance(coordinates, list):
        return
    if len(coordinates) >= 2 and all(isinstance(n, int | float) for n in coordinates[:2]):
        yield float(coordinates[0]), float(coordinates[1])
        return
    for inner in coordinates:
        yield from _points(inner)


def _projection(crs: Any) -> Any:
    """What moves coordinates of the file's own system to WGS 84, or None where they already are."""
    if not isinstance(crs, dict) or not isinstance(crs.get("properties"), dict):
        return None
    code = re.search(r"EPSG:+(?:[\d.]*:)?(\d{4,6})$", str(crs["properties"].get("name")))
    if code is None or code[1] == "4326":
        return None
    # Loaded only when needed: it takes 20 MB that an idle registry has no use for.
    import pyproj

    try:
        return pyproj.Transformer.from_crs(int(code[1]), 4326, always_xy=True)
    except pyproj.exceptions.CRSError:
        raise Unsupported("Nobody knows the coordinate system EPSG:{code}.", {"code": code[1]}) from None


SEPARATOR = re.compile(r"sep=.\s*\Z")
GUARDED = re.compile(r"(?:\A|[\"\n,;\t|])'[=+\-@'\t\r]")
GUARD = re.compile(r"'[=+\-@'\t\r]")
# A text that never ends is taken whole, and white space once: a broken list must not take hours to be refused.
TRAILING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|,(?=\s*+[\]}])', re.DOTALL)

READERS = {"csv": _csv, "geojson": _geojson, "jsonl": _jsonl}
