"""From the row of anybody's list to a place: which column is what, and what is put right on the way.

A row that can be repaired goes in, and its repairs are reported; one that cannot is refused with the reasons.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Mapping as Cells
from datetime import date
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Raw, Struct, ValidationError
from msgspec.structs import replace

from schemas.place import Place
from schemas.vocabulary import LANDMARKS
from services.canonical import fold
from services.errors import Fault, Invalid, Malformed
from services.places import Checked, are_hours, check, e164, tidy_name
from services.registry import cleaning
from services.registry.cleaning import plain, words
from services.registry.headings import CODES, COLUMNS, ENGLISH, FRENCH, TARGETS, code, key
from services.registry.reading import Row
from services.strict import decode_strict

# A column of the network's own: kept in the record under the namespace of the import.
OWN = "extensions.*"
IGNORED = ""


class Mapping(Struct, frozen=True):
    """Where each column goes: `name`, `address.postcode`, `identifiers.siret`, `extensions.*`, "" (nowhere).

    `extensions.*` keeps a column as a field of one's own under the namespace of the import.
    """

    fields: dict[str, str]


class Source(Struct, frozen=True):
    """Where a list comes from: the system's name, its licence if known, the day, the words' namespace."""

    system: str
    license: str | None
    today: date
    namespace: str


class Drafted(Struct):
    """What became of a row: a place, or the faults for which it is refused.

    `key` finds the same row again in a later version of the list, "" where nothing does; `record` is the own
    id of a record out of an export, `version` the one that it had then. `repairs` says what was put right or
    left out, `warnings` what is kept though doubtful.
    """

    line: int
    key: str = ""
    place: Place | None = None
    repairs: tuple[Fault, ...] = ()
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()
    record: str | None = None
    version: int | None = None

    @property
    def named(self) -> bool:
        """Whether `key` or `record` is what the list itself calls the row, and not a guess from what it says."""
        return self.record is not None or (not self.key.startswith(GUESSED) and self.key != "")


class Exported(Struct):
    """A line of our NDJSON export."""

    place: Place
    id: str | None = None
    version: int | None = None
    cursor: str | None = None
    updated_at: str | None = None


# --- guessing --------------------------------------------------------------------------------------------


def guess(columns: Sequence[str], samples: Sequence[Cells[str, Any]] = ()) -> Mapping:
    """Which column is what, by its heading and by what stands in the rows of `samples`.

    Of two columns for one field the better known heading wins; what nobody knows is kept as one's own field.
    """
    own = _own_form(columns)
    if own is not None:
        return Mapping(own)
    fields = dict.fromkeys(columns, OWN)
    taken: set[str] = set()
    for column, target in _candidates(columns):
        values = [row[column] for row in samples if row.get(column) not in (None, "")]
        if target == "origin.id" and values and all(RECORD.match(str(value)) for value in values):
            target = "record.id"
        if target not in taken and _fits(target, values):
            taken.add(target)
            fields[column] = target
    if "position.lat" in taken and "position.lon" in taken:
        fields = {c: OWN if target == "position" else target for c, target in fields.items()}
    if "record.id" in taken:
        fields |= {c: IGNORED for c in columns if fields[c] == OWN and key(c) in OF_RECORDS}
    return Mapping(_turned(fields, samples))


def _own_form(columns: Sequence[str]) -> dict[str, str] | None:
    here = set(columns)
    if here == set(FRENCH.values()):
        return {heading: target for target, heading in FRENCH.items()}
    english = {name: target for target, name in ENGLISH.items() if not target.startswith("position.l")}
    english |= {"_lat": "position.lat", "_lon": "position.lon"}
    if not set(english) - {"_lat", "_lon"} <= here <= set(english):
        return None
    return {column: english[column] for column in columns}


def _candidates(columns: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Columns whose heading is known, the surest first; the geometry goes before columns of coordinates."""
    known = [(*TARGETS[key(c)], c) for c in columns if key(c) in TARGETS]
    for _, target, column in sorted(known, key=lambda k: (k[0], not k[2].startswith("_"))):
        yield column, target


def _fits(target: str, values: Sequence[Any]) -> bool:
    """Whether at least half of the values are what the field takes."""
    if target in CODES:
        known = [code(target, value) for value in values]
    elif target in FITTING:
        known = [FITTING[target](value) for value in values]
    else:
        return True
    return 2 * sum(map(bool, known)) >= len(values)


