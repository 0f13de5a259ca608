"""The checks of a place that a shape cannot say: true numbers, real hours, known communes, sane dates.

`check` tidies a place and names every mistake in it by JSON pointer; it never stops at the first.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date
from difflib import get_close_matches
from functools import lru_cache
from operator import is_
from typing import Any, TypeVar

import msgspec
import opening_hours
import phonenumbers
from msgspec import Struct
from msgspec.structs import astuple, replace
from stdnum.fr import siret

from schemas.place import Identifier, Place, Position
from schemas.vocabulary import LANDMARKS
from services.canonical import fold
from services.communes import Commune, commune, postcodes
from services.errors import Fault
from services.mistakes import overall
from services.shapes import escaped

EXTENSIONS_BYTES = 16 * 1024
PLACE_BYTES = 44 * 1024

_READER = msgspec.json.Decoder(Place)

S = TypeVar("S", bound=Struct)
Faults = Iterator[Fault]


class Checked(Struct, frozen=True):
    """A place after tidying, what is wrong with it, and what is only doubtful."""

    place: Place
    faults: tuple[Fault, ...] = ()
    warnings: tuple[Fault, ...] = ()


def check(place: Place, *, today: date, home_license: str | None = None) -> Checked:
    """The tidied place with every mistake and every doubt; the order of both is always the same.

    A place without a licence gets `home_license`, the licence that its network gives its own records.
    """
    place = _tidied(place)
    if place.license is None and home_license:
        place = replace(place, license=home_license)
    faults = [fault for rule in RULES for fault in rule(place)]
    faults.extend(_dates(place, today))
    known = {fault.where for fault in faults}
    faults.extend(fault for fault in _written(place) if fault.where not in known)
    return Checked(place=place, faults=tuple(faults), warnings=tuple(_doubts(place)))


def departement(place: Place) -> str | None:
    """The code of the département (`56`, `2A`, `974`), by the INSEE code, else by the postcode."""
    address = place.address
    if address is None or address.country != "FR":
        return None
    if address.insee:
        known = commune(address.insee)
        return known.departement if known else _departement_of(address.insee)
    return departement_of_postcode(address.postcode) if address.postcode else None


def departement_of_postcode(postcode: str) -> str | None:
    """The département that a French postcode most often stands for, or None where there is none."""
    if not (len(postcode) == 5 and postcode.isascii() and postcode.isdigit()):
        return None
    if postcode.startswith("20"):
        return "2A" if postcode < "20200" else "2B"
    return ISLANDS.get(postcode) or _departement_of(postcode)


def tidy_name(text: str) -> str:
    """A name as it is compared to tell whether two rows are one place."""
    return fold(text)


# --- tidying ---------------------------------------------------------------------------------------------


def _tidied(place: Place) -> Place:
    place = _stripped(place)
    changes: dict[str, Any] = {}
    if place.position is not None:
        changes["position"] = _rounded(place.position)
    if place.website is not None:
        changes["website"] = with_scheme(place.website)
    if place.phone is not None:
        country = place.address.country if place.address else "FR"
        changes["phone"] = e164(place.phone, country) or place.phone
    if place.identifiers:
        changes["identifiers"] = tuple(dict.fromkeys(map(_compact, place.identifiers)))
    return replace(place, **changes) if changes else place


def _stripped(struct: S) -> S:
    changes: dict[str, Any] = {}
    names, defaults, required = _fields(type(struct))
    for name, value, default in zip(names, astuple(struct), defaults, strict=True):
        if value is default:
            continue
        tidy = value.strip() if type(value) is str else _tidy(value)
        # msgspec leaves out defaults by identity: another "FR" would be written, and one place had two forms.
        if tidy == default:
            tidy = default
        elif tidy == "" and name not in required:
            tidy = None
        if tidy is not value:
            changes[name] = tidy
    return replace(struct, **changes) if changes else struct


def _tidy(value: Any) -> Any:
    """The value without blanks; the very same one where there is nothing to tidy."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, tuple):
        tidy = tuple(dict.fromkeys(item for item in map(_tidy, value) if item != ""))
        return value if len(tidy) == len(value) and all(map(is_, tidy, value)) else tidy
    if isinstance(value, Struct):
        stripped = _stripped(value)
        return None if stripped == _blank(type(stripped)) else stripped
    return value


