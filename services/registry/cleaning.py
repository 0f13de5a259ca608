"""Cells as people write them, turned into the values of a record: numbers, codes, dates, addresses, words.

Each function gives the clean value, or None where there is none to be had; the caller says so in the report.
"""

import html
import re
from datetime import date
from functools import lru_cache
from typing import Any

from services.canonical import fold

LAMBERT_X, LAMBERT_Y = (90_000, 1_300_000), (6_000_000, 7_200_000)
# Bounds of France, latitude then longitude: mainland and Corsica, then overseas.
FRANCE = (
    (41.2, 51.3, -5.4, 9.8),
    (14.2, 18.3, -63.3, -60.7),
    (2.0, 6.0, -54.8, -51.4),
    (-21.5, -20.7, 55.1, 56.0),
    (-13.2, -12.5, 44.9, 45.4),
    (46.7, 47.2, -56.6, -56.0),
    (-23.0, -17.5, 158.0, 172.2),
    (-28.0, -7.5, -155.0, -134.0),
    (-14.5, -13.0, -178.4, -175.9),
)


PLACEHOLDERS = frozenset(
    (
        *("-", "--", "—", "?", "/", "nc", "n.c", "n.c.", "n/c", "n/a", "na", "#n/a", "null", "none", "nan"),
        *("néant", "neant", "non renseigné", "non renseigne", "non communiqué", "non communique"),
    )
)


def is_placeholder(value: Any) -> bool:
    """Whether a cell says in somebody's way that there is nothing to say: `n.c.`, `néant`, `-`."""
    return isinstance(value, str) and len(value) <= 20 and value.strip().lower() in PLACEHOLDERS


def plain(value: Any) -> str:
    """A cell as text: numbers without `.0`, lists joined, markup taken out."""
    if not isinstance(value, str):
        return _worded(value)
    text = value.strip()
    return unmarked(text) if "<" in text or "&" in text else text


def _worded(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "oui" if value else "non"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, list):
        return "; ".join(filter(None, map(plain, value)))
    return str(value)


def unmarked(text: str) -> str:
    """Text without the HTML that platforms leave in: line breaks become commas, `&amp;` becomes `&`."""
    text = BREAK.sub(", ", text)
    return html.unescape(TAG.sub("", text)).strip(" ,\t\n\r")


def number(value: Any) -> float | None:
    """A number with a point or a French comma, with or without a unit: `1 250,5 m²` is 1250.5."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match = NUMBER.match(SPACES.sub("", str(value)))
    return float(match[1].replace(",", ".")) if match else None


def postcode(text: str) -> str | None:
    """A French postcode with its zeros back; None for `0`, `00000` and what is none."""
    text = re.sub(r"^F[R]?-?(?=\d)|\s|\.0$", "", text)
    if not (text.isascii() and text.isdigit()) or not text.strip("0"):
        return None
    text = text.zfill(5) if len(text) == 4 else text
    return text if len(text) == 5 else None


def insee(text: str) -> str | None:
    """An INSEE code with its zeros back; None for `0`, `0null` and what is none."""
    text = text.upper().removesuffix(".0")
    text = text.zfill(5) if len(text) == 4 else text
    return text if INSEE.match(text) and text != "00000" else None


def partial_date(text: str) -> str | None:
    """`YYYY`, `YYYY-MM` or `YYYY-MM-DD` out of a French or ISO date; 1 January 1970 is none."""
    match = FRENCH_DATE.match(text) or ISO_DATE.match(text)
    if match is None:
        return None
    found = "-".join(part.zfill(2) for part in match.group("year", "month", "day") if part)
    try:
        date.fromisoformat(found + "0001-01-01"[len(found) :])
    except ValueError:
        return None
    return None if found == "1970-01-01" else found


def mended_url(text: str) -> str | None:
    """The first web address of a cell, with `http//` and the like put right; None where there is none."""
    for part in re.split(r"[\s;|,]+(?=\S*\.)", text):
        address = SLIPPED.sub(lambda match: match[1].lower() + "://", part.strip(" ;|,"))
        if "." in address and " " not in address and "@" not in address.split("/")[0]:
            return address
    return None


def profile(rel: str, text: str) -> str | None:
    """The address of a profile at a platform: `@lieu` at twitter is `https://twitter.com/lieu`."""
    text = text.strip()
    if rel == "mastodon" and (match := FEDIVERSE.match(text)):
        return f"https://{match[2]}/@{match[1]}"
    if "/" in text or (rel not in PROFILES and "." in text):
        address = mended_url(text)
        return address if address is None or "://" in address else "https://" + address
    handle = text.removeprefix("@")
    return PROFILES[rel] + handle if rel in PROFILES and HANDLE.match(handle) else None


def words(value: Any, *, commas: bool = False) -> list[str]:
    """The items of a cell: a JSON list, or text parted by `;` or `|` (or by commas where they part too)."""
    if isinstance(value, list):
        return [text for text in map(plain, value) if text]
    parts = split(plain(value))
    if commas:
        parts = [piece for part in parts for piece in part.split(",")]
    return [part.strip() for part in parts if part.strip()]


def split(text: str) -> list[str]:
    """Items joined by `;` or `|`; a backslash before one of these, or before a backslash, keeps it."""
    if "\\" not in text:
        return PARTING.split(text)
    items = [""]
    for kept, parting, other in TOKEN.findall(text):
        if parting:
            items.append("")
        else:
            items[-1] += kept or other
    return items


@lru_cache(maxsize=4096)
def word(text: str, namespace: str) -> str | None:
    """A network's own word: `Salle de réunion` is `namespace:salle-de-reunion`; a word of anybody stays."""
    if WORD.match(text):
        return text
    slug = fold(text).replace(" ", "-")[:120].strip("-")
    return f"{namespace}:{slug}" if slug else None


