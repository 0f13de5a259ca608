"""How a place is reached, as texts that can be compared: hosts, pages, phones, mailboxes, identifiers. Pure."""

import re
from collections.abc import Iterable
from itertools import takewhile

from msgspec import Struct

from schemas.place import Place
from services.canonical import fold
from services.sync.policy import Tables

# A hostile record may bear thousands of them.
MOST = 8
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
LOWER = str.maketrans(LETTERS, LETTERS.lower())
# Python's own idea of a blank changes with its tables.
BLANK = " \t\r\n"
HOST = re.compile(r"(?:https?://+)?(?:[^/@?#]*@)?([a-z0-9.\-]+\.[a-z]{2,24})\.?(?::[0-9]*)?(?=[/?#]|$)")
NUMBERED = re.compile(r"[?&](?:id|story_fbid)=([0-9]{5,})")
DIGIT, DIGITS, LETTER = re.compile("[0-9]"), re.compile("[0-9]+"), re.compile("[a-z]")
# `facebook.com/pages/Name/123`, `youtube.com/channel/…`: what follows tells whose page it is.
SHELVES = frozenset(
    {"pages", "groups", "channel", "user", "c", "company", "in", "site", "associations", "content", "p"}
)
HOME = frozenset({"", "index", "index.html", "index.php", "fr", "home", "accueil", "fr-fr"})
NATIONAL = 9


class Reach(Struct, frozen=True, gc=False):
    """How a record says that its place is reached; each sorted.

    `domains` are registrable, of its sites and mailboxes, without what anybody may have; `pages` are hosts
    with paths of its own sites; `accounts` pages on platforms; `phones` the last nine digits; `places` and
    `bodies` are identifiers of the place and of the organisation behind it (`scheme:value`).
    """

    domains: tuple[str, ...]
    pages: tuple[str, ...]
    accounts: tuple[str, ...]
    phones: tuple[str, ...]
    emails: tuple[str, ...]
    places: tuple[str, ...]
    bodies: tuple[str, ...]


def reach(place: Place, tables: Tables) -> Reach:
    """How a place is reached."""
    domains, pages, accounts = _sites(place, tables)
    email = (place.email or "").translate(LOWER).strip(BLANK)
    if "@" in email:
        domain = registrable(email.rpartition("@")[2], tables)
        if domain and domain not in tables.mailers and domain not in tables.platforms:
            domains.add(domain)
    places, bodies = _identifiers(place, tables)
    return Reach(
        domains=tuple(sorted(domains)),
        pages=tuple(sorted(pages)),
        accounts=tuple(sorted(accounts)),
        phones=_phone(place.phone or ""),
        emails=(email,) if email else (),
        places=tuple(sorted(places)),
        bodies=tuple(sorted(bodies)),
    )


def registrable(host: str, tables: Tables) -> str:
    """The part of a host name that somebody registered: one label more than its public suffix."""
    labels = host.split(".")
    if len(labels) < 2:
        return ""
    known = ".".join(labels[-2:]) in tables.suffixes
    return ".".join(labels[-3:] if known else labels[-2:])


def _sites(place: Place, tables: Tables) -> tuple[set[str], set[str], set[str]]:
    """Registrable domains, pages of own sites and pages on platforms."""
    domains: set[str] = set()
    pages: set[str] = set()
    accounts: set[str] = set()
    urls = [place.website] if place.website else []
    for url in urls + [link.url for link in place.links[: MOST - 1]]:
        text = url.translate(LOWER).strip(BLANK)
        found = HOST.match(text)
        if not found:
            continue
        host, path = found[1].removeprefix("www."), text[found.end() :]
        domain = registrable(host, tables)
        if domain in tables.platforms or host in tables.platforms:
            accounts |= _account(domain, path)
        else:
            domains.add(domain)
            pages.add(_page(host, path))
    return domains, pages, accounts


def _page(host: str, path: str) -> str:
    path = path.partition("#")[0].strip("/")
    return host if path in HOME else f"{host}/{path}"


def _account(domain: str, path: str) -> set[str]:
    """The page of one account on a platform; nothing for the platform's own front page."""
    if number := NUMBERED.search(path):
        return {f"{domain}/{number[1]}"}
    steps = [step for step in re.split(r"[/?#]", path.partition("?")[0]) if step]
    while len(steps) > 1 and steps[0] in SHELVES:
        steps = steps[1:]
    name = steps[-1] if steps else ""
    return {f"{domain}/{name}"} if name and name not in HOME else set()


def _phone(text: str) -> tuple[str, ...]:
    """The nine digits of a first number; hotlines and short numbers are nobody's own.

    What has letters beside its digits is no number, and stays as it is.
    """
    words = [word for word in fold(text).split(" ") if DIGIT.search(word)] if text else []
    if not words:
        return ()
    if LETTER.search(words[0]):
        return (words[0],)
    digits = "".join(takewhile(DIGITS.fullmatch, words))
    number = digits.removeprefix("00")
    if number == digits and digits.startswith("0"):
        national = digits[1 : 1 + NATIONAL]
    elif number.startswith("33") and len(number) > NATIONAL:
        national = number[2:].removeprefix("0")[:NATIONAL]
    else:
        national = number[-NATIONAL:]
    return (national,) if len(national) == NATIONAL and national[0] != "8" else ()


def _identifiers(place: Place, tables: Tables) -> tuple[Iterable[str], Iterable[str]]:
    if not place.identifiers:
        return (), ()
    said = [(i.scheme, fold(i.value).replace(" ", "")) for i in place.identifiers[:MOST]]
    places = {f"{scheme}:{value}" for scheme, value in said if scheme in tables.place_schemes and value}
    bodies = {f"{scheme}:{value}" for scheme, value in said if scheme in tables.body_schemes and value}
    return places, bodies