def _turned(fields: dict[str, str], samples: Sequence[Cells[str, Any]]) -> dict[str, str]:
    """The same fields with latitude and longitude exchanged where the values say so (latitude in X)."""
    by_target = {target: column for column, target in fields.items()}
    north, east = by_target.get("position.lat"), by_target.get("position.lon")
    if north is None or east is None:
        return fields
    straight = turned = 0
    for row in samples:
        lat, lon = cleaning.number(row.get(north) or ""), cleaning.number(row.get(east) or "")
        if lat is not None and lon is not None:
            straight += cleaning.in_france(lat, lon) or cleaning.is_lambert(lon, lat)
            turned += cleaning.in_france(lon, lat) or cleaning.is_lambert(lat, lon)
    return fields | {north: "position.lon", east: "position.lat"} if turned > straight else fields


# --- drafting --------------------------------------------------------------------------------------------


class _Draft:
    """A place in the making: the tree of its fields, and what was noted on the way."""

    __slots__ = ("own", "plan", "record", "repairs", "tree", "version")

    def __init__(self, plan: "_Plan") -> None:
        self.plan = plan
        self.tree: dict[str, Any] = {}
        self.own: dict[str, Any] = {}
        self.record: str | None = None
        self.version: int | None = None
        self.repairs: list[Fault] = []

    def note(self, repair: Fault) -> None:
        self.repairs.append(repair)

    def group(self, name: str) -> dict[str, Any]:
        tree = self.tree
        if not name:
            return tree
        found: dict[str, Any] = tree.get(name) or tree.setdefault(name, {})
        return found

    def add(self, name: str, items: Iterable[Any]) -> None:
        self.tree.setdefault(name, []).extend(items)


Step = Callable[[Any, _Draft, str], None]


class _Plan(Struct, frozen=True):
    """A mapping made ready: one step for each column, and the columns by what they fill."""

    source: Source
    steps: tuple[tuple[str, Step], ...]
    own: tuple[str, ...]
    known: frozenset[str]
    columns: dict[str, str]
    exact: tuple[tuple[str, str], ...]


def compiled(mapping: Mapping, source: Source) -> Callable[[Row], Drafted]:
    """What makes a place of each row; made ready once for all rows of a list."""
    plan = _plan(tuple(mapping.fields.items()), source)
    return lambda row: _drafted(row, plan)


def drafted(row: Row, mapping: Mapping, source: Source) -> Drafted:
    """What becomes of one row."""
    return _drafted(row, _plan(tuple(mapping.fields.items()), source))


def is_target(target: str) -> bool:
    """Whether a column can go there: a field, `identifiers.<scheme>`, `links.<rel>`, `extensions.<namespace>`."""
    group, _, part = target.partition(".")
    if group in ("identifiers", "links", "extensions") and part:
        return target == OWN or NAMED.match(part) is not None
    return target in (IGNORED, "position") or target in FRENCH


@lru_cache(maxsize=16)
def _plan(fields: tuple[tuple[str, str], ...], source: Source) -> _Plan:
    # The cells of our own exports are written without loss, and read so.
    exact = _own_form([column for column, _ in fields]) == dict(fields)
    known = dict(fields)
    if "position.lat" not in known.values() and "position" not in known.values():
        # The first features of a list may lie nowhere, and its mapping was guessed from them.
        known = {"_lat": "position.lat", "_lon": "position.lon"} | known
    own = tuple(column for column, target in fields if target == OWN or not is_target(target))
    return _Plan(
        source=source,
        steps=tuple((c, _step(target)) for c, target in known.items() if target and c not in own),
        own=own,
        known=frozenset(known),
        columns={_pointer(target): column for column, target in reversed(known.items()) if target},
        exact=tuple(known.items()) if exact else (),
    )


def _pointer(target: str) -> str:
    group, _, field = target.partition(".")
    return f"/{group}/{field}" if field and group not in LISTS else f"/{group}"


