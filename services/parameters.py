"""Texts of a certain form as parameters: told to who writes a client, checked where they are read."""

from typing import Annotated

from msgspec import Meta

After = Annotated[
    str,
    Meta(
        extra_json_schema={
            "pattern": r"^(0\.0|[1-9][0-9]{0,15}\.(0|[1-9][0-9]{0,15}))$",
            "examples": ["1.42"],
        }
    ),
]
Time = Annotated[
    str,
    Meta(
        extra_json_schema={
            "anyOf": [{"format": "date-time"}, {"format": "date"}],
            "examples": ["2026-01-31", "2026-01-31T12:00:00Z"],
        }
    ),
]