@lru_cache(maxsize=64)
def _fields(struct: type[Struct]) -> tuple[tuple[str, ...], tuple[Any, ...], frozenset[str]]:
    fields = msgspec.structs.fields(struct)
    return (
        tuple(field.name for field in fields),
        tuple(field.default for field in fields),
        frozenset(field.name for field in fields if field.required),
    )


@lru_cache(maxsize=64)
def _blank(struct: type[Struct]) -> Struct | None:
    return None if _fields(struct)[2] else struct()


def _rounded(position: Position) -> Position:
    # Adding 0.0 turns -0.0 into 0.0: one place, one writing.
    return replace(position, lat=round(position.lat, 7) + 0.0, lon=round(position.lon, 7) + 0.0)


def _compact(identifier: Identifier) -> Identifier:
    if identifier.scheme != "siret":
        return identifier
    return replace(identifier, value=re.sub(r"[\s.\-]", "", identifier.value))


def with_scheme(website: str) -> str:
    """An address of the web with its scheme: `www.exemple.fr` becomes `https://www.exemple.fr`."""
    if website.startswith("//"):
        return "https:" + website
    return website if SCHEME.match(website) else "https://" + website


@lru_cache(maxsize=8192)
def e164(phone: str, country: str = "FR") -> str | None:
    """The number as E.164 (`+33297000000`), or None where no such number can exist.

    The overseas départements have country codes of their own: Réunion's `0262 …` is `+262 262 …`.
    """
    tries = [(phone, country)]
    if country == "FR":
        national = FRENCH.sub("0", re.sub(r"[^\d+]", "", phone))
        tries = [(national, region) for prefix, region in OVERSEAS if national.startswith(prefix)] + tries
    for text, region in tries:
        try:
            number = phonenumbers.parse(text, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) and not number.extension:
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return None


# --- mistakes --------------------------------------------------------------------------------------------


def _name(place: Place) -> Faults:
    if not fold(place.name):
        yield Fault("/name", "A name with at least one letter or digit is needed.")


def _where(place: Place) -> Faults:
    address, position = place.address, place.position
    located = position is not None or (address is not None and (address.postcode or address.insee))
    if not located and place.kind not in ("virtual", "undisclosed"):
        yield Fault(
            "",
            "One way to locate the place is needed: position, address.postcode, address.insee, "
            "or kind virtual or undisclosed.",
        )
    if position is not None and position.lat == 0 and position.lon == 0:
        yield Fault(
            "/position", "Latitude 0 and longitude 0 is in the sea: leave the position out when unknown."
        )
    if place.kind == "undisclosed" and position is not None:
        yield Fault("/position", "An undisclosed place has no position.")
    if place.kind == "undisclosed" and address is not None and address.street:
        yield Fault("/address/street", "An undisclosed place has no street.")


def _address(place: Place) -> Faults:
    address = place.address
    if address is None:
        return
    if address.insee == "00000":
        yield Fault("/address/insee", "00000 is no commune: leave the INSEE code out when unknown.")
    if address.postcode is None:
        return
    if address.country == "FR" and not POSTCODE.match(address.postcode):
        yield Fault(
            "/address/postcode",
            "A French postcode has five digits, not {value}.",
            {"value": address.postcode},
        )
    elif address.postcode == "00000" or len(address.postcode) < 2:
        yield Fault(
            "/address/postcode",
            "{value} is no postcode: leave it out when unknown.",
            {"value": address.postcode},
        )


def _families(place: Place) -> Faults:
    for index, code in enumerate(place.families):
        if code in LANDMARKS:
            continue
        close = get_close_matches(code, LANDMARKS, n=3, cutoff=0.4) or LANDMARKS
        yield Fault(
            f"/families/{index}",
            "{value} is no shared landmark; closest: {close}. Words of your own go into types.",
            {"value": code, "close": ", ".join(close)},
        )


