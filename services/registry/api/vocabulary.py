"""`/vocabulary`: the network's own words. Each is a record, so renaming one is one event."""

from collections.abc import Iterable

import msgspec
from aiohttp import web
from msgspec import structs

from schemas.vocabulary import Term, Vocabulary
from services import http, ledger
from services.errors import Fault, Invalid
from services.http import Role, Route
from services.postgres import Connection
from services.registry import decide, store
from services.registry.api import records
from services.registry.context import POOL, WRITER
from services.registry.decide import State
from services.registry.writer import Asked

MOST = 5000


async def terms(conn: Connection) -> list[Term]:
    """All words of the network, retired ones included."""
    found: list[Term] = []
    after: str | None = None
    while rows := await store.listed_others(conn, "vocabulary", after=after, limit=1000):
        found += [msgspec.json.decode(r.body, type=Term) for r in rows]
        after = rows[-1].id
    return sorted(found, key=decide.word)


async def show_vocabulary(request: web.Request) -> web.Response:
    """The network's own words."""
    async with request.app[POOL].acquire() as conn:
        return http.reply(Vocabulary(terms=tuple(await terms(conn))))


def check(new: Vocabulary) -> None:
    """Invalid where a word is given twice or has no label."""
    faults: list[Fault] = []
    seen: set[str] = set()
    for place, term in enumerate(new.terms):
        if decide.word(term) in seen:
            faults.append(Fault(f"/terms/{place}", "{word} is given twice.", {"word": decide.word(term)}))
        if not any(label.strip() for label in term.labels.values()):
            faults.append(Fault(f"/terms/{place}/labels", "A word needs a label in at least one language."))
        if term.namespace == "commun":
            faults.append(
                Fault(
                    f"/terms/{place}/namespace",
                    "`commun` is the shared vocabulary; choose a name of your own.",
                )
            )
        if (size := len(msgspec.json.encode(term))) > ledger.MAX_DATA:
            args = {"limit": ledger.MAX_DATA, "size": size}
            faults.append(
                Fault(f"/terms/{place}", "A record holds at most {limit} bytes, this one has {size}.", args)
            )
        seen.add(decide.word(term))
    if len(new.terms) > MOST:
        faults.append(Fault("/terms", "At most {limit} words.", {"limit": MOST}))
    if faults:
        raise Invalid(faults=tuple(faults))


def retired(old: Iterable[Term], new: Vocabulary) -> list[Term]:
    """Words that the new vocabulary leaves out: kept, since places may still carry them."""
    kept = {decide.word(t) for t in new.terms}
    return [structs.replace(t, retired=True) for t in old if decide.word(t) not in kept]


async def put_vocabulary(request: web.Request) -> web.Response:
    """Replace the network's words, all at once. Words that are left out are retired; unchanged ones make no event."""
    new = await http.read(request, Vocabulary)
    check(new)
    author = records.author(request)

    async def wishes(conn: Connection) -> list[Asked]:
        wanted = [*new.terms, *retired(await terms(conn), new)]
        return [stated(term, author) for term in wanted]

    await request.app[WRITER].write_together(wishes)
    return await show_vocabulary(request)


def stated(term: Term, author: str) -> Asked:
    """The wish that a word be so from now on."""
    wish = State(id=records.mint(), body=msgspec.json.encode(term))
    return Asked(kind="vocabulary", wish=wish, author=author, key=decide.word(term))


ROUTES = (
    Route("GET", "/vocabulary", show_vocabulary, replies={200: Vocabulary}),
    Route(
        "PUT",
        "/vocabulary",
        put_vocabulary,
        body=Vocabulary,
        replies={200: Vocabulary},
        role=Role.ADMIN,
        limit=1024 * 1024,
    ),
)
