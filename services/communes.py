"""The official geographic code: communes of today, and what their former parts and codes became.

The list is read once, at the first question, and kept as sorted lines: about 4 MB instead of 40.
"""

import gzip
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from importlib import resources
from typing import Any

from msgspec import Struct


class Commune(Struct, frozen=True):
    """A commune, arrondissement municipal, or commune déléguée or associée.

    `current` is the INSEE code of today's commune where this one is a part or a former code of it.
    """

    code: str
    name: str
    departement: str
    region: str
    current: str | None = None
    postcodes: tuple[str, ...] = ()


@lru_cache(maxsize=4096)
def commune(insee: str) -> Commune | None:
    """The commune with this INSEE code, or None: current communes first, then parts and former codes."""
    line = _line(insee)
    if line is None or len(insee) != 5:
        return None
    name, departement, postcodes, current = line
    region = _line(departement)
    return Commune(
        code=insee,
        name=name,
        departement=departement,
        region=region[1] if region else "",
        current=current or None,
        postcodes=tuple(postcodes.split(" ")) if postcodes else (),
    )


def departement_name(code: str) -> str | None:
    """The name of a département ("56" is Morbihan) or overseas collectivity, or None."""
    line = _line(code) if 2 <= len(code) <= 3 else None
    return line[0] if line else None


@cache
def postcodes() -> frozenset[str]:
    """Every postcode that some commune has; those of single firms (CEDEX) are not among them."""
    fields = (line.split(b"\t")[3] for line in _lines() if len(line.split(b"\t")[0]) == 5)
    return frozenset(code for codes in fields for code in codes.decode().split(" ") if code)


def pack(communes: Sequence[Mapping[str, Any]], departements: Sequence[Mapping[str, Any]]) -> bytes:
    """The list in the compact form that this file reads, from the npm package's JSON (see `communes.md`)."""
    rows = {d["code"]: [d["code"], d["nom"], d["region"], "", ""] for d in departements}
    for c in communes:
        if c["type"] == "commune-actuelle":
            rows[c["code"]] = [c["code"], c["nom"], c["departement"], " ".join(c.get("codesPostaux", ())), ""]
    for c in communes:
        current = c.get("chefLieu") or c.get("commune")
        if current:
            own = " ".join(c.get("codesPostaux", ())) or rows[current][3]
            rows.setdefault(c["code"], [c["code"], c["nom"], rows[current][2], own, current])
    for c in communes:
        for former in c.get("anciensCodes", ()):
            today = rows[c["code"]]
            rows.setdefault(former, [former, c["nom"], today[2], today[3], today[4] or c["code"]])
    text = "".join("\t".join(rows[code]) + "\n" for code in sorted(rows))
    return gzip.compress(text.encode(), 9, mtime=0)


def unpacked(packed: bytes) -> list[bytes]:
    """The lines of a packed list, sorted by code."""
    return gzip.decompress(packed).splitlines()


@cache
def _lines() -> list[bytes]:
    packed = resources.files("services").joinpath("communes.tsv.gz").read_bytes()
    return unpacked(packed)


def _line(code: str) -> list[str] | None:
    if not code.isascii():
        return None
    lines, start = _lines(), code.encode() + b"\t"
    at = bisect_left(lines, start)
    if at == len(lines) or not lines[at].startswith(start):
        return None
    return lines[at].decode().split("\t")[1:]
