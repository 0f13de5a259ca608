"""A second reading of the merge rules, slow and plain, that shares no code with the service.

Records are dicts `{id, version, leaf, time, place, successor, created}` with places as JSON, claims are dicts
`{claimant, a, b, verdict, statement}`.
"""

import functools
import hashlib
import itertools
import json
from datetime import datetime

PLACE = [
    "name",
    "status",
    "kind",
    "opened_on",
    "closed_on",
    "verified_by",
    "verified_on",
    "address",
    "position",
]
ABOUT = ["summary", "description", "accessibility", "surface", "operator", "origin"]
REACH = ["website", "phone", "email", "opening_hours", "opening_hours_text"]
SCALARS = PLACE + ABOUT + REACH
LISTS = ["alternate_names", "families", "types", "services", "links", "identifiers", "labels", "photos"]
TRUSTED = ["place", "network", "import", None]
SHARPNESS = ["exact", "street", "commune", "unknown", None]


def node_of(record_id):
    return record_id.split(":")[0]


def said_apart(claims, x, y):
    """The owners of x or y who keep the two apart."""
    return {
        c["claimant"]
        for c in claims
        if {c["a"], c["b"]} == {x, y}
        and x != y
        and c["verdict"] in ("distinct", "part-of")
        and c["claimant"] in (node_of(x), node_of(y))
    }


def accepted(records, claims, x, y):
    """Whether all owners of two records say that they are the same place."""
    if x == y or said_apart(claims, x, y):
        return False
    agree = {c["claimant"] for c in claims if {c["a"], c["b"]} == {x, y} and c["verdict"] == "same"}
    for one, other in ((x, y), (y, x)):
        gone = records[one]["place"] is None and records[one]["successor"] == other
        if gone and node_of(x) == node_of(y):
            agree.add(node_of(x))
    return {node_of(x), node_of(y)} <= agree


def objections(records, claims, group, other):
    """Pairs across two groups that may not be one place: (x, y, the networks that keep them apart)."""
    for x, y in itertools.product(group, other):
        if voices := said_apart(claims, x, y):
            yield x, y, voices
        both_there = records[x]["place"] is not None and records[y]["place"] is not None
        if both_there and node_of(x) == node_of(y) and not accepted(records, claims, x, y):
            yield x, y, {node_of(x)}


def unlike(records, claims, group, other, score, rules):
    """Pairs across two groups that are too unlike to be one place unasked, and the networks of both."""
    for x, y in itertools.product(group, other):
        both_there = records[x]["place"] is not None and records[y]["place"] is not None
        if both_there and not accepted(records, claims, x, y):
            points = score(*sorted((x, y)))
            if points is None or points < rules["apart"]:
                yield x, y, {node_of(x), node_of(y)}


def group_of(groups, x):
    return next(g for g in groups if x in g)


def united(groups, x, y):
    one, other = group_of(groups, x), group_of(groups, y)
    return [g for g in groups if g not in (one, other)] + [one | other]


def against(records, claims, groups, edge, score, rules):
    """Who stands between two records: (u, v, the networks that answer for it)."""
    kind, x, y = edge
    one, other = group_of(groups, x), group_of(groups, y)
    if one == other:
        return []
    found = list(objections(records, claims, one, other))
    if kind == "alike":
        ends = {node_of(x), node_of(y)}
        for u, v, networks in unlike(records, claims, one, other, score, rules):
            found.append((u, v, networks - ends or networks))
    return found


def one_part(records, claims, ids, edges, score, rules):
    """Join the records of one connected part; start again without those who split others."""
    aside = set()
    said_groups = connected(ids, [e[1:] for e in edges if e[0] == "said"])
    while True:
        groups, splitters = [frozenset([i]) for i in ids], set()
        for edge in edges:
            kind, x, y = edge
            if x in aside or y in aside:
                continue
            who = against(records, claims, groups, edge, score, rules)
            if not who:
                groups = united(groups, x, y)
                continue
            ends = {node_of(x), node_of(y)}
            if kind != "said":
                ends |= {node_of(r) for r in group_of(said_groups, x) | group_of(said_groups, y)}
            if not any(voices & ends for _, _, voices in who):
                splitters = {r for u, v, voices in who for r in (u, v) if node_of(r) in voices}
                break
        if not splitters:
            break
        aside |= splitters
    for edge in edges:
        kind, x, y = edge
        last = kind == "said" and (x in aside or y in aside)
        if last and not against(records, claims, groups, edge, score, rules):
            groups = united(groups, x, y)
    return groups


def connected(ids, pairs):
    """The parts that pairs connect."""
    left, parts = set(ids), []
    while left:
        part = {left.pop()}
        while more := {r for p in pairs if set(p) & part for r in p} - part:
            part |= more
        left -= part
        parts.append(part)
    return parts


