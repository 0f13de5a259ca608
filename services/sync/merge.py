"""Many records become one place of the common view, the same on every machine: pure.

No clock, no order of arrival, no locale and no float: equal members, claims and policy give equal bytes.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from schemas.place import Address, Place
from schemas.view import Dispute, Field, Traits, View, Voice
from services.places import departement
from services.sync import copies, fields
from services.sync.clusters import Cluster, Clustering, clusters, latest
from services.sync.digest import bucket, bucket_hash, entry, followed_hash, view_root
from services.sync.linking import Scores
from services.sync.pairing import all_alike
from services.sync.policy import POLICY, Policy, policy_id
from services.sync.profiles import profile
from services.sync.records import Pair, Record, Said, age, by_record, common_id, owner, paired

__all__ = (
    "POLICY",
    "Policy",
    "Reading",
    "Record",
    "Said",
    "Scores",
    "batch",
    "bucket",
    "bucket_hash",
    "changed",
    "clusters",
    "common_id",
    "differences",
    "entry",
    "followed_hash",
    "merged",
    "policy_id",
    "public",
    "traits",
    "view_bytes",
    "view_root",
)

LONG_AGO = "1970-01-01T00:00:00Z"
DEGREES = 10**7
SQUARE_METRES = 100
# No licence is written like this.
UNKNOWN = "?"


class Reading(Struct, frozen=True):
    """How a reader asks to see a place: whose values come first, and under which licences (all of them)."""

    voice: str | None = None
    licenses: frozenset[str] | None = None

    def admits(self, record: Record) -> bool:
        """Whether a record may be shown."""
        return self.licenses is None or (record.place is not None and record.place.license in self.licenses)


WHOLE = Reading()


def batch(records: Iterable[Record], claims: Sequence[Said], policy: Policy = POLICY) -> Clustering:
    """The clusters of all records there are, from scratch; of one id the latest record counts."""
    known = latest(records)
    profiles = {id: profile(id, r.place, policy) for id, r in known.items() if r.place is not None}
    alike = all_alike(profiles, claims, policy)
    scores = Scores(known, {pair: score.points for pair, score in alike.items()}, policy)
    return clusters(known.values(), claims, scores)


def views(found: Iterable[Cluster], claims: Iterable[Said], policy: Policy = POLICY) -> dict[str, View]:
    """The places that clusters are, by common id."""
    said = by_record(claims)
    places = (merged(members, {s for r in members for s in said[r.id]}, policy) for members in found)
    return {view.id: view for view in places if view is not None}


def merged(
    members: Sequence[Record], claims: Iterable[Said], policy: Policy = POLICY, reading: Reading = WHOLE
) -> View | None:
    """The place that some records are together, or None where none of them is there, or may be shown.

    `members` is one of `clusters`; of `claims` those that name a member are looked at. A copy gives no value, and
    an undisclosed record hides, whatever licences are asked for.
    """
    elders = sorted(members, key=age)
    present = [record for record in elders if record.place is not None]
    copied = copies.originals(present)
    shown = [record for record in elders if reading.admits(record)]
    speaking = [record for record in shown if record.place is not None and record.id not in copied]
    if not speaking:
        return None
    view_id, ids = elders[0].id, {record.id for record in elders}
    within = [said for said in claims if said.a in ids or said.b in ids]
    mine = {record.id for record in shown}
    voices = _voices(speaking, hides(present), view_id, policy)
    return View(
        id=view_id,
        aliases=tuple(sorted(ids)),
        networks=tuple(sorted({owner(record.id) for record in shown if record.place is not None})),
        updated=_updated(shown),
        fields=_fields(voices, policy, reading.voice),
        records=tuple(_voice(record, copied) for record in sorted(shown, key=_record_id)),
        disputes=tuple(d for d in _disputes(ids, within) if reading.licenses is None or d.a in mine),
        part_of=tuple(sorted({s.b for s in within if s.verdict == "part-of" and _speaks(s) and s.a in mine})),
    )


def view_bytes(view: View) -> bytes:
    """Canonical JSON (RFC 8785) of a view: what syncs compare."""
    # Keys are ASCII and numbers are integers, for which this is RFC 8785, and much faster than `jcs`.
    return msgspec.json.encode(view, order="sorted")


def public(view: View) -> dict[str, Any]:
    """The merged place as people read it: coordinates in degrees, surfaces in square metres."""
    shown = {name: field.value for name, field in view.fields.items() if field.value is not None}
    if position := shown.get("position"):
        degrees = {"lat": position["lat"] / DEGREES, "lon": position["lon"] / DEGREES}
        shown["position"] = {**degrees, "precision": position["precision"]}
    if surface := shown.get("surface"):
        shown["surface"] = {name: value / SQUARE_METRES for name, value in surface.items()}
    return shown


def changed(before: View | None, after: View, policy: Policy) -> dict[str, dict[str, Any]]:
    """What shown values became: `{field: {before, after}}`, null for a field that is not there.

    Of a place that is hidden now, where it was is not told either.
    """
    was = {} if before is None else public(before)
    return differences(fields.veiled(was, policy) if hidden(after) else was, public(after))


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What the fields of one place, as people read it, became in another."""
    return {
        name: {"before": old.get(name), "after": new.get(name)}
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
    }


