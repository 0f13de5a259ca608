"""What schemathesis sends where the form of a parameter is more than JSON Schema can say.

Only into requests that are meant to be right: the wrong ones stay as wrong as they were made.
"""

from __future__ import annotations

import re
from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

# None leaves the parameter out: such values are known from an answer before.
SENSIBLE: dict[str, Any] = {
    "area": None,
    "bbox": [-5.0, 41.0, 10.0, 51.5],
    "bbox-crs": None,
    "datetime": "2026-01-01/..",
    "filter": "status = 'open' AND S_INTERSECTS(geometry, BBOX(-5, 41, 10, 51))",
    "filter-crs": None,
    "near": [48.11, -1.68, 20],
    "page": None,
    "properties": ["name", "status"],
    "sortby": ["-name", "updated"],
    "type": ["commun:fablab"],
    "updated": "2026-01-01T00:00:00Z",
    "verified": "2026-01-01/..",
    "voice": None,
}


ITEMS = "/collections/places/items"
CLAMPED = range(1, 10_001)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """All cases but those of a whole `limit` beyond its bounds: that is clamped, and no mistake."""
    limit = str((case.query or {}).get("limit", ""))
    if case.operation.path != ITEMS or re.fullmatch("-?[0-9]+", limit) is None:
        return True
    return int(limit) in CLAMPED


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Give the parameters of a right request values that can be meant."""
    query = case.query or {}
    if case.method.upper() != case.operation.method.upper():
        # Asked for the method alone; an address with all that can be asked is longer than addresses may be.
        query.clear()
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    if "as_of" in query:
        # Of the past only what was shown is known.
        for name in ("voice", "license"):
            query.pop(name, None)
    for name in SENSIBLE.keys() & query.keys():
        if SENSIBLE[name] is None:
            del query[name]
        else:
            value = SENSIBLE[name]
            query[name] = ",".join(map(str, value)) if isinstance(value, list) else value