def _contact(place: Place) -> Faults:
    if place.website is not None and not is_website(place.website):
        yield Fault(
            "/website",
            "A web address like https://www.exemple.fr is needed, not {value}.",
            {"value": place.website},
        )
    if place.phone is not None and not E164.match(place.phone):
        yield Fault("/phone", "{value} is no phone number.", {"value": place.phone})


def _hours(place: Place) -> Faults:
    if place.opening_hours is not None and not are_hours(place.opening_hours):
        yield Fault(
            "/opening_hours",
            "Opening hours are written as in OpenStreetMap (Mo-Fr 09:00-18:00), not {value}; "
            "free text goes into opening_hours_text.",
            {"value": place.opening_hours},
        )


def _identifiers(place: Place) -> Faults:
    for index, identifier in enumerate(place.identifiers):
        if not identifier.value:
            yield Fault(f"/identifiers/{index}/value", "An identifier needs a value.")
        elif identifier.scheme == "siret" and not is_siret(identifier.value):
            yield Fault(
                f"/identifiers/{index}/value",
                "{value} is no SIRET: fourteen digits whose check digit is right.",
                {"value": identifier.value},
            )


def _links(place: Place) -> Faults:
    for index, link in enumerate(place.links):
        if not link.rel:
            yield Fault(f"/links/{index}/rel", "A link says what it is.")
        if _harmful(link.url):
            yield Fault(f"/links/{index}/url", "This is no address that a page may link to.")
    if place.origin is not None and place.origin.url is not None and _harmful(place.origin.url):
        yield Fault("/origin/url", "This is no address that a page may link to.")
    if place.origin is not None:
        for field in ("system", "id"):
            if not getattr(place.origin, field):
                yield Fault(f"/origin/{field}", "An origin has a system and an id.")


def _extensions(place: Place) -> Faults:
    for namespace, raw in place.extensions.items():
        pointer = f"/extensions/{escaped(namespace)}"
        try:
            value = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            yield Fault(pointer, "This extension cannot be read as JSON.")
            continue
        if not isinstance(value, dict):
            yield Fault(pointer, "An extension is an object.")
    size = sum(len(name.encode()) + len(bytes(raw)) for name, raw in place.extensions.items())
    if size > EXTENSIONS_BYTES:
        yield Fault(
            "/extensions",
            "Extensions hold {limit} bytes at most, these have {size}.",
            {"limit": EXTENSIONS_BYTES, "size": size},
        )


def _written(place: Place) -> Faults:
    """Tidying may have made a text longer than its field takes: what is written must be read again."""
    encoded = msgspec.json.encode(place)
    try:
        _READER.decode(encoded)
    except msgspec.ValidationError as error:
        yield overall(error)
    if len(encoded) > PLACE_BYTES:
        yield Fault(
            "",
            "A place takes {limit} bytes at most, this one {size}.",
            {"limit": PLACE_BYTES, "size": len(encoded)},
        )
    # PostgreSQL keeps no NUL in its texts, so no node could keep this one.
    if b"\\u0000" in encoded and NUL.search(encoded):
        yield Fault("", "The character NUL cannot be kept.")


def _dates(place: Place, today: date) -> Faults:
    for field in ("opened_on", "closed_on", "verified_on"):
        value = getattr(place, field)
        if value is not None and not is_date(value):
            yield Fault(f"/{field}", "{value} is no day of the calendar.", {"value": value})
    opened, closed = place.opened_on, place.closed_on
    if opened and closed and closed[: len(opened)] < opened[: len(closed)]:
        yield Fault("/closed_on", "A place cannot close before it opened ({opened}).", {"opened": opened})
    if place.verified_on is not None and place.verified_on > today.isoformat():
        yield Fault("/verified_on", "Nobody has verified a place on a day to come.")
    yield from _label_dates(place)


def _label_dates(place: Place) -> Faults:
    for index, label in enumerate(place.labels):
        for field, value in (("from", label.start), ("until", label.until)):
            if value is not None and not is_date(value):
                yield Fault(
                    f"/labels/{index}/{field}", "{value} is no day of the calendar.", {"value": value}
                )
        if label.start and label.until and label.until[: len(label.start)] < label.start[: len(label.until)]:
            yield Fault(f"/labels/{index}/until", "A label cannot end before it starts.")


