"""What this network says of how two records relate: which claims it may make, and those in force."""

from collections.abc import Sequence

import msgspec

from schemas.claim import Claim
from services.errors import Fault, Invalid
from services.postgres import Connection
from services.registry import decide, store

# Claims by the key of their pair.
InForce = dict[str, Claim]


async def check(conn: Connection, node: str, claim: Claim) -> None:
    """Invalid unless the claim is about an own place, and another record."""
    faults: list[Fault] = []
    owner, _, id = claim.a.partition(":")
    if owner != node:
        faults.append(Fault("/a", "A claim starts from a record of this network ({node}:…).", {"node": node}))
    elif id not in await store.rows(conn, [id]):
        faults.append(Fault("/a", "This network has no such place."))
    if claim.b == claim.a:
        faults.append(Fault("/b", "A claim is about two different records."))
    elif claim.b.startswith(node + ":"):
        other = claim.b.partition(":")[2]
        if other not in await store.rows(conn, [other]):
            faults.append(Fault("/b", "This network has no such place."))
    if claim.verdict == "contests" and not (claim.statement or "").strip():
        faults.append(
            Fault("/statement", "What is contested? A statement of 280 characters at most is needed.")
        )
    if faults:
        raise Invalid(faults=tuple(faults))


async def in_force(conn: Connection, pairs: Sequence[tuple[str, str]]) -> InForce:
    """What this network says of pairs of records now, by the key of each pair."""
    ids = await store.keyed(conn, "claim", [decide.pair(*each) for each in pairs])
    rows = await store.others(conn, list(ids.values()))
    said = {key: rows[id] for key, id in ids.items() if rows[id].withdrawn is None}
    return {key: msgspec.json.decode(row.body, type=Claim) for key, row in said.items()}
