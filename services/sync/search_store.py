"""Every SQL statement of the text search, one function each."""

from collections.abc import Collection, Sequence

from msgspec import Struct

from services.postgres import Connection


class Term(Struct, frozen=True):
    """A word of a query: its stems, and whether a place has it, or a word that begins with it."""

    word: str
    stems: tuple[str, ...]
    known: bool


async def terms(conn: Connection, words: Sequence[str]) -> list[Term]:
    """What is known of these folded words."""
    rows = await conn.fetch(
        """SELECT t.word, t.stems,
                  EXISTS (SELECT FROM lexicon l WHERE l.word >= t.word AND l.word < t.word || chr(1114111))
                  OR EXISTS (SELECT FROM search WHERE doc @@ array_to_string(
                         ARRAY(SELECT quote_literal(stem) FROM unnest(t.stems) AS stem), '|')::tsquery) AS known
           FROM (SELECT word, ts_lexize('french_stem', word) AS stems FROM unnest($1::text[]) AS word) AS t""",
        list(words),
    )
    return [Term(row["word"], tuple(row["stems"] or ()), row["known"]) for row in rows]


async def similar(conn: Connection, grams: Collection[str], least: int, limit: int) -> list[str]:
    """Words that have at least so many of these pairs and triples of letters, those that have most first."""
    rows = await conn.fetch(
        """SELECT word FROM (
               SELECT word, cardinality(ARRAY(SELECT unnest(grams) INTERSECT SELECT unnest($1::text[]))) AS shared,
                      cardinality(grams) AS n
               FROM lexicon WHERE grams && $1::text[]) AS near
           WHERE shared >= $2 ORDER BY shared DESC, n, word LIMIT $3""",
        sorted(grams),
        least,
        limit,
    )
    return [row["word"] for row in rows]


async def waiting(conn: Connection, limit: int) -> dict[int, str]:
    """Places that have changed since they were read for searching, by the number of the change."""
    rows = await conn.fetch("SELECT no, id FROM unsearched ORDER BY no LIMIT $1", limit)
    return {row["no"]: row["id"] for row in rows}


async def done(conn: Connection, numbers: Collection[int]) -> None:
    """These changes have been read."""
    await conn.execute("DELETE FROM unsearched WHERE no = ANY($1::bigint[])", list(numbers))


async def words_of(conn: Connection, ids: Collection[str]) -> set[str]:
    """The words by which these places are found now."""
    rows = await conn.fetch(
        """SELECT DISTINCT lexeme FROM search, unnest(doc) WHERE id = ANY($1::text[])""",
        list(ids),
    )
    return {row["lexeme"] for row in rows}


async def index(conn: Connection, ids: Collection[str]) -> list[str]:
    """Let these places be found by the words that they have now; all those words, folded and as they stand."""
    await conn.execute(
        "DELETE FROM search WHERE id = ANY($1::text[]) AND NOT EXISTS (SELECT FROM view v WHERE v.id = search.id)",
        list(ids),
    )
    rows = await conn.fetch(
        """WITH now AS (
               INSERT INTO search (id, doc) SELECT id, searched(words) FROM view WHERE id = ANY($1::text[])
               ON CONFLICT (id) DO UPDATE SET doc = excluded.doc)
           SELECT DISTINCT word FROM view, regexp_split_to_table(words, '\\s+') AS word
           WHERE id = ANY($1::text[]) AND word <> ''""",
        list(ids),
    )
    return [row["word"] for row in rows]


async def unheard_of(conn: Connection, words: Collection[str]) -> list[str]:
    """Those of these words that the lexicon does not have."""
    rows = await conn.fetch(
        "SELECT word FROM unnest($1::text[]) AS t(word) WHERE NOT EXISTS (SELECT FROM lexicon l WHERE l.word = t.word)",
        sorted(words),
    )
    return [row["word"] for row in rows]


async def learn(conn: Connection, words: Collection[tuple[str, list[str]]]) -> None:
    """Put words into the lexicon, with their pairs and triples of letters."""
    await conn.executemany(
        "INSERT INTO lexicon (word, grams) VALUES ($1, $2) ON CONFLICT (word) DO NOTHING", words
    )


async def forget(conn: Connection, words: Collection[str]) -> None:
    """Drop those of these words that no place has any more."""
    await conn.execute(
        """DELETE FROM lexicon l USING unnest($1::text[]) AS t(word)
           WHERE l.word = t.word AND NOT EXISTS (SELECT FROM search WHERE doc @@ quote_literal(t.word)::tsquery)""",
        sorted(words),
    )
