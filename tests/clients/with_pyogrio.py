"""What pyogrio reads: run as a program, as it keeps its whole process waiting for an answer.

`python -m tests.clients.with_pyogrio <source> <questions>`: the questions are a list of arguments of `pyogrio.raw.read`
as JSON; for each a list of `[id, name, longitude and latitude or null]` is printed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import pyogrio
import shapely


def rows(source: str, asked: dict[str, Any]) -> list[list[Any]]:
    """The places that a source gives when it is asked so."""
    box = {"bbox": tuple(asked["bbox"])} if "bbox" in asked else {}
    about, _, geometry, values = pyogrio.raw.read(source, columns=["id", "name"], **{**asked, **box})
    columns = dict(zip(about["fields"], values, strict=True))
    return [
        [id, name, place(each)]
        for id, name, each in zip(columns["id"], columns["name"], geometry, strict=True)
    ]


def place(geometry: bytes | None) -> list[float] | None:
    """Where a point is; None for none."""
    point = shapely.from_wkb(geometry)
    return None if point is None or point.is_empty else [point.x, point.y]


if __name__ == "__main__":
    print(json.dumps([rows(sys.argv[1], asked) for asked in json.loads(sys.argv[2])]))
