"""Every SQL statement of the registry, one function each."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from msgspec import Struct, convert

from schemas.place import Place
from services import postgres
from services.canonical import fold
from services.places import departement
from services.postgres import COPY_FROM, Connection
from services.registry.decide import Rival, Row

ROW = "id::text, version, epoch, seq, updated_at, body, withdrawn, successor"


class Token(Struct, frozen=True):
    """A way in for somebody; the secret itself is not kept."""

    id: UUID
    name: str
    role: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class Answered(Struct, frozen=True):
    """A request that was answered under an idempotency key."""

    request: bytes
    seq: int


class Job(Struct, frozen=True):
    """An import: what was asked and how far it is."""

    id: UUID
    source: str
    mode: str
    format: str
    mapping: bytes
    license: str | None
    missing: str
    confirm: int | None
    author: str
    created_at: datetime
    state: str
    total: int
    done: int
    counts: bytes
    error: bytes | None = None
    confirm_needed: int | None = None


class ReportLine(Struct, frozen=True):
    """What became of one row of a list, where there is something to say of it."""

    line: int
    outcome: str
    faults: bytes


class Imported(Struct, frozen=True):
    """Which place a row of a list is, what the row said last, and whether the last list lacked it."""

    place: str
    body: bytes
    absent: bool


class Asked(Struct, frozen=True):
    """Which places a list shows; nothing said is no condition.

    `words` is folded; `bbox` is west, south, east, north; `after` a place id; `near` latitude, longitude and
    kilometres; `home` the licence of records that name none.
    """

    statuses: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    insee: str | None = None
    bbox: tuple[float, float, float, float] | None = None
    words: tuple[str, ...] = ()
    updated_since: datetime | None = None
    after: str | None = None
    limit: int | None = None
    departements: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    near: tuple[float, float, float] | None = None
    home: str = ""


class Point(Struct, frozen=True):
    """A place on a map."""

    lon: float
    lat: float
    id: str
    body: bytes
    families: tuple[str, ...]


def words(place: Place) -> str:
    """What free-text search looks in: names, city and summary, folded."""
    city = place.address.city if place.address else None
    parts = (place.name, *place.alternate_names, city or "", place.summary or "")
    return fold(" ".join(parts))


async def rows(conn: Connection, ids: Sequence[str]) -> dict[str, Row]:
    """Places by id."""
    found = await conn.fetch(f"SELECT {ROW} FROM place WHERE id = ANY($1::uuid[])", list(ids))  # noqa: S608
    return {row["id"]: convert(row, Row) for row in found}


async def others(conn: Connection, ids: Sequence[str]) -> dict[str, Row]:
    """Claims, terms and areas by id."""
    found = await conn.fetch(f"SELECT {ROW} FROM other WHERE id = ANY($1::uuid[])", list(ids))  # noqa: S608
    return {row["id"]: convert(row, Row) for row in found}


async def other(conn: Connection, kind: str, id: str) -> Row | None:
    """A claim, term or area."""
    row = await conn.fetchrow(f"SELECT {ROW} FROM other WHERE kind = $1 AND id = $2", kind, id)  # noqa: S608
    return None if row is None else convert(row, Row)


async def namesakes(conn: Connection, node: str, names: Sequence[str]) -> dict[str, list[Rival]]:
    """Places in force and not closed by folded name, under the id that the federation knows."""
    found = await conn.fetch(
        """SELECT id::text, name, body FROM place
           WHERE name = ANY($1::text[]) AND withdrawn IS NULL AND status <> 'closed'""",
        list(names),
    )
    rivals: dict[str, list[Rival]] = {}
    for row in found:
        place = msgspec.json.decode(row["body"], type=Place)
        rivals.setdefault(row["name"], []).append(Rival(id=f"{node}:{row['id']}", place=place))
    return rivals


async def save_places(conn: Connection, saved: Sequence[tuple[Row, Place]]) -> None:
    """Write places as they stand now; those at their first version are new."""
    new = [one for one in saved if one[0].version == 1]
    if len(new) >= COPY_FROM:
        await conn.copy_records_to_table("place", records=[_columns(r, p) for r, p in new], columns=PLACE)
        saved = [one for one in saved if one[0].version != 1]
    if not saved:
        return
    columns = list(zip(*(_columns(r, p) for r, p in saved), strict=True))
    columns[PLACE.index("families")] = tuple(" ".join(p.families) for _, p in saved)
    await conn.execute(
        """INSERT INTO place (id, version, epoch, seq, updated_at, body, withdrawn, successor, status, name,
                              words, insee, departement, families, lat, lon)
           SELECT id, version, epoch, seq, at, body, withdrawn, successor, status, name, words, insee, dep,
                  string_to_array(families, ' '), lat, lon
           FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::bigint[], $5::timestamptz[], $6::bytea[],
                       $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::text[],
                       $14::text[], $15::float8[], $16::float8[])
                AS t(id, version, epoch, seq, at, body, withdrawn, successor, status, name, words, insee, dep,
                     families, lat, lon)
           ON CONFLICT (id) DO UPDATE SET
               version = excluded.version, epoch = excluded.epoch, seq = excluded.seq,
               updated_at = excluded.updated_at, body = excluded.body, withdrawn = excluded.withdrawn,
               successor = excluded.successor, status = excluded.status, name = excluded.name,
               words = excluded.words, insee = excluded.insee, departement = excluded.departement,
               families = excluded.families, lat = excluded.lat, lon = excluded.lon""",
        *columns,
    )


PLACE = (
    *("id", "version", "epoch", "seq", "updated_at", "body", "withdrawn", "successor"),
    *("status", "name", "words", "insee", "departement", "families", "lat", "lon"),
)


def _columns(r: Row, p: Place) -> tuple[object, ...]:
    """A place as a row of its table, in the order of `PLACE`."""
    return (
        *(r.id, r.version, r.epoch, r.seq, r.updated_at, r.body, r.withdrawn, r.successor),
        *(p.status, fold(p.name), words(p), p.address.insee if p.address else None, departement(p)),
        list(p.families),
        *((p.position.lat, p.position.lon) if p.position else (None, None)),
    )


async def save_others(conn: Connection, saved: Sequence[tuple[Row, str, str]]) -> None:
    """Write claims, terms and areas as they stand now: row, kind, key."""
    await conn.executemany(
        """INSERT INTO other (id, kind, key, version, epoch, seq, updated_at, body, withdrawn, successor)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
           ON CONFLICT (id) DO UPDATE SET
               version = excluded.version, epoch = excluded.epoch, seq = excluded.seq,
               updated_at = excluded.updated_at, body = excluded.body, withdrawn = excluded.withdrawn,
               successor = excluded.successor""",
        [
            (r.id, kind, key, r.version, r.epoch, r.seq, r.updated_at, r.body, r.withdrawn, r.successor)
            for r, kind, key in saved
        ],
    )


async def otherwise(
    conn: Connection, places: Sequence[tuple[Row, Place]], others: Sequence[tuple[Row, str, str]]
) -> list[str]:
    """Ids of those of these records of which the rows say something else."""
    found = await conn.fetch(
        f"SELECT {', '.join(PLACE)} FROM place WHERE id = ANY($1::uuid[])",  # noqa: S608 constant
        [r.id for r, _ in places],
    )
    known = {str(row["id"]): (str(row["id"]), *tuple(row.values())[1:]) for row in found}
    wrong = [r.id for r, p in places if known.get(r.id) != _columns(r, p)]
    found = await conn.fetch(
        f"SELECT {ROW}, kind, key FROM other WHERE id = ANY($1::uuid[])",  # noqa: S608 constant
        [r.id for r, _, _ in others],
    )
    said = {row["id"]: (convert(row, Row), row["kind"], row["key"]) for row in found}
    return [*wrong, *(r.id for r, kind, key in others if said.get(r.id) != (r, kind, key))]


async def strangers(conn: Connection, node: str) -> list[str]:
    """Ids of rows of which the log knows nothing."""
    rows = await conn.fetch(
        """SELECT id::text FROM (SELECT id FROM place UNION ALL SELECT id FROM other) AS mine
           WHERE NOT EXISTS (SELECT FROM ledger_record WHERE record = $1 || ':' || id::text)""",
        node,
    )
    return [row["id"] for row in rows]


async def drop_rows(conn: Connection, ids: Sequence[str]) -> None:
    """Records whose rows are about to be made again."""
    await conn.execute("DELETE FROM place WHERE id = ANY($1::uuid[])", list(ids))
    await conn.execute("DELETE FROM other WHERE id = ANY($1::uuid[])", list(ids))


async def save_erased(conn: Connection, rows: Sequence[Row]) -> None:
    """Records that are gone for good: the id stays, and nothing else; what lists said of them goes too."""
    ids = [r.id for r in rows]
    await conn.execute(
        """INSERT INTO place (id, version, epoch, seq, updated_at, body, withdrawn, status, name, words, families)
           SELECT *, 'closed', '', '', '{}' FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::bigint[],
                                                       $5::timestamptz[], $6::bytea[], $7::text[])""",
        ids,
        [r.version for r in rows],
        [r.epoch for r in rows],
        [r.seq for r in rows],
        [r.updated_at for r in rows],
        [r.body for r in rows],
        [r.withdrawn for r in rows],
    )
    await conn.execute(
        """DELETE FROM import_line WHERE import IN (SELECT id FROM import WHERE source IN
               (SELECT source FROM imported WHERE place = ANY($1::uuid[])))""",
        ids,
    )
    await conn.execute("UPDATE imported SET body = '{}' WHERE place = ANY($1::uuid[])", ids)


async def forget_lists(conn: Connection, places: Sequence[str]) -> None:
    """Which rows of lists were places that never were."""
    await conn.execute("DELETE FROM imported WHERE place = ANY($1::uuid[])", list(places))


async def say_again(conn: Connection, places: Sequence[str]) -> None:
    """Rows of lists say what their places are now: the next list is compared with that."""
    await conn.execute(
        "UPDATE imported i SET body = p.body FROM place p WHERE p.id = i.place AND p.id = ANY($1::uuid[])",
        list(places),
    )


async def forget_answers_beyond(conn: Connection) -> None:
    """Requests that were answered by events which are no longer in the log."""
    await conn.execute("DELETE FROM answered WHERE seq > (SELECT coalesce(max(seq), 0) FROM ledger_event)")


async def keyed(conn: Connection, kind: str, keys: Sequence[str]) -> dict[str, str]:
    """Ids of claims, terms or areas by their key."""
    found = await conn.fetch(
        "SELECT key, id::text FROM other WHERE kind = $1 AND key = ANY($2::text[])", kind, list(keys)
    )
    return {row["key"]: row["id"] for row in found}


async def listed_others(
    conn: Connection, kind: str, *, after: str | None, limit: int, about: str | None = None
) -> list[Row]:
    """Claims, terms or areas in force by id; `about`: whose key contains this."""
    found = await conn.fetch(
        f"""SELECT {ROW} FROM other
            WHERE kind = $1 AND withdrawn IS NULL AND ($2::uuid IS NULL OR id > $2)
              AND ($4::text IS NULL OR position($4 in key) > 0)
            ORDER BY id LIMIT $3""",  # noqa: S608 constant
        kind,
        after,
        limit,
        about,
    )
    return convert(found, list[Row])


def _selection(asked: Asked) -> tuple[str, list[object]]:
    """The WHERE clause and arguments of a list of places."""
    box = asked.bbox or (None, None, None, None)
    clause = """withdrawn IS NULL
        AND ($1::text[] = '{}' OR status = ANY($1))
        AND ($2::text[] = '{}' OR families && $2)
        AND ($3::text IS NULL OR insee = $3)
        AND ($4::float8 IS NULL OR (lat BETWEEN $5 AND $7 AND
             CASE WHEN $4 <= $6 THEN lon BETWEEN $4 AND $6 ELSE lon >= $4 OR lon <= $6 END))
        AND words LIKE ALL ($8::text[])
        AND ($9::timestamptz IS NULL OR updated_at >= $9)
        AND ($10::uuid IS NULL OR id > $10)
        AND ($11::text[] = '{}' OR departement = ANY($11))
        AND ($12::text[] = '{}' OR coalesce(convert_from(body, 'UTF8')::json->>'license', $13) = ANY($12))
        AND ($14::float8 IS NULL OR 12742 * asin(least(1, sqrt(sin(radians(lat - $14) / 2) ^ 2 + cos(radians(lat))
             * cos(radians($14)) * sin(radians(lon - $15) / 2) ^ 2))) <= $16)"""
    patterns = ["%" + postgres.literal(w) + "%" for w in asked.words]
    near = asked.near or (None, None, None)
    arguments: list[object] = [asked.statuses, asked.families, asked.insee, *box, patterns]
    arguments += [asked.updated_since, asked.after, asked.departements, asked.licenses, asked.home, *near]
    return clause, arguments


async def listed(conn: Connection, asked: Asked) -> list[Row]:
    """Places in force by id, for a page."""
    clause, arguments = _selection(asked)
    found = await conn.fetch(
        f"SELECT {ROW} FROM place WHERE {clause} ORDER BY id LIMIT $17",  # noqa: S608 constant
        *arguments,
        asked.limit,
    )
    return convert(found, list[Row])


async def every_place(conn: Connection, asked: Asked) -> AsyncIterator[Row]:
    """All places in force by id. Needs an open transaction."""
    clause, arguments = _selection(asked)
    statement = f"SELECT {ROW} FROM place WHERE {clause} ORDER BY id"  # noqa: S608 constant
    async for row in conn.cursor(statement, *arguments, prefetch=500):
        yield convert(row, Row)


async def by_name(conn: Connection, asked: Asked, *, after: str | None, limit: int) -> list[Row]:
    """Places in force by folded name and id, those that come after one of them."""
    clause, arguments = _selection(asked)
    found = await conn.fetch(
        f"""SELECT {ROW} FROM place
            WHERE {clause}
              AND ($17::uuid IS NULL OR (name, id) > (SELECT name, id FROM place AS last WHERE last.id = $17))
            ORDER BY name, id LIMIT $18""",  # noqa: S608 constant
        *arguments,
        after,
        limit,
    )
    return convert(found, list[Row])


async def points(conn: Connection, asked: Asked, limit: int) -> list[Point]:
    """Places in force that have a position, by folded name and id."""
    clause, arguments = _selection(asked)
    found = await conn.fetch(
        f"""SELECT lon, lat, id::text, body, families FROM place WHERE {clause} AND lat IS NOT NULL
            ORDER BY name, id LIMIT $17""",  # noqa: S608 constant
        *arguments,
        limit,
    )
    return convert(found, list[Point])


async def matched(conn: Connection, asked: Asked) -> tuple[int, int]:
    """How many places there are, and how many of them have no position."""
    clause, arguments = _selection(asked)
    rows = await conn.fetch(
        f"SELECT count(*), count(*) FILTER (WHERE lat IS NULL) FROM place WHERE {clause}",  # noqa: S608 constant
        *arguments,
    )
    return int(rows[0][0]), int(rows[0][1])


# What places are counted by; each gives a row for each value that a place has.
FACETS = {
    "family": "unnest(families)",
    "status": "status",
    "departement": "departement",
    "license": "coalesce(convert_from(body, 'UTF8')::json->>'license', $13)",
    "type": "json_array_elements_text(convert_from(body, 'UTF8')::json->'types')",
}


async def counted(conn: Connection, asked: Asked, facet: str, limit: int) -> list[tuple[str, int]]:
    """The values of a facet with how many places have each, the most frequent first."""
    clause, arguments = _selection(asked)
    found = await conn.fetch(
        f"""SELECT value, count(*) FROM (SELECT {FACETS[facet]} AS value FROM place WHERE {clause}) AS each
            WHERE value IS NOT NULL GROUP BY value ORDER BY count(*) DESC, value COLLATE "C" LIMIT $17""",  # noqa: S608 constant
        *arguments,
        limit,
    )
    return [(row["value"], row["count"]) for row in found]


async def count_places(conn: Connection) -> int:
    """Places in force."""
    return int(await conn.fetchval("SELECT count(*) FROM place WHERE withdrawn IS NULL"))


async def add_token(conn: Connection, token: Token, hash: bytes) -> None:
    """Keep a token by the hash of its secret."""
    await conn.execute(
        "INSERT INTO token (id, name, role, hash, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)",
        token.id,
        token.name,
        token.role,
        hash,
        token.created_at,
        token.expires_at,
    )


async def token(conn: Connection, hash: bytes) -> Token | None:
    """The token whose secret has this hash."""
    row = await conn.fetchrow(
        "SELECT id, name, role, created_at, expires_at, revoked_at FROM token WHERE hash = $1", hash
    )
    return None if row is None else convert(row, Token)


async def tokens(conn: Connection) -> list[Token]:
    """All tokens, oldest first."""
    rows = await conn.fetch(
        "SELECT id, name, role, created_at, expires_at, revoked_at FROM token ORDER BY created_at"
    )
    return convert(rows, list[Token])


async def revoke_token(conn: Connection, id: UUID, at: datetime) -> bool:
    """Revoke; whether there was such a token in force."""
    result = await conn.execute(
        "UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL", id, at
    )
    return str(result).endswith(" 1")


async def answered(conn: Connection, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answered]:
    """Requests already answered, by token and idempotency key."""
    rows = await conn.fetch(
        """SELECT token::text, key, request, seq FROM answered
           WHERE (token, key) IN (SELECT * FROM unnest($1::uuid[], $2::text[]))""",
        [token for token, _ in keys],
        [key for _, key in keys],
    )
    return {(r["token"], r["key"]): Answered(request=r["request"], seq=r["seq"]) for r in rows}


async def remember_answers(
    conn: Connection, answers: Iterable[tuple[str, str, bytes, int, datetime]]
) -> None:
    """Keep that requests were answered: token, key, hash of the request, seq of the event, time."""
    await conn.executemany(
        "INSERT INTO answered (token, key, request, seq, at) VALUES ($1, $2, $3, $4, $5)", list(answers)
    )


async def forget_answers(conn: Connection, before: datetime) -> None:
    """Idempotency keys are honoured for a day."""
    await conn.execute("DELETE FROM answered WHERE at < $1", before)


JOB = """id, source, mode, format, mapping, license, missing, confirm, author, created_at, state, total,
         done, counts, error, confirm_needed"""


async def add_job(conn: Connection, job: Job) -> None:
    """Keep what was asked of an import."""
    await conn.execute(
        f"""INSERT INTO import ({JOB})
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)""",  # noqa: S608
        *msgspec.structs.astuple(job),
    )


async def add_chunk(conn: Connection, job: UUID, n: int, data: bytes) -> None:
    """Keep a piece of an uploaded file."""
    await conn.execute("INSERT INTO import_chunk (import, n, data) VALUES ($1, $2, $3)", job, n, data)


async def chunk(conn: Connection, job: UUID, n: int) -> bytes | None:
    """A piece of an uploaded file."""
    data: bytes | None = await conn.fetchval(
        "SELECT data FROM import_chunk WHERE import = $1 AND n = $2", job, n
    )
    return data


async def drop_chunks(conn: Connection, job: UUID) -> None:
    """An upload is of no use once its import has ended."""
    await conn.execute("DELETE FROM import_chunk WHERE import = $1", job)


async def job(conn: Connection, id: UUID) -> Job | None:
    """An import by its id."""
    row = await conn.fetchrow(f"SELECT {JOB} FROM import WHERE id = $1", id)  # noqa: S608 constant
    return None if row is None else convert(row, Job)


async def waiting_job(conn: Connection) -> Job | None:
    """The oldest import that has not ended."""
    row = await conn.fetchrow(
        f"""SELECT {JOB} FROM import WHERE state IN ('queued', 'running')
            ORDER BY created_at, id LIMIT 1"""  # noqa: S608 constant
    )
    return None if row is None else convert(row, Job)


async def last_jobs(conn: Connection, since: datetime) -> list[Job]:
    """The last import of each list, where it was asked for since then."""
    rows = await conn.fetch(
        f"""SELECT {JOB} FROM (
                SELECT DISTINCT ON (source) * FROM import ORDER BY source, created_at DESC, id DESC
            ) AS job WHERE created_at >= $1 ORDER BY created_at, id""",  # noqa: S608 constant
        since,
    )
    return convert(rows, list[Job])


async def drop_job(conn: Connection, id: UUID) -> None:
    """Forget an import that was refused, with its upload."""
    await conn.execute("DELETE FROM import WHERE id = $1", id)


async def queue_job(conn: Connection, id: UUID, *, state: str, format: str, mapping: bytes) -> None:
    """An upload is complete; `queued` ones wait for the import loop."""
    await conn.execute(
        "UPDATE import SET state = $2, format = $3, mapping = $4 WHERE id = $1", id, state, format, mapping
    )


async def move_job(
    conn: Connection,
    id: UUID,
    *,
    state: str,
    total: int,
    done: int,
    counts: bytes,
    error: bytes | None = None,
) -> None:
    """How far an import is; `error` is an encoded Fault."""
    await conn.execute(
        "UPDATE import SET state = $2, total = $3, done = $4, counts = $5, error = $6 WHERE id = $1",
        id,
        state,
        total,
        done,
        counts,
        error,
    )


async def need_confirm(conn: Connection, id: UUID, count: int | None) -> None:
    """How many places an import would take away, where that has to be confirmed."""
    await conn.execute("UPDATE import SET confirm_needed = $2 WHERE id = $1", id, count)


async def drop_jobs(conn: Connection, before: datetime) -> None:
    """Imports that have ended, with their reports."""
    await conn.execute("DELETE FROM import WHERE state IN ('done', 'failed') AND created_at < $1", before)


async def drop_uploads(conn: Connection, before: datetime) -> None:
    """Uploads that never became a job: the request was cut."""
    await conn.execute(
        "DELETE FROM import WHERE state IN ('uploading', 'by hand') AND created_at < $1", before
    )


async def clear_lines(conn: Connection, job: UUID) -> None:
    """An import that starts again writes its report anew."""
    await conn.execute("DELETE FROM import_line WHERE import = $1", job)


async def add_lines(conn: Connection, job: UUID, start: int, lines: Sequence[ReportLine]) -> None:
    """Lines of the report."""
    await conn.execute(
        """INSERT INTO import_line (import, n, line, outcome, faults)
           SELECT $1, n, line, outcome, faults
           FROM unnest($2::int[], $3::int[], $4::text[], $5::bytea[]) AS t(n, line, outcome, faults)""",
        job,
        list(range(start, start + len(lines))),
        [x.line for x in lines],
        [x.outcome for x in lines],
        [x.faults for x in lines],
    )


async def lines(conn: Connection, job: UUID, *, after: int, limit: int) -> list[tuple[int, ReportLine]]:
    """The report, in the order of the file, after the n-th line."""
    rows = await conn.fetch(
        "SELECT n, line, outcome, faults FROM import_line WHERE import = $1 AND n > $2 ORDER BY n LIMIT $3",
        job,
        after,
        limit,
    )
    return [(row["n"], convert(row, ReportLine)) for row in rows]


async def imported(conn: Connection, source: str, keys: Sequence[str]) -> dict[str, Imported]:
    """What is known of rows of a list."""
    rows = await conn.fetch(
        "SELECT key, place::text, body, absent FROM imported WHERE source = $1 AND key = ANY($2::text[])",
        source,
        list(keys),
    )
    return {row["key"]: convert(row, Imported) for row in rows}


async def sources(conn: Connection) -> list[str]:
    """The lists that were ever imported."""
    return [row[0] for row in await conn.fetch("SELECT DISTINCT source FROM imported ORDER BY source")]


async def remember_imported(conn: Connection, source: str, rows: Mapping[str, tuple[str, bytes]]) -> None:
    """Keep which place each row is and what it said."""
    await conn.execute(
        """INSERT INTO imported (source, key, place, body)
           SELECT $1, t.key, t.place, t.body
           FROM unnest($2::text[], $3::uuid[], $4::bytea[]) AS t(key, place, body)
           ON CONFLICT (source, key) DO UPDATE
           SET place = excluded.place, body = excluded.body, absent = false""",
        source,
        list(rows),
        [place for place, _ in rows.values()],
        [body for _, body in rows.values()],
    )


async def mark_absent(conn: Connection, source: str, places: Sequence[str]) -> None:
    """The last list of this source lacked these places: what came back then may come back."""
    await conn.execute(
        "UPDATE imported SET absent = true WHERE source = $1 AND place = ANY($2::uuid[])",
        source,
        list(places),
    )


async def imported_places(conn: Connection, source: str) -> dict[str, str]:
    """Key and place of every row that the last list of this source had and whose place is in force."""
    rows = await conn.fetch(
        """SELECT i.key, i.place::text FROM imported i JOIN place p ON p.id = i.place
           WHERE i.source = $1 AND NOT i.absent AND p.withdrawn IS NULL""",
        source,
    )
    return {row["key"]: row["place"] for row in rows}


async def open_places(conn: Connection, ids: Sequence[str]) -> int:
    """How many of these places are neither closed nor withdrawn."""
    return int(
        await conn.fetchval(
            """SELECT count(*) FROM place
               WHERE id = ANY($1::uuid[]) AND withdrawn IS NULL AND status <> 'closed'""",
            list(ids),
        )
    )
