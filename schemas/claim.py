"""Claims ("avis"): what a network says of how two records relate."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from schemas.place import RecordId

Verdict = Literal["same", "distinct", "part-of", "contests"]


class Claim(Struct, frozen=True, omit_defaults=True):
    """One network's verdict on a record of its own (`a`) and any record (`b`).

    `part-of`: a lies in b. `contests`: the place answers what record b says of it, in `statement`.
    """

    a: RecordId
    b: RecordId
    verdict: Verdict
    statement: Annotated[str, Meta(max_length=280)] | None = None