def asks_first(record):
    return record["place"].get("kind") == "undisclosed" or record["place"].get("join") == "claims"


def candidates(records, claims, alike, score, rules):
    """The points of pairs that might be joined without the word of both owners."""
    found = {
        (x, y): points
        for (x, y), points in alike.items()
        if not asks_first(records[x]) and not asks_first(records[y]) and not said_apart(claims, x, y)
    }
    for x, y in itertools.combinations(sorted(records), 2):
        wish = {c["claimant"] for c in claims if {c["a"], c["b"]} == {x, y} and c["verdict"] == "same"}
        wish &= {node_of(x), node_of(y)}
        if (
            not wish
            or node_of(x) == node_of(y)
            or said_apart(claims, x, y)
            or accepted(records, claims, x, y)
        ):
            continue
        places = [records[r]["place"] for r in (x, y)]
        if None in places or any(p.get("kind") == "undisclosed" for p in places):
            continue
        if any(
            p.get("join") == "claims" and node_of(r) not in wish for r, p in zip((x, y), places, strict=True)
        ):
            continue
        points = score(x, y)
        if points is not None and points >= rules["propose"]:
            found[x, y] = max(points, rules["join"])
    return found


def unrivalled(found, said_groups, pair, rules):
    """Whether each of two records is the only one of its network that fits the other so well."""
    for one, other in (pair, pair[::-1]):
        for rival, points in found.items():
            if one in rival:
                third = rival[0] if rival[1] == one else rival[1]
                same_side = node_of(third) == node_of(other)
                if (
                    same_side
                    and third not in group_of(said_groups, other)
                    and points > found[pair] - rules["margin"]
                ):
                    return False
    return True


def source_of(record, records):
    """The id of the present record of another network that a record only repeats, or None."""
    other = records.get(((record["place"] or {}).get("origin") or {}).get("id"))
    if other is None or other["place"] is None or node_of(record["id"]) == node_of(other["id"]):
        return None
    if record["place"].get("kind") == "undisclosed" or asks_first(other):
        return None
    mine, theirs = heard(record, False), heard(other, False)
    if mine.get("verified_by") in ("place", "network") and "verified_on" in mine:
        if "verified_on" in theirs:
            newer = mine["verified_on"] > theirs["verified_on"]
        else:
            newer = mine["verified_on"] >= instant(other["time"]).strftime("%Y-%m-%d")
        if newer:
            return None
    return other["id"]


def copies(records, claims):
    """Pairs of a record and the one that it only repeats."""
    found = ((x, source_of(record, records)) for x, record in records.items())
    return {tuple(sorted((x, y))) for x, y in found if y is not None and not said_apart(claims, x, y)}


def keeping_secrets(records, said_groups):
    """Records that are undisclosed, or that their owners joined with one that is."""
    found = set()
    for group in (*said_groups, *({r} for r in records)):
        if any((records[r]["place"] or {}).get("kind") == "undisclosed" for r in group):
            found |= set(group)
    return found


def clusters(records, claims, alike, score, rules):
    """The set of frozensets of record ids that are one place.

    `alike` are the points of the pairs that were compared, `score(x, y)` those of any, `rules` the thresholds.
    """
    records = {r["id"]: r for r in records}
    said = sorted(p for p in itertools.combinations(sorted(records), 2) if accepted(records, claims, *p))
    said_groups = [frozenset(part) for part in connected(records, said)]
    secret = keeping_secrets(records, said_groups)
    found = candidates(records, claims, alike, score, rules)
    found = {pair: points for pair, points in found.items() if secret.isdisjoint(pair)}
    joins = [p for p in found if found[p] >= rules["join"] and p not in said]
    joins = [p for p in joins if unrivalled(found, said_groups, p, rules)]
    copied = {p for p in copies(records, claims) if secret.isdisjoint(p)} - set(said)
    edges = [("said", *p) for p in said] + [("copied", *p) for p in sorted(copied)]
    edges += [("alike", *p) for p in sorted(joins, key=lambda p: (-found[p], p)) if p not in copied]
    groups = []
    for part in connected(records, [e[1:] for e in edges]):
        groups += one_part(records, claims, part, [e for e in edges if e[1] in part], score, rules)
    for gone in sorted(records):
        home = records[gone]["successor"]
        if records[gone]["place"] is not None or home not in records or node_of(home) == node_of(gone):
            continue
        taken_back = all(records[r]["place"] is None for r in group_of(groups, gone))
        if taken_back and not against(records, claims, groups, ("said", gone, home), score, rules):
            groups = united(groups, gone, home)
    return set(groups)