def traits(view: View) -> Traits:
    """The attributes of a place by which changes are filtered."""
    shown = {name: field.value for name, field in view.fields.items()}
    address, position = shown.get("address") or {}, shown.get("position")
    located = Place(name="", status="open", address=Address(**address))
    return Traits(
        networks=view.networks,
        families=tuple(shown.get("families", ())),
        types=tuple(shown.get("types", ())),
        labels=tuple(sorted({label["code"] for label in shown.get("labels", ())})),
        status=shown["status"],
        departement=departement(located),
        insee=address.get("insee"),
        lat=position["lat"] / DEGREES if position else None,
        lon=position["lon"] / DEGREES if position else None,
    )


def hides(members: Iterable[Record]) -> bool:
    """Whether one of the records asks that nobody be told where the place is, below its commune."""
    return any(record.place is not None and record.place.kind == "undisclosed" for record in members)


def hidden(view: View) -> bool:
    """Whether nobody is told where the place is, below its commune."""
    kind = view.fields.get("kind")
    return kind is not None and "undisclosed" in (kind.value, *(other.value for other in kind.alternatives))


def licenses(view: View) -> tuple[str, ...]:
    """The licences of the records that give it values, sorted; `UNKNOWN` among them where one of those has none."""
    voices = sum(not voice.withdrawn and voice.copy_of is None for voice in view.records)
    found = view.fields.get("license")
    if found is not None and found.value is not None:
        return (found.value,)
    known = [other.value for other in found.alternatives] if found is not None else []
    return tuple(sorted({*known, *((UNKNOWN,) if len(known) < voices else ())}))


def _voices(speaking: Sequence[Record], hidden: bool, view_id: str, policy: Policy) -> list[fields.Voice]:
    """What records say, elder first; of a `hidden` place nothing below its commune."""
    voices = []
    for elder, record in enumerate(speaking):
        said = fields.stated(record, policy)
        shown = fields.veiled(said, policy) if hidden else said
        voices.append(fields.voice(record, shown, elder, view_id, policy))
    return voices


def _fields(voices: Sequence[fields.Voice], policy: Policy, first: str | None) -> dict[str, Field]:
    """The merged fields; what the network `first` says, goes first."""
    found: dict[str, Field] = {}
    for name in policy.single:
        lead = policy.with_field.get(name)
        heard = voices if lead is None else [v for v in voices if v.stated.get(lead) == _value(found, lead)]
        _keep(found, name, fields.single(name, heard, first))
    for name in policy.lists:
        _keep(found, name, fields.union(name, voices))
    for name in policy.common:
        _keep(found, name, fields.common(name, voices))
    _keep(found, "disputed_status", _disputed_status(found, voices))
    return found


def _keep(found: dict[str, Field], name: str, field: Field | None) -> None:
    if field is not None:
        found[name] = field


def _value(found: Mapping[str, Field], name: str) -> Any:
    return found[name].value if name in found else None


def _disputed_status(found: Mapping[str, Field], voices: Sequence[fields.Voice]) -> Field | None:
    """A flag where some say that the place is closed, and the voice that is shown does not."""
    closing = sorted({owner(v.record.id) for v in voices if v.stated.get("status") == "closed"})
    if not closing or found["status"].value == "closed":
        return None
    return Field(True, None, None, None, "some-say-closed", (), (("closed", tuple(closing)),))


def _disputes(ids: set[str], claims: Sequence[Said]) -> tuple[Dispute, ...]:
    """What owners say of pairs where their voices contradict each other, and one answer of each to a voice."""
    by_pair: dict[Pair, set[Said]] = {}
    for said in claims:
        if said.claimant in (owner(said.a), owner(said.b)) and said.a != said.b:
            by_pair.setdefault(paired(said.a, said.b), set()).add(said)
    found = sorted(
        (said for pair, voices in by_pair.items() for said in _contradicting(pair, voices, ids)), key=_said
    )
    answers = {(s.claimant, s.b): s for s in reversed(found) if s.verdict == "contests"}
    told = (s for s in found if s.verdict != "contests" or s is answers[s.claimant, s.b])
    return tuple(Dispute(s.a, s.b, s.claimant, s.verdict, s.statement) for s in told)


def _contradicting(pair: Pair, voices: set[Said], ids: set[str]) -> Iterator[Said]:
    same = {s.claimant for s in voices if s.verdict == "same"}
    apart = any(s.verdict in ("distinct", "part-of") for s in voices)
    kept_out = same == {owner(pair[0]), owner(pair[1])} and not ids.issuperset(pair)
    for said in voices:
        if said.verdict == "contests":
            if _speaks(said):
                yield said
        elif same and (apart or kept_out):
            yield said


def _speaks(said: Said) -> bool:
    """Whether a claim starts from a record of the network that makes it."""
    return said.claimant == owner(said.a)


def _said(said: Said) -> tuple[str, ...]:
    return said.a, said.b, said.claimant, said.verdict, said.statement or ""


def _record_id(record: Record) -> str:
    return record.id


def _voice(record: Record, copied: Mapping[str, str]) -> Voice:
    gone, original = record.place is None, copied.get(record.id)
    return Voice(record.id, owner(record.id), record.version, record.leaf, gone, original)


def _updated(members: Sequence[Record]) -> str:
    """The greatest time of the members' events, as its network wrote it."""
    times = [(known, record.time) for record in members if (known := fields.moment(record.time)) is not None]
    return max(times)[1] if times else LONG_AGO