def _drafted(row: Row, plan: _Plan) -> Drafted:
    if _placelike(row):
        return _given(row, plan)
    if plan.exact:
        found = _exactly(row, plan)
        if found is not None:
            return found
    draft = _Draft(plan)
    draft.repairs.extend(row.repairs)
    cells = row.cells
    for column, step in plan.steps:
        value = cells.get(column)
        if value is not None and value != "" and not cleaning.is_placeholder(value):
            step(value, draft, column)
    own = plan.own if cells.keys() <= plan.known else (*plan.own, *(c for c in cells if c not in plan.known))
    draft.own |= {column: cells[column] for column in own if cells.get(column) not in (None, "")}
    for settle in SETTLING:
        settle(draft)
    return _built(row, draft)


def _built(row: Row, draft: _Draft) -> Drafted:
    """The place of a draft; what its shape does not take is left out and noted, one thing after the other."""
    tree = draft.tree
    for _ in range(ATTEMPTS):
        try:
            place = msgspec.convert(tree, Place)
        except ValidationError as error:
            fault = _left_out(error, draft)
            if fault is not None:
                return _refused(row, draft, fault)
            continue
        return _checked(row, place, draft)
    return _refused(row, draft, Fault("", "Too much of this row is wrong."))


def _refused(row: Row, draft: _Draft, fault: Fault) -> Drafted:
    # The key all the same: a place whose row became unreadable has not left the list.
    origin = draft.tree.get("origin")
    key = _of_origin(origin["system"], origin["id"]) if origin else ""
    return Drafted(row.line, key, None, tuple(draft.repairs), (fault,), (), draft.record, draft.version)


def _left_out(error: ValidationError, draft: _Draft) -> Fault | None:
    """Takes out of the draft what the error is about; a Fault where it cannot go without it."""
    path = [step.strip("[]") for step in STEPS.findall(str(error).partition(" - at `$")[2])]
    if not path or path[0] in ("name", "status"):
        column = draft.plan.columns.get("/name", "name")
        return Fault(column, "A name of 1 to 200 characters is needed.")
    first = path[0]
    column = draft.plan.columns.get("/" + "/".join(path[:2])) or draft.plan.columns.get(f"/{first}", first)
    inner = draft.tree[first]
    if len(path) > 1 and isinstance(inner, list):
        value = inner.pop(int(path[1]))
    elif len(path) > 1 and first not in WHOLE:
        value = inner.pop(path[1])
    else:
        value = draft.tree.pop(first)
    draft.note(Fault(column, "{value} is not what this field takes: left out.", _told(value)))
    return None


def _checked(row: Row, place: Place, draft: _Draft) -> Drafted:
    """The place after all checks; what fails them and can be spared is left out."""
    today = draft.plan.source.today
    checked = check(place, today=today)
    for _ in range(3):
        if not checked.faults:
            break
        spared = _spared(checked, draft)
        if spared == checked.place:
            break
        checked = check(spared, today=today)
    repairs = tuple(draft.repairs)
    if checked.faults:
        faults = tuple(_at_column(fault, draft.plan) for fault in checked.faults)
        key = identity(checked.place)
        return Drafted(row.line, key, None, repairs, faults, (), draft.record, draft.version)
    warnings = tuple(_at_column(fault, draft.plan) for fault in checked.warnings)
    place = _by_import(checked.place)
    return Drafted(row.line, identity(place), place, repairs, (), warnings, draft.record, draft.version)


def _by_import(place: Place) -> Place:
    """Who verified a place is told by the way of writing, not by a cell."""
    by = "import" if place.verified_on else None
    return place if place.verified_by == by else replace(place, verified_by=by)


def _spared(checked: Checked, draft: _Draft) -> Place:
    place = checked.place
    gone: set[tuple[str, str]] = set()
    for fault in checked.faults:
        path = [step.replace("~1", "/").replace("~0", "~") for step in fault.where.split("/")[1:]]
        if not path or path[0] == "name":
            continue
        if path[0] == "opening_hours":
            draft.note(
                Fault(
                    _column(fault, draft.plan),
                    "These hours are kept as text: {value}.",
                    _told(place.opening_hours),
                )
            )
            place = replace(place, opening_hours_text=_both(place.opening_hours_text, place.opening_hours))
        else:
            draft.repairs.append(_at_column(fault, draft.plan))
        gone.add((path[0], path[1] if len(path) > 1 else ""))
    for field in {field for field, _ in gone}:
        place = _lacking(place, field, {inner for name, inner in gone if name == field})
    return place


