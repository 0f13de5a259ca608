"""Text search: what a query means in the words that places have, and keeping those words."""

from collections.abc import Sequence

from rapidfuzz.distance import OSA

from services.canonical import fold
from services.postgres import Connection
from services.sync import search_store
from services.sync.search_store import Term

AT_ONCE = 500
MOST_TERMS = 12
# A word of fewer letters is another word when one of them is.
SHORTEST = 4
LONGEST = 60
# Words of the lexicon that are looked at, and that a mistyped one may stand for.
LOOKED_AT, MEANT = 200, 3


async def query(conn: Connection, text: str) -> str | None:
    """A text as a tsquery: all of its words, each by its stem, as a beginning, or as what was meant.

    None where there is no word in it, which asks for nothing.
    """
    words = [word[:LONGEST] for word in dict.fromkeys(fold(text).split())][:MOST_TERMS]
    if not words:
        return None
    terms = await search_store.terms(conn, words)
    return " & ".join([_said(term, () if term.known else await meant(conn, term.word)) for term in terms])


def _said(term: Term, others: Sequence[str]) -> str:
    ways = [f"{quoted(term.word)}:*", *map(quoted, (*term.stems, *others))]
    return f"({' | '.join(ways)})"


def quoted(word: str) -> str:
    """A word as a part of a tsquery that stands for nothing but itself."""
    escaped = word.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


async def meant(conn: Connection, word: str) -> list[str]:
    """The words of places that are nearest to one that none has: one mistake in a short word, two in a long one."""
    if len(word) < SHORTEST:
        return []
    most = 1 if len(word) < 2 * SHORTEST else 2
    known = grams(word)
    # A mistake spoils five of the pairs and triples at most, or six at an end.
    found = await search_store.similar(conn, known, max(1, len(known) - 6 * most), LOOKED_AT)
    near = sorted((OSA.distance(word, each, score_cutoff=most), each) for each in found)
    least = near[0][0] if near else most + 1
    return [each for distance, each in near if distance == least <= most][:MEANT]


def grams(word: str) -> list[str]:
    """The pairs and triples of letters of a word, its beginning and end marked; sorted, each once."""
    marked = f"<{word}>"
    return sorted({marked[i : i + n] for n in (2, 3) for i in range(len(marked) - n + 1)})


async def read_changed(conn: Connection) -> int:
    """Let places that have changed be found by the words they have now, some at a time; how many changes that were.

    Words that no place has any more are forgotten: what is erased is not read off the lexicon.
    """
    async with conn.transaction():
        changes = await search_store.waiting(conn, AT_ONCE)
        if changes:
            ids = set(changes.values())
            before = await search_store.words_of(conn, ids)
            now = {word for word in await search_store.index(conn, ids) if len(word) <= LONGEST}
            new = await search_store.unheard_of(conn, now)
            await search_store.learn(conn, [(word, grams(word)) for word in new])
            await search_store.forget(conn, before - now)
            await search_store.done(conn, changes)
    return len(changes)
