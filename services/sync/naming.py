"""Names of places as weighted words: what tells two places apart weighs more than `espace` or a commune. Pure."""

import re
from collections.abc import Container, Iterator

from msgspec import Struct

from schemas.place import Place
from services.canonical import fold
from services.sync.policy import Matching, Tables

# A hostile record may bear thousands of names and words; a pair is scored in bounded time.
MOST_NAMES = 4
MOST_WORDS = 16
LONGEST_PHRASE = 5
PIECES = re.compile(r"[0-9]+|[^ 0-9]+")
ASIDE = re.compile(r"\(([^()]{3,})\)")


class Name(Struct, frozen=True, gc=False):
    """One name of a place. `glued` are its words in one; `words` are (word, weight) in their order, without
    numbers; `numbers` and `trades` (what the name says that the place does) are sorted.
    """

    glued: str
    words: tuple[tuple[str, int], ...]
    numbers: tuple[str, ...]
    trades: tuple[str, ...]


def names(place: Place, local: Container[str], matching: Matching) -> tuple[Name, ...]:
    """The names of a place, at most four; `local` are words of its commune, which weigh little."""
    said = dict.fromkeys((place.name, *place.alternate_names[: MOST_NAMES - 1]))
    if aside := ASIDE.search(place.name):
        said[ASIDE.sub(" ", place.name)] = None
        said[aside[1]] = None
    found = (_name(text, local, matching) for text in list(said)[:MOST_NAMES])
    return tuple(dict.fromkeys(name for name in found if name.glued))


def spelled(text: str, tables: Tables) -> list[str]:
    """The words of a text, folded, digits apart from letters, abbreviations written out, articles dropped."""
    written, articles = tables.abbreviations, tables.articles
    words = [written.get(word, word) for word in PIECES.findall(fold(text))]
    return [word for word in words if word not in articles]


def numeric(word: str) -> bool:
    """Whether a word of `spelled` is a number."""
    return "0" <= word[0] <= "9"


def _name(text: str, local: Container[str], matching: Matching) -> Name:
    tables, rare, common = matching.tables, matching.rare, matching.common
    said = [word for word in spelled(text, tables)[:MOST_WORDS] if word not in tables.legal_forms]
    words: dict[str, int] = {}
    numbers, trades = set(), set()
    for word, trade in _read(said, tables):
        if trade:
            trades.add(trade)
            words[word] = common
        elif not numeric(word):
            words[word] = common if len(word) == 1 or word in tables.generic or word in local else rare
        elif word not in local:
            numbers.add(word)
    return Name("".join(said), tuple(words.items()), tuple(sorted(numbers)), tuple(sorted(trades)))


def _read(said: list[str], tables: Tables) -> Iterator[tuple[str, str | None]]:
    """Words, and phrases that name a trade as one word, the longest first, with the trade."""
    at = 0
    while at < len(said):
        for end in range(min(len(said), at + LONGEST_PHRASE), at, -1):
            if trade := tables.trades.get(said[at] if end == at + 1 else " ".join(said[at:end])):
                yield trade, trade
                at = end
                break
        else:
            yield said[at], None
            at += 1