def in_france(lat: float, lon: float) -> bool:
    """Whether a point is roughly in France, mainland or overseas."""
    return any(s <= lat <= n and w <= lon <= e for s, n, w, e in FRANCE)


def is_lambert(x: float, y: float) -> bool:
    """Whether these can only be metres of Lambert-93."""
    return LAMBERT_X[0] <= x <= LAMBERT_X[1] and LAMBERT_Y[0] <= y <= LAMBERT_Y[1]


BREAK = re.compile(r"\s*(?:<br\s*/?>|</p>|</div>|</li>)\s*", re.IGNORECASE)
TAG = re.compile(r"</?[a-zA-Z][^<>]*>")
SPACES = re.compile(r"[\s\u00a0\u202f']")
NUMBER = re.compile(r"([+-]?\d+(?:[.,]\d+)?(?:[eE][+-]?\d+)?)(?:°|m²|m2|m)?\Z")
INSEE = re.compile(r"(\d{5}|2[AB]\d{3})\Z", re.ASCII)
FRENCH_DATE = re.compile(
    r"(?:(?P<day>\d{1,2})[/.-])?(?P<month>\d{1,2})[/.-](?P<year>\d{4})(?:[ T].*)?\Z", re.ASCII
)
ISO_DATE = re.compile(
    r"(?P<year>\d{4})(?:[-/](?P<month>\d{1,2})(?:[-/](?P<day>\d{1,2})(?:[ T].*)?)?)?\Z", re.ASCII
)
SLIPPED = re.compile(r"^(https?)(?::/{0,3}|/{2,3}|;//)(?:https?:?/{1,2})?(?=[^\s/])", re.IGNORECASE)
PROFILES = {
    "twitter": "https://twitter.com/",
    "facebook": "https://www.facebook.com/",
    "instagram": "https://www.instagram.com/",
    "linkedin": "https://www.linkedin.com/company/",
    "youtube": "https://www.youtube.com/@",
}
HANDLE = re.compile(r"[A-Za-z0-9_.\-]{1,100}\Z")
FEDIVERSE = re.compile(r"@?([A-Za-z0-9_.\-]+)@([A-Za-z0-9.\-]+\.[a-z]{2,})\Z")
PARTING = re.compile(r"[;|]")
TOKEN = re.compile(r"\\([\\;|])|([;|])|(.)", re.DOTALL)
WORD = re.compile(r"[a-z0-9][a-z0-9.\-]{0,63}:[^\s:/]\S{0,126}\Z")