def _lacking(place: Place, field: str, parts: set[str]) -> Place:
    """The place without these parts of a field; without the whole field where a part cannot go alone."""
    value = getattr(place, field)
    if isinstance(value, tuple):
        kept = tuple(item for index, item in enumerate(value) if str(index) not in parts)
        return replace(place, **{field: kept})
    if isinstance(value, dict):
        return replace(
            place, extensions={k: v for k, v in value.items() if k not in parts and "" not in parts}
        )
    if field == "address" and value is not None:
        return replace(place, address=replace(value, **dict.fromkeys(parts)))
    if field == "verified_on":
        return replace(place, verified_on=None, verified_by=None)
    return replace(place, **{field: None})


def _at_column(fault: Fault, plan: _Plan) -> Fault:
    return Fault(_column(fault, plan), fault.what, fault.args)


def _column(fault: Fault, plan: _Plan) -> str:
    path = fault.where.split("/")
    for length in (3, 2):
        column = plan.columns.get("/".join(path[:length]))
        if column is not None and len(path) >= length:
            return column
    return fault.where


def identity(place: Place) -> str:
    """What tells that two rows are one: the id in their source, else name, postcode and street."""
    if place.origin is not None:
        return _of_origin(place.origin.system, place.origin.id)
    address = place.address
    postcode, street = (address.postcode, address.street) if address else (None, None)
    told = "\x1f".join((tidy_name(place.name), postcode or "", fold(street or "")))
    return GUESSED + hashlib.sha256(told.encode()).hexdigest()[:40]


def _of_origin(system: str, id: str) -> str:
    return f"{system} {id}"


def slug(text: str) -> str:
    """A namespace out of a name: `Liste 2019 (CGET)` is `liste-2019-cget`."""
    plain_letters = re.sub(r"[^a-z0-9]+", "-", fold(text))
    return plain_letters[:48].strip("-") or "import"


# --- rows that are records already -----------------------------------------------------------------------


def _placelike(row: Row) -> bool:
    cells = row.cells
    if isinstance(cells.get("place"), dict):
        return True
    if "name" not in cells:
        return False
    nested = isinstance(cells.get("address"), dict) or isinstance(cells.get("position"), dict)
    return nested or (row.raw is not None and "kind" in cells and "status" in cells)


def _given(row: Row, plan: _Plan) -> Drafted:
    raw = row.raw or msgspec.json.encode(row.cells)
    draft = _Draft(plan)
    try:
        if "place" in row.cells:
            exported = decode_strict(raw, Exported)
            place, draft.record, draft.version = exported.place, exported.id, exported.version
        else:
            place = decode_strict(raw, Place)
    except Invalid as error:
        return Drafted(row.line, faults=error.faults)
    except Malformed as error:
        return Drafted(row.line, faults=(Fault("", error.detail, error.arguments),))
    if place.license is None and plan.source.license:
        place = replace(place, license=plan.source.license)
    return _checked(row, place, draft)


def _exactly(row: Row, plan: _Plan) -> Drafted | None:
    """The place of a row of our own export; None where somebody has changed it into what needs repairs."""
    draft = _Draft(plan)
    cells = row.cells
    try:
        for column, target in plan.exact:
            value = cells.get(column)
            if value is None or value == "":
                continue
            group, _, field = target.rpartition(".")
            draft.group(group)[field] = EXACT[target](value) if target in EXACT else value
        record = draft.tree.pop("record", {})
        draft.record, draft.version = record.get("id"), _whole(record.get("version"))
        draft.tree.setdefault("license", plan.source.license)
        place = msgspec.convert(draft.tree, Place)
    except (ValueError, KeyError, msgspec.MsgspecError):
        return None
    found = _checked(row, place, draft)
    return None if found.repairs or found.faults or row.repairs else found


def _coded(target: str) -> Callable[[Any], str]:
    return lambda value: CODES[target][fold(value)]


def _identifiers(value: Any) -> list[dict[str, str]]:
    parted = (item.partition(":") for item in cleaning.split(value))
    return [{"scheme": scheme, "value": number} for scheme, _, number in parted]


