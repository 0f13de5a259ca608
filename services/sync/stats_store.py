"""Every SQL statement that counts places by what is said of them, now or at a position, one function each."""

from collections.abc import Sequence

from msgspec import Struct, convert

from schemas.event import VIEW_PUT
from services.postgres import Connection
from services.sync.history_store import CHANGED
from services.sync.items_store import Asked, chosen


class Stated(Struct, frozen=True):
    """Of which fields a present record says something."""

    record: str
    network: str
    said: tuple[str, ...]


class Count(Struct, frozen=True):
    """How many places have a value; None of those that have none."""

    what: str
    name: str | None
    n: int


class Heard(Struct, frozen=True):
    """How many records of a network say something of a field; None counts its records."""

    network: str
    field: str | None
    n: int


# `opened` and `closed` are partial dates, empty where one is to be expected and unknown.
COLUMNS = """networks, families, types, labels, licenses, status, departement, said, verified_on, erased,
             coalesce(opened_on, CASE WHEN status <> 'project' THEN '' END) AS opened,
             coalesce(closed_on, CASE WHEN status = 'closed' THEN '' END) AS closed,
             (updated AT TIME ZONE 'UTC')::date AS updated_on"""

OF_VIEW = "networks, families, types, labels, licenses, status, departement, said, verified_on, opened_on, closed_on"

THEN = f"""SELECT {OF_VIEW}, updated, false AS erased
           FROM ledger_record r JOIN view ON r.record = $2::text || ':' || id WHERE r.seq <= $1
           UNION ALL
           SELECT ARRAY(SELECT json_array_elements_text(networks)),
                  ARRAY(SELECT json_array_elements_text(traits->'families')),
                  ARRAY(SELECT json_array_elements_text(traits->'types')),
                  ARRAY(SELECT json_array_elements_text(traits->'labels')), '{{}}',
                  traits->>'status', traits->>'departement',
                  CASE json_typeof(after) WHEN 'object' THEN ARRAY(
                      SELECT field FROM json_object_keys(after) AS field) END,
                  after->>'verified_on', after->>'opened_on', after->>'closed_on', e.time, erasure IS NOT NULL
           FROM ledger_record r CROSS JOIN {CHANGED} AS e LEFT JOIN LATERAL
                json_to_record(convert_from(nullif(e.raw, ''), 'UTF8')::json->'data')
                    AS told(networks json, traits json, after json) ON true
           WHERE r.seq > $1 AND e.type = '{VIEW_PUT}'"""  # noqa: S608 constant

# By what places are counted: lists item by item, and what one place has one of.
LISTS = ("networks", "families", "types", "labels", "licenses", "said")
ONES = ("status", "departement", "opened", "closed", "verified_on", "updated_on", "erased")
# Of these it is told how many places have none.
MISSED = ("families", "types", "labels")


def _part(place: int, name: str) -> str:
    """The numbers of one of these out of the look at all; `grouping` has a bit for each that was left out."""
    left_out = 2 ** len((*LISTS, *ONES)) - 1 - 2 ** (len((*LISTS, *ONES)) - 1 - place)
    if name in LISTS:
        join = f"LEFT JOIN unnest({name}) AS name ON true" if name in MISSED else f", unnest({name}) AS name"
        return f"SELECT '{name}' AS what, name, n FROM alike {join} WHERE left_out = {left_out}"  # noqa: S608
    return f"SELECT '{name}' AS what, {name}::text AS name, n FROM alike WHERE left_out = {left_out}"  # noqa: S608


# One look at each place; of lists first those that are the same are counted, which are few.
COUNTED = f"""WITH alike AS MATERIALIZED (
        SELECT {", ".join((*LISTS, *ONES))}, grouping({", ".join((*LISTS, *ONES))}) AS left_out,
               CASE WHEN grouping(erased) = 0 THEN count(*) ELSE count(*) FILTER (WHERE NOT erased) END AS n
        FROM (SELECT {COLUMNS} FROM ({{places}}) AS place WHERE {{chosen}}) AS place
        GROUP BY GROUPING SETS ({", ".join((*LISTS, *ONES))})
    ), counted AS ({" UNION ALL ".join(_part(*each) for each in enumerate((*LISTS, *ONES)))})
    SELECT what, name, sum(n)::bigint AS n FROM counted WHERE n > 0 GROUP BY what, name ORDER BY what, name"""  # noqa: S608


async def counts(conn: Connection, asked: Asked) -> list[Count]:
    """Places of the view by what and name, sorted by both.

    The names of what are those of `LISTS` and `ONES`. `opened` and `closed` are partial dates, empty where one is to be
    expected and unknown, none where not. Places that are `erased` (`true`), of which no more is known, are in no
    other number.
    """
    found = chosen(asked)
    statement = COUNTED.format(places="SELECT *, false AS erased FROM view", chosen=found)
    return convert(await conn.fetch(statement, *found.arguments), list[Count])


async def counts_at(conn: Connection, node: str, at: int, asked: Asked) -> list[Count]:
    """The same of the view at a position. Of what is asked, networks, families, labels, states and départements count.

    What changed since has no licences there, and `updated` is when the view told it.
    """
    found = chosen(asked, at, node)
    statement = COUNTED.format(places=THEN, chosen=found)
    return convert(await conn.fetch(statement, *found.arguments), list[Count])


async def heard(conn: Connection, asked: Asked) -> list[Heard]:
    """How many records of each network there are in these places, and say something of each field."""
    found = chosen(asked)
    rows = await conn.fetch(
        f"""WITH alike AS MATERIALIZED (
                SELECT network, said, count(*) AS n FROM stated
                WHERE {
            "true"
            if asked == Asked()
            else f'''record IN (
                    SELECT record FROM member WHERE view IN (SELECT id FROM view WHERE {found}))'''
        }
                GROUP BY network, said)
            SELECT network, NULL AS field, sum(n)::bigint AS n FROM alike GROUP BY network
            UNION ALL
            SELECT network, field, sum(n)::bigint FROM alike, unnest(said) AS field GROUP BY network, field
            ORDER BY network, field NULLS FIRST""",  # noqa: S608 constants and placeholders
        *found.arguments,
    )
    return convert(rows, list[Heard])


async def set_stated(conn: Connection, records: Sequence[str], stated: Sequence[Stated]) -> None:
    """Of which fields these records say something; of those left out nothing is kept."""
    present = [each.record for each in stated]
    gone = sorted(set(records).difference(present))
    await conn.execute("DELETE FROM stated WHERE record = ANY($1::text[])", gone)
    await conn.execute(
        """INSERT INTO stated (record, network, said)
           SELECT record, network, string_to_array(said, ' ')
           FROM unnest($1::text[], $2::text[], $3::text[]) AS t(record, network, said)
           ON CONFLICT (record) DO UPDATE SET said = excluded.said WHERE stated.said <> excluded.said""",
        present,
        [each.network for each in stated],
        [" ".join(each.said) for each in stated],
    )