# --- doubts ----------------------------------------------------------------------------------------------


def _doubts(place: Place) -> Faults:
    address = place.address
    if address is None or address.country != "FR":
        return
    known = commune(address.insee) if address.insee else None
    if address.insee and address.insee != "00000" and known is None:
        yield Fault(
            "/address/insee", "No commune has the INSEE code {value}, nor had.", {"value": address.insee}
        )
    postcode = address.postcode
    if postcode is None or not POSTCODE.match(postcode) or postcode == "00000":
        return
    if departement_of_postcode(postcode) is None:
        yield Fault("/address/postcode", "No département has the postcode {value}.", {"value": postcode})
    elif known is not None and not _fits(postcode, known):
        yield Fault(
            "/address/postcode",
            "The postcode {postcode} is not one of {commune} ({insee}).",
            {"postcode": postcode, "commune": known.name, "insee": known.code},
        )


def _fits(postcode: str, known: Commune) -> bool:
    """A postcode of no commune at all is a firm's own (CEDEX) and fits its whole département."""
    if postcode in known.postcodes or not known.postcodes:
        return True
    if postcode not in postcodes():
        return departement_of_postcode(postcode) == known.departement
    whole = commune(known.current) if known.current else None
    return whole is not None and postcode in whole.postcodes


# --- predicates ------------------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def are_hours(text: str) -> bool:
    """Whether opening hours are in OpenStreetMap's syntax."""
    return bool(opening_hours.validate(text))


@lru_cache(maxsize=8192)
def is_siret(value: str) -> bool:
    """Whether fourteen digits pass Luhn's check or La Poste's exception; fourteen zeros do not."""
    return value != "0" * 14 and bool(siret.is_valid(value))


def is_website(text: str) -> bool:
    """Whether this is an http(s) address with a host that has a dot, and without a user's name in it."""
    return WEBSITE.match(text) is not None


def is_date(text: str) -> bool:
    """Whether `YYYY`, `YYYY-MM` or `YYYY-MM-DD` stands in the calendar."""
    try:
        date.fromisoformat(text + "0001-01-01"[len(text) :])
    except ValueError:
        return False
    return True


def _harmful(url: str) -> bool:
    return url[:11].lower().startswith(("javascript:", "data:", "vbscript:"))


@lru_cache(maxsize=4096)
def _departement_of(code: str) -> str | None:
    found = code[:3] if code.startswith(("97", "98")) else code[:2]
    return found if found in DEPARTEMENTS else None


DEPARTEMENTS = frozenset(
    [f"{n:02}" for n in range(1, 96) if n != 20]
    + ["2A", "2B", "971", "972", "973", "974", "975", "976", "977", "978", "984", "986", "987", "988", "989"]
)
# Two islands kept the postcodes of Guadeloupe when they left it, and one has Polynesia's.
ISLANDS = {"97133": "977", "97150": "978", "98799": "989"}
OVERSEAS = (
    *((prefix, "RE") for prefix in ("0262", "0263", "0692", "0693")),
    *((prefix, "YT") for prefix in ("0269", "0639")),
    *((prefix, "GP") for prefix in ("0590", "0690", "0691")),
    *((prefix, "GF") for prefix in ("0594", "0694")),
    *((prefix, "MQ") for prefix in ("0596", "0696", "0697")),
    ("0508", "PM"),
)
FRENCH = re.compile(r"^(?:\+|00)33(?:0(?=\d{9}$))?")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:(?!\d)")
WEBSITE = re.compile(
    r"(?i)https?://(?:[^\s/?#@:.]+\.)+[^\s/?#@:.\d][^\s/?#@:.]*\.?(?::\d{1,5})?(?:[/?#]\S*)?\Z"
)
E164 = re.compile(r"\+[1-9]\d{3,14}\Z")
POSTCODE = re.compile(r"[0-9]{5}\Z")
NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

RULES: tuple[Callable[[Place], Faults], ...] = (
    _name,
    _where,
    _address,
    _families,
    _contact,
    _hours,
    _identifiers,
    _links,
    _extensions,
)