EXACT: dict[str, Callable[[Any], Any]] = {
    **{target: _coded(target) for target in CODES},
    **dict.fromkeys(("position.lat", "position.lon", "surface.built_m2", "surface.outdoor_m2"), float),
    **dict.fromkeys(
        ("families", "types", "services", "alternate_names", "operator.legal_forms", "operator.governance"),
        cleaning.split,
    ),
    **dict.fromkeys(("links", "labels", "photos"), msgspec.json.decode),
    "identifiers": _identifiers,
    "extensions": msgspec.json.Decoder(dict[str, Raw]).decode,
}


# --- steps: one column each ------------------------------------------------------------------------------


def _step(target: str) -> Step:
    group, _, field = target.partition(".")
    if target in FILLING:
        return FILLING[target]
    if target in CODES:
        return _choice(target, group if field else "", field or group)
    if group == "identifiers":
        return _identifier(field)
    if group == "links":
        return _profile(field)
    if group == "extensions":
        return _extension(field)
    if group in ("surface", "position"):
        return _number(group, field)
    return _text(group, field) if field else _text("", group)


def _text(group: str, field: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        text = plain(value)
        if text:
            draft.group(group)[field] = text

    return step


def _number(group: str, field: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        number = cleaning.number(value)
        if number is None:
            draft.note(Fault(column, "{value} is no number: left out.", _told(value)))
        else:
            draft.group(group)[field] = number

    return step


def _choice(target: str, group: str, field: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        found = code(target, plain(value))
        if found is None:
            draft.note(Fault(column, "{value} is none of the known words: left out.", _told(value)))
        else:
            draft.group(group)[field] = found

    return step


def _day(field: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        found = cleaning.partial_date(plain(value))
        if found is None or (field == "verified_on" and len(found) < 10):
            draft.note(Fault(column, "{value} is no date that can be kept: left out.", _told(value)))
        else:
            draft.tree[field] = found

    return step


def _listed(group: str, field: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        draft.group(group).setdefault(field, []).extend(words(value))

    return step


def _identifier(scheme: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        text = plain(value)
        if not text:
            return
        if not text.strip("0"):
            draft.note(Fault(column, "{value} stands for an unknown number: left out.", _told(value)))
        else:
            draft.add("identifiers", [{"scheme": scheme, "value": text}])

    return step


def _profile(rel: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        url = cleaning.profile(rel, plain(value))
        if url is None:
            draft.own[column] = value
        else:
            draft.add("links", [{"rel": rel, "url": url}])

    return step


def _extension(namespace: str) -> Step:
    def step(value: Any, draft: _Draft, column: str) -> None:
        if namespace:
            draft.tree.setdefault("extensions", {}).setdefault(namespace, {})[column] = value
            return
        try:
            raw = value.encode() if isinstance(value, str) else msgspec.json.encode(value)
            draft.tree["extensions"] = msgspec.json.decode(raw, type=dict[str, Raw])
        except msgspec.MsgspecError:
            draft.own[column] = value

    return step


def _items(field: str, bare: str) -> Step:
    """A list of objects as JSON, or addresses or words that become one object each."""

    def step(value: Any, draft: _Draft, column: str) -> None:
        if isinstance(value, str) and value.lstrip().startswith("["):
            try:
                value = msgspec.json.decode(value)
            except msgspec.DecodeError:
                draft.own[column] = value
                return
        items = value if isinstance(value, list) else words(value)
        draft.add(field, filter(None, (_item(item, bare, draft) for item in items)))

    return step


def _item(item: Any, bare: str, draft: _Draft) -> dict[str, Any] | None:
    if isinstance(item, dict):
        return item
    if bare == "code":
        word = cleaning.word(plain(item), draft.plan.source.namespace)
        return {"code": word} if word else None
    url = cleaning.mended_url(plain(item))
    if url is None:
        return None
    url = url if "://" in url else "https://" + url
    return {"rel": "website", "url": url} if bare == "rel" else {"url": url}


def _own_identifiers(value: Any, draft: _Draft, column: str) -> None:
    if isinstance(value, list):
        draft.add("identifiers", value)
        return
    if isinstance(value, dict):
        found = [{"scheme": scheme, "value": plain(number)} for scheme, number in value.items()]
    else:
        found = _identifiers(plain(value))
    draft.add("identifiers", [i for i in found if i["value"]])
    if not any(i["value"] for i in found):
        draft.own[column] = value


def _status(value: Any, draft: _Draft, column: str) -> None:
    found = code("status", plain(value))
    if found is None:
        draft.note(Fault(column, "{value} is no known state of a place: open is assumed.", _told(value)))
    draft.tree["status"] = found or "open"


def _types(value: Any, draft: _Draft, column: str) -> None:
    namespace = draft.plan.source.namespace
    found = (cleaning.word(text, namespace) for text in words(value, commas=True))
    draft.add("types", [word for word in found if word])


def _services(value: Any, draft: _Draft, column: str) -> None:
    namespace = draft.plan.source.namespace
    texts = words(value, commas=True)
    found = (text if PLAIN_CODE.match(text) else cleaning.word(text, namespace) for text in texts)
    draft.add("services", [word for word in found if word])


def _families(value: Any, draft: _Draft, column: str) -> None:
    for text in words(value, commas=True):
        slug = fold(text.removeprefix("commun:")).replace(" ", "-")
        if slug in LANDMARKS:
            draft.add("families", [slug])
        else:
            draft.note(
                Fault(column, "{value} is no shared landmark: kept as a word of your own.", _told(text))
            )
            _types([text], draft, column)


def _insee(value: Any, draft: _Draft, column: str) -> None:
    text = plain(value)
    found = cleaning.insee(text)
    if found is None:
        draft.note(Fault(column, "{value} is no INSEE code: left out.", _told(text)))
        return
    if found != text:
        draft.note(Fault(column, "The INSEE code {value} got its zeros back.", _told(text)))
    draft.group("address")["insee"] = found


def _country(value: Any, draft: _Draft, column: str) -> None:
    text = plain(value)
    found = COUNTRIES.get(fold(text)) or (text.upper() if re.fullmatch("[A-Za-z]{2}", text) else None)
    if found is None:
        draft.note(Fault(column, "{value} is no code of a country: left out.", _told(text)))
    else:
        draft.group("address")["country"] = found


def _website(value: Any, draft: _Draft, column: str) -> None:
    text = plain(value)
    found = cleaning.mended_url(text)
    if found is None:
        draft.note(Fault(column, "{value} is no web address: left out.", _told(text)))
        return
    draft.tree["website"] = found
    if found != text:
        draft.note(Fault(column, "The web address was read as {value}.", _told(found)))


def _email(value: Any, draft: _Draft, column: str) -> None:
    text = plain(value).removeprefix("mailto:")
    found = next((part for part in re.split(r"[\s;,|]+", text) if EMAIL.match(part)), None)
    if found is None:
        draft.note(Fault(column, "{value} is no e-mail address: left out.", _told(text)))
    else:
        draft.tree["email"] = found


def _license(value: Any, draft: _Draft, column: str) -> None:
    text = plain(value)
    found = LICENSES.get(fold(text).replace(" ", "")) or text
    draft.tree["license"] = found


def _record(value: Any, draft: _Draft, column: str) -> None:
    draft.record = str(value)


def _version(value: Any, draft: _Draft, column: str) -> None:
    draft.version = _whole(value)


def _whole(value: Any) -> int | None:
    """A version as a cell says it; None for what is none."""
    text = plain(value)
    return int(text) if VERSION.match(text) else None


def _pair(value: Any, draft: _Draft, column: str) -> None:
    """Both coordinates in one cell: `[lon, lat]`, `{lat, lon}`, or "lat, lon" as platforms write it."""
    if isinstance(value, dict):
        lat, lon = value.get("lat"), value.get("lon", value.get("lng"))
    elif isinstance(value, list) and len(value) == 2:
        lon, lat = value
    else:
        lat, lon = [*re.findall(r"[+-]?\d+(?:\.\d+)?", str(value)), None, None][:2]
    for field, number in (("lat", lat), ("lon", lon)):
        if number is not None and cleaning.number(number) is not None:
            draft.group("position")[field] = cleaning.number(number)


# --- settling: what needs several columns ----------------------------------------------------------------


def _settle_status(draft: _Draft) -> None:
    if "status" not in draft.tree:
        draft.tree["status"] = "open"
        draft.repairs.append(NO_STATUS)


def _settle_address(draft: _Draft) -> None:
    address = draft.tree.get("address")
    if not address or "postcode" not in address or address.get("country", "FR") != "FR":
        return
    text = address["postcode"]
    found = cleaning.postcode(text)
    column = draft.plan.columns.get("/address/postcode", "")
    if found is None:
        draft.note(Fault(column, "{value} is no postcode: left out.", _told(text)))
        del address["postcode"]
    elif found != text:
        draft.note(Fault(column, "The postcode {value} got its zeros back.", _told(text)))
        address["postcode"] = found


def _settle_position(draft: _Draft) -> None:
    position = draft.tree.get("position")
    if position is None:
        return
    column = draft.plan.columns.get("/position/lat") or draft.plan.columns.get("/position", "")
    lat, lon = position.get("lat"), position.get("lon")
    if lat is None or lon is None or (lat == 0 and lon == 0):
        if lat is not None or lon is not None:
            draft.note(Fault(column, "A position needs a latitude and a longitude: left out."))
        del draft.tree["position"]
        return
    (position["lat"], position["lon"]), repair = _placed(lat, lon, draft, column)
    if repair is not None:
        draft.note(repair)


def _placed(lat: float, lon: float, draft: _Draft, column: str) -> tuple[tuple[float, float], Fault | None]:
    """Latitude and longitude in degrees, and what had to be done to them."""
    for x, y in ((lon, lat), (lat, lon)):
        if cleaning.is_lambert(x, y):
            repair = Fault(column, "The position was in Lambert-93: it was converted.")
            return _from_lambert(x, y), repair
    country = draft.tree.get("address", {}).get("country", "FR")
    if country == "FR" and not cleaning.in_france(lat, lon) and cleaning.in_france(lon, lat):
        return (lon, lat), Fault(column, "Latitude and longitude were exchanged: they were put right.")
    return (lat, lon), None


def _from_lambert(x: float, y: float) -> tuple[float, float]:
    lon, lat = _lambert().transform(x, y)
    return round(lat, 7), round(lon, 7)


@lru_cache(maxsize=1)
def _lambert() -> Any:
    # Loaded only when needed: it takes 20 MB that an idle registry has no use for.
    import pyproj

    return pyproj.Transformer.from_crs(2154, 4326, always_xy=True)


def _settle_contact(draft: _Draft) -> None:
    phone = draft.tree.get("phone")
    if phone is None:
        return
    country = draft.tree.get("address", {}).get("country", "FR")
    if e164(phone, country) is None:
        parts = re.split(r"[/;,|]|\bou\b|\bet\b", phone)
        found = next((part.strip() for part in parts if e164(part, country)), phone)
        draft.tree["phone"] = found[:40]


def _settle_texts(draft: _Draft) -> None:
    tree = draft.tree
    hours = tree.get("opening_hours")
    if hours is not None and not are_hours(hours):
        draft.note(
            Fault(
                draft.plan.columns["/opening_hours"], "These hours are kept as text: {value}.", _told(hours)
            )
        )
        tree["opening_hours_text"] = _both(tree.get("opening_hours_text"), tree.pop("opening_hours"))
    summary = tree.get("summary", "")
    if len(summary) > SUMMARY:
        column = draft.plan.columns["/summary"]
        draft.note(Fault(column, "A summary has 280 characters at most: it was put into the description."))
        tree["description"] = "\n\n".join(filter(None, (tree.pop("summary"), tree.get("description"))))


def _settle_source(draft: _Draft) -> None:
    tree, source = draft.tree, draft.plan.source
    origin = tree.get("origin")
    if origin is not None:
        origin.setdefault("system", source.system)
        if "id" not in origin:
            del tree["origin"]
    if source.license and "license" not in tree:
        tree["license"] = source.license


def _settle_own(draft: _Draft) -> None:
    extensions = draft.tree.get("extensions")
    if draft.own:
        if extensions is None:
            extensions = draft.tree["extensions"] = {}
        namespace = draft.plan.source.namespace
        before = extensions.get(namespace, {})
        if isinstance(before, Raw):
            before = msgspec.json.decode(before, type=dict[str, Raw])
        extensions[namespace] = {**before, **draft.own}
    if extensions:
        for namespace, value in extensions.items():
            if not isinstance(value, Raw):
                extensions[namespace] = Raw(msgspec.json.encode(value))


def _told(value: Any) -> dict[str, str | int | float]:
    return {"value": str(value)[:200]}


def _both(first: str | None, second: str | None) -> str:
    return "; ".join(dict.fromkeys(filter(None, (first, second))))


# --- tables ----------------------------------------------------------------------------------------------

ATTEMPTS = 24
# How the keys begin that are made of what a row says.
GUESSED = "row "
SUMMARY = 280
LISTS = frozenset({"identifiers", "links", "labels", "photos"})
WHOLE = frozenset({"position", "origin"})
STEPS = re.compile(r"[A-Za-z_0-9]+|\[\d+\]")
VERSION = re.compile(r"[1-9][0-9]{0,8}\Z")
RECORD = re.compile(r"[a-z2-7]{26}:[0-9a-f-]{36}\Z")
PLAIN_CODE = re.compile(r"[a-z0-9][a-z0-9.\-]*(?::\S+)?\Z")
NAMED = re.compile(r"[a-z0-9][a-z0-9.\-]{0,63}\Z")
EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+\Z")
NO_STATUS = Fault("", "The list does not say whether places are open: open is assumed.")
ONCE_A_FILE = frozenset({NO_STATUS.what})
OF_RECORDS = frozenset(key(h) for target, *both in COLUMNS if target.startswith("record.") for h in both)
COUNTRIES = {
    "france": "FR",
    "fra": "FR",
    "belgique": "BE",
    "suisse": "CH",
    "luxembourg": "LU",
    "monaco": "MC",
}
LICENSES = {
    "licenceouverte": "etalab-2.0",
    "licenceouverte20": "etalab-2.0",
    "licenceouverteopenlicence20": "etalab-2.0",
    "lo20": "etalab-2.0",
    "etalab": "etalab-2.0",
    "odbl": "ODbL-1.0",
    "ccby": "CC-BY-4.0",
    "ccbysa": "CC-BY-SA-4.0",
    "cc0": "CC0-1.0",
}

FITTING: dict[str, Callable[[Any], Any]] = {
    "position.lat": lambda value: cleaning.number(value) is not None,
    "position.lon": lambda value: cleaning.number(value) is not None,
    "surface.built_m2": lambda value: cleaning.number(value) is not None,
    "surface.outdoor_m2": lambda value: cleaning.number(value) is not None,
    "address.postcode": lambda value: re.search(r"\d", plain(value)),
    "address.insee": lambda value: re.fullmatch(r"\d{1,5}(\.0)?|2[abAB]\d{3}|\d*null", plain(value)),
    "identifiers.siret": lambda value: len(re.sub(r"\D", "", plain(value))) in (13, 14),
    "website": lambda value: cleaning.mended_url(plain(value)),
    "phone": lambda value: len(re.sub(r"\D", "", plain(value))) >= 4,
    "email": lambda value: "@" in plain(value),
    "opened_on": lambda value: re.search(r"\d{4}", plain(value)),
    "closed_on": lambda value: re.search(r"\d{4}", plain(value)),
    "verified_on": lambda value: re.search(r"\d{4}", plain(value)),
}

FILLING: dict[str, Step] = {
    "record.id": _record,
    "record.version": _version,
    "record.updated_at": lambda value, draft, column: None,
    "status": _status,
    "alternate_names": _listed("", "alternate_names"),
    "opened_on": _day("opened_on"),
    "closed_on": _day("closed_on"),
    "verified_on": _day("verified_on"),
    "address.insee": _insee,
    "address.country": _country,
    "position": _pair,
    "families": _families,
    "types": _types,
    "services": _services,
    "website": _website,
    "email": _email,
    "links": _items("links", "rel"),
    "labels": _items("labels", "code"),
    "photos": _items("photos", "url"),
    "operator.legal_forms": _listed("operator", "legal_forms"),
    "operator.governance": _listed("operator", "governance"),
    "identifiers": _own_identifiers,
    "license": _license,
}

SETTLING: tuple[Callable[[_Draft], None], ...] = (
    _settle_status,
    _settle_address,
    _settle_position,
    _settle_contact,
    _settle_texts,
    _settle_source,
    _settle_own,
)