def elder(records):
    """The id of the eldest record."""

    def age(r):
        uuid = r["id"].split(":")[1]
        minted = int(uuid.replace("-", "")[:12], 16)
        return (1 if minted < r["created"] else 0, uuid, r["id"])

    return sorted(records, key=age)[0]["id"]


def instant(time):
    return datetime.fromisoformat(time)


def heard(record, hidden):
    """What a record says, as it enters the choice."""
    said = {k: v for k, v in record["place"].items() if k in SCALARS + LISTS and v not in (None, "", {}, [])}
    said.setdefault("kind", "physical")
    if "position" in said:
        p = said["position"]
        lat, lon = round(p["lat"] * 10**7), round(p["lon"] * 10**7)
        said["position"] = {"lat": lat, "lon": lon, "precision": p.get("precision", "unknown")}
        if (lat, lon) == (0, 0):
            del said["position"]
    if "surface" in said:
        said["surface"] = {k: round(v * 100) for k, v in said["surface"].items()}
    if "verified_on" in said and said["verified_on"] > instant(record["time"]).strftime("%Y-%m-%d"):
        del said["verified_on"]
    if hidden:
        said.pop("position", None)
        if "address" in said:
            kept = {k: v for k, v in said["address"].items() if k not in ("street", "extra")}
            said["address"] = kept
            if not kept:
                del said["address"]
    return said


def is_valid(field, value):
    if field == "name":
        return value.strip() != ""
    if field == "website":
        return value.startswith(("http://", "https://"))
    if field == "address":
        return "00000" not in (value.get("postcode"), value.get("insee"))
    return True


def prefer(field, common_id, one, other):
    """Below zero when the voice `one` goes first."""
    (r, a), (s, b) = one, other

    def detail(said):
        place = said.get("position", {}).get("precision")
        number = said.get("address", {}).get("street", "")[:1].isdigit()
        return SHARPNESS.index(place), not number, -len(said.get("address", {}))

    def lot(record):
        return hashlib.sha256(f"{common_id}{node_of(record['id'])}".encode()).hexdigest()

    steps = [
        (not is_valid(field, a[field]), not is_valid(field, b[field])),
        (TRUSTED.index(a.get("verified_by")), TRUSTED.index(b.get("verified_by"))),
        (b.get("verified_on", ""), a.get("verified_on", "")),
    ]
    if field in ("address", "position"):
        steps.append((detail(a), detail(b)))
    elif isinstance(a[field], dict):
        steps.append((len(b[field]), len(a[field])))
    steps.append((lot(s), lot(r)))
    for mine, theirs in steps:
        if mine != theirs:
            return -1 if mine < theirs else 1
    return -1 if elder([r, s]) == r["id"] else 1


def repeating(there):
    """Ids of present records that only repeat another one of them."""
    by_id = {r["id"]: r for r in there}
    source = {x: y for x in by_id if (y := source_of(by_id[x], by_id)) is not None}
    silent = set()
    for x in source:
        path = [x]
        while path[-1] in source and source[path[-1]] not in path:
            path.append(source[path[-1]])
        if source.get(path[-1]) != x:
            silent.add(x)
    return silent


def merged(records, first=None, licenses=None):
    """`{field: (value, record that says it or None, other values best first)}` of one place.

    With the values of the network `first` before all others, or only with records under one of some licences.
    """
    there = [r for r in records if r["place"] is not None]
    hidden = any(r["place"].get("kind") == "undisclosed" for r in there)
    silent = repeating(there)
    voices = [(r, heard(r, hidden)) for r in there if r["id"] not in silent]
    if licenses is not None:
        voices = [v for v in voices if v[0]["place"].get("license") in licenses]
    common_id = elder(records)
    found = {}
    for field in SCALARS:
        field_voices = [v for v in voices if field in v[1]]
        tied_to = {"closed_on": "status", "verified_on": "verified_by"}.get(field)
        if tied_to:
            shown = found[tied_to][0] if tied_to in found else None
            field_voices = [v for v in field_voices if v[1].get(tied_to) == shown]
        field_voices.sort(key=functools.cmp_to_key(functools.partial(prefer, field, common_id)))
        leading = [v for v in field_voices if node_of(v[0]["id"]) == first]
        field_voices = leading + [v for v in field_voices if v not in leading]
        if field_voices:
            value = field_voices[0][1][field]
            others = [said[field] for _, said in field_voices[1:] if said[field] != value]
            found[field] = (value, field_voices[0][0]["id"], others)
    for field in LISTS:
        items = [i for _, said in voices for i in said.get(field, [])]
        if items:
            once = {i if isinstance(i, str) else json.dumps(i, sort_keys=True): i for i in items}
            found[field] = ([once[key] for key in sorted(once)], None, [])
    return found
