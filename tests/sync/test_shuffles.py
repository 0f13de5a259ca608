"""Whatever is said, taken back and said again, in whatever order it is merged: it is what the batch gives."""

import json
import os
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import permutations, product
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from prometheus_client import CollectorRegistry

from bench import feeding
from bench.feeding import TIME, Log, uuid_of
from demo.postgres import Postgres
from schemas.event import CLAIM_PUT, CLAIM_WITHDRAW, PLACE_PUT, PLACE_WITHDRAW, RECORD_ERASE
from schemas.place import Place
from services import follow, follow_store
from services.follow_store import Source
from services.ledger import Pen
from services.postgres import Pool
from services.proofs import Followed
from services.sync import matching, merge, pairing, policy, store, upkeep
from services.sync.merge import POLICY, Record, Said, merged, view_bytes
from services.sync.profiles import profile
from services.sync.records import owner
from services.sync.store import Masked
from services.sync.work import Gauges

SHUFFLES = 1000 if os.environ.get("MAILLAGE_SOAK") else 60
# Of one life: then all is begun anew.
LIFE = 20
NETWORKS, PLACES, STEPS = 4, 4, 14

NAMES = ("Le Hub", "LE HUB", "Fablab Le Hub", "Le Hub Numérique", "Hub", "La Cantine", "Cantine de Rennes")
STREETS = ("3 rue de Nantes", "3 r. de Nantes", "5 rue de Nantes", None)


# Of which record, as what, in which words.
Draft = tuple[str, str, bytes]


class Life:
    """What networks said of a few places that are much alike, and of each other's; drawn by lot."""

    def __init__(self, chance: random.Random, pool: Pool, pen: Pen, logs: list[Log]) -> None:
        self.chance, self.pool, self.pen, self.logs = chance, pool, pen, logs
        self.gauges = Gauges(CollectorRegistry())
        self.records: dict[str, Record] = {}
        self.claims: dict[str, tuple[int, Said]] = {}
        self.leaves: dict[str, list[bytes]] = defaultdict(list)
        self.away: set[str] = set()
        self.hidden: set[str] = set()
        # Places of which nothing is said here.
        self.beside: dict[str, bytes] = {}
        self.done: Counter[str] = Counter()

    def step(self) -> tuple[Log, Draft]:
        """One thing is said: in which log, of which record, as what."""
        log = self.chance.choice(self.logs)
        records = [r for r in self.records.values() if r.id.startswith(log.node)]
        if len(self.records) > 3 and self.chance.random() < 0.5:
            return self._claim(log)
        there = [r for r in records if r.place is not None]
        if there and self.chance.random() < 0.3:
            gone = self.chance.choice(there)
            successor = self.chance.choice([None, None, *self.records])
            return log, (gone.id, PLACE_WITHDRAW, _json({"reason": "merged", "successor": successor}))
        number = self.chance.randrange(PLACES)
        id = f"{log.node}:{uuid_of(f'{log.node}{number}', number)}"
        self.done["said again"] += id in self.records and self.records[id].place is None
        return log, (id, PLACE_PUT, _json(self._place()))

    def _place(self) -> dict[str, Any]:
        chance = self.chance
        said: dict[str, Any] = {
            "name": chance.choice(NAMES),
            "status": "open",
            "kind": chance.choice(["physical"] * 9 + ["undisclosed"]),
            "address": {
                "street": chance.choice(STREETS),
                "postcode": chance.choice(("35000", "35000", "35200")),
                "city": "Rennes",
            },
            "phone": chance.choice((None, None, "+33299000001", "+33299000002")),
            "website": chance.choice((None, None, "https://hub.example/", "https://cantine.example/")),
            "join": chance.choice([None] * 9 + ["claims"]),
        }
        if chance.random() < 0.8:
            near = chance.choice((0, 0.0003, 0.003, 0.02))
            said["position"] = {"lat": 48.1 + near, "lon": -1.6, "precision": "exact"}
        if self.records and chance.random() < 0.1:
            said["origin"] = {"system": "copie", "id": chance.choice(list(self.records))}
        return {key: value for key, value in said.items() if value is not None}

    def _claim(self, log: Log) -> tuple[Log, Draft]:
        mine = [id for id in self.records if id.startswith(log.node)] or list(self.records)
        a, b = self.chance.choice(mine), self.chance.choice(list(self.records))
        standing = [id for id in self.claims if id.startswith(log.node)]
        if standing and self.chance.random() < 0.4:
            return log, (self.chance.choice(standing), CLAIM_WITHDRAW, b"{}")
        if self.chance.random() < 0.5:
            # An answer to what another says of hers.
            asked = [(s.b, s.a) for _, s in self.claims.values() if s.b.startswith(log.node)]
            a, b = self.chance.choice([*asked, (a, b)])
        verdict = self.chance.choices(("same", "distinct", "part-of", "contests"), (8, 2, 1, 1))[0]
        id = f"{log.node}:{uuid_of(f'{a}{b}', 500_000)}"
        statement = "Nous n'avons pas fermé." if verdict == "contests" else None
        said = {"a": a, "b": b, "verdict": verdict, "statement": statement}
        return log, (id, CLAIM_PUT, _json(said))

    async def live(self) -> None:
        """Something happens: mostly a network says something, now and then it is heard or shown no more, or again."""
        chance = self.chance.random()
        if chance < 0.04:
            await self.leave_or_return()
        elif chance < 0.09:
            await self.hide_or_show()
        elif chance < 0.12 and self.leaves:
            await self.erase(self.chance.choice(sorted(self.leaves)))
        else:
            log, draft = self.step()
            await self.say(log, [draft])

    async def say(self, log: Log, drafts: Sequence[Draft]) -> None:
        """A network says something, and is followed."""
        for event, draft in zip(await feeding.store(self.pool, log, drafts), drafts, strict=True):
            self.hear(log, event, draft)

    def hear(self, log: Log, event: Followed, draft: Draft) -> None:
        """What is said stands from now on."""
        id, type, data = draft
        self.done[type] += 1
        self.leaves[id].append(event.leaf)
        if type in (PLACE_PUT, PLACE_WITHDRAW):
            said = json.loads(data)
            place = msgspec.convert(said, Place) if type == PLACE_PUT else None
            version = log.versions[id]
            self.records[id] = Record(id, version, event.leaf.hex(), TIME, place, said.get("successor"))
            return
        self.records.pop(id, None)
        self.claims.pop(id, None)
        found = json.loads(data)
        if type == CLAIM_PUT and found["a"].startswith(log.node) and found["a"] != found["b"]:
            said = Said(log.node, found["a"], found["b"], found["verdict"], found.get("statement"))
            self.claims[id] = event.seq, said

    async def erase(self, id: str) -> None:
        """A network takes back every byte of a place, or of a claim."""
        log = next(log for log in self.logs if log.node == owner(id))
        data = _json({"leaves": [leaf.hex() for leaf in self.leaves.pop(id)]})
        (event,) = await feeding.store(self.pool, log, [(id, RECORD_ERASE, data)])
        async with self.pool.acquire() as conn, conn.transaction():
            assert event.event is not None
            await follow.forget(conn, log.node, event, event.event)
        self.done["place erased" if id in self.records else "claim erased"] += 1
        self.claims.pop(id, None)
        self.records[id] = Record(id, log.versions[id], event.leaf.hex(), TIME, None)

    async def leave_or_return(self) -> None:
        """The sync unfollows a network, or follows one again that it had unfollowed."""
        back = [log for log in self.logs if log.node in self.away]
        log = self.chance.choice(back or self.logs)
        self.done["followed again"] += bool(back)
        self.away ^= {log.node}
        there = [log for log in self.logs if log.node not in self.away]
        async with self.pool.acquire() as conn, conn.transaction():
            await follow_store.leave_others(conn, [log.node for log in there])
            for log in there:
                await follow_store.follow(conn, Source(log.node, "http://x", log.node[:2]))

    async def hide_or_show(self) -> None:
        """The operator hides a place or a claim, or shows one again."""
        known = sorted({*self.records, *self.claims})
        if not known:
            return
        some = sorted(self.hidden) if self.chance.random() < 0.6 else known
        id = self.chance.choice(some or known)
        self.done["shown again"] += id in self.hidden
        self.hidden ^= {id}
        async with self.pool.acquire() as conn, conn.transaction():
            await store.hide_only(conn, [Masked(one, "on-request", None) for one in self.hidden])

    def heard(self) -> list[Record]:
        """The records that count."""
        return [r for r in self.records.values() if owner(r.id) not in self.away and r.id not in self.hidden]

    def in_force(self) -> list[Said]:
        """For each claimant that is listened to, and each pair, the latest claim that is not hidden."""
        heard = [c for id, c in self.claims.items() if owner(id) not in self.away and id not in self.hidden]
        by_pair = {(s.claimant, frozenset((s.a, s.b))): s for _, s in sorted(heard, key=_seq)}
        return list(by_pair.values())

    async def merge(self) -> None:
        """The view follows."""
        await upkeep.merge_once(self.pool, self.pen, policy.adopted(), self.gauges)

    async def shown(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """The places of the view by id, and in which of them each record is."""
        async with self.pool.acquire() as conn:
            bodies = {r["id"]: r["body"] for r in await conn.fetch("SELECT id, body FROM view")}
            members = await conn.fetch("SELECT record, view FROM member WHERE view IS NOT NULL")
        return bodies, {r["record"]: r["view"] for r in members}

    async def is_the_batch(self) -> None:
        """Every byte, every id and every pair left open is what the batch makes of the end."""
        records, claims = self.heard(), self.in_force()
        batch = merge.batch(records, claims)
        views = [v for group in batch.clusters if (v := merged(group, claims)) is not None]
        bodies, home = await self.shown()
        beside = {record for record, view in home.items() if view in self.beside}
        async with self.pool.acquire() as conn:
            rows = await conn.fetch("SELECT a, b, points, why FROM alike")
        alike = [row for row in rows if row["a"] not in beside]
        assert bodies == {**self.beside, **{v.id: view_bytes(v) for v in views}}
        mine = {record: view for record, view in home.items() if record not in beside}
        assert mine == {alias: v.id for v in views for alias in v.aliases}
        profiles = {r.id: profile(r.id, r.place, POLICY) for r in records if r.place is not None}
        scores = pairing.all_alike(profiles, claims, POLICY)
        assert {(r["a"], r["b"]): r["points"] for r in alike} == {p: s.points for p, s in scores.items()}
        left = {pair: why for pair, why in batch.left.items() if why != "close" and pair in scores}
        assert {(r["a"], r["b"]): r["why"] for r in alike if r["why"]} == left
        owned = {frozenset((s.a, s.b)) for s in claims if s.verdict == "same"}
        self.done.update(left.values())
        self.done["without a network"] += bool(self.away and len(self.away) < len(self.logs))
        self.done["without a place"] += any(id in self.hidden for id, r in self.records.items() if r.place)
        self.done["answered"] += any(d.verdict == "contests" for v in views for d in v.disputes)
        self.done["disputed"] += any(v.disputes for v in views)
        self.done["joined"] += any(len(v.records) > 1 for v in views)
        self.done["joined unasked"] += any(
            len(v.records) > 1 and not any(pair <= {r.record for r in v.records} for pair in owned)
            for v in views
        )


def _seq(claim: tuple[int, Said]) -> tuple[str, int]:
    return claim[1].claimant, claim[0]


def _json(said: dict[str, Any]) -> bytes:
    return json.dumps({key: value for key, value in said.items() if value is not None}).encode()


async def test_any_order_gives_what_the_batch_gives(postgres: Postgres, tmp_path: Path) -> None:
    """Claims, withdrawals, removals and re-additions at any moment, merged at any moment: no byte differs."""
    done: Counter[str] = Counter()
    for seed in range(SHUFFLES // LIFE):
        chance, url = random.Random(seed), await postgres.create_database()
        async with feeding.fresh(url, tmp_path / str(seed), NETWORKS) as (pool, pen, logs):
            life = Life(chance, pool, pen, logs)
            for _ in range(LIFE):
                for _ in range(STEPS):
                    await life.live()
                    if chance.random() < 0.4:
                        await life.merge()
                await life.merge()
                await life.is_the_batch()
        await postgres.drop_database(url)
        done += life.done
    seen = {PLACE_WITHDRAW, CLAIM_PUT, CLAIM_WITHDRAW, "said again", "joined", "joined unasked", "disputed"}
    seen |= {"several", "between", "aside", "place erased", "claim erased", "answered"}
    seen |= {"without a network", "followed again", "without a place", "shown again"}
    assert {what for what in seen if done[what] < SHUFFLES // 20} == set(), done


# --- one pair, in all orders ------------------------------------------------------------------------------


class Contest(Struct, frozen=True):
    """A pair of records of two networks; `c` is the record of a third, the same as `a`.

    `likeness`: how alike the two are, `undone`: what the owner of `a` takes back.
    """

    a: str
    b: str
    c: str
    likeness: str
    undone: str


# How many owners have to say that they are one place.
WORDS = {"unlike": 2, "near": 1, "alike": 0}
SAID = ("one-sided", "mutual", "distinct", "withdrawn")
MENU = tuple(
    product(
        ("Fablab {}", "{}", "Atelier {}", "La Cantine"),
        ("3 rue de Nantes", "8 avenue Janvier"),
        (0, 0.003, 0.02),
        ("1", "2"),
    )
)


def placed(spot: int, kind: tuple[str, str, float, str]) -> dict[str, Any]:
    """A place on a spot of its own, more than 40 km from the next."""
    name, street, off, phone = kind
    word = "".join(chr(ord("a") + int(digit)) for digit in f"{spot:04}")
    lat, lon = -45 + 0.5 * (spot % 180) + off, spot // 180
    return {
        "name": name.format(f"Ker{word}"),
        "status": "open",
        "address": {"street": street, "postcode": "35000", "city": "Rennes"},
        "phone": f"+332{spot:07}{phone}",
        "position": {"lat": lat, "lon": lon, "precision": "exact"},
    }


def likenesses() -> dict[str, tuple[str, str, float, str]]:
    """What is alike, near and unlike the first of the menu, by the policy as it is."""

    def points(number: int) -> int:
        a, b = (
            profile(f"{node * 26}:{uuid_of('', 0)}", msgspec.convert(placed(0, kind), Place), POLICY)
            for node, kind in (("a", MENU[0]), ("b", MENU[number]))
        )
        found = matching.score(a, b, POLICY)
        assert found is not None
        return found.points

    rules, much = POLICY.matching, {kind: points(number) for number, kind in enumerate(MENU)}
    middle = (rules.propose + rules.join) // 2
    near = min(MENU, key=lambda kind: abs(much[kind] - middle))
    found = {"unlike": min(MENU, key=much.__getitem__), "near": near, "alike": MENU[0]}
    assert much[found["unlike"]] < rules.propose <= much[near] < rules.join <= much[MENU[0]] - rules.margin
    return found


def claim(who: str, verdict: str, a: str, b: str) -> Draft:
    """A claim in the log of `who`, be it hers to make or not."""
    data = {"a": a, "b": b, "verdict": verdict}
    return f"{who}:{uuid_of(f'{verdict}{a}{b}', 600_000)}", CLAIM_PUT, _json(data)


def taken_back(said: Draft) -> Draft:
    """The withdrawal of a claim, be it there or not."""
    return said[0], CLAIM_WITHDRAW, b"{}"


def word(step: str, on: Contest) -> Draft:
    """One of the four things that the owners say of a pair."""
    mine, theirs = owner(on.a), owner(on.b)
    said = {
        "one-sided": claim(mine, "same", on.a, on.b),
        "mutual": claim(theirs, "same", on.b, on.a),
        "distinct": claim(mine, "distinct", on.a, on.b),
        "withdrawn": taken_back(claim(mine, on.undone, on.a, on.b)),
    }
    return said[step]


def mischief(step: int, on: Contest, others: Sequence[str]) -> list[Draft]:
    """What a third network says between: of its own record and of those of others, which are not hers to judge."""
    third = owner(on.c)
    said = (
        [claim(third, "distinct", on.c, on.a), claim(third, "distinct", *others)],
        [claim(third, "distinct", on.c, on.b), claim(third, "distinct", on.a, on.b)],
        [taken_back(claim(third, "distinct", on.c, on.a)), claim(third, "same", on.c, others[0])],
        [claim(third, "same", on.a, on.b), claim(third, "part-of", on.c, others[1])],
    )
    return said[step]


async def contests(life: Life, order: int) -> tuple[list[Contest], list[str]]:
    """Pairs of every likeness, each on a spot of its own, and two records of others that are one place."""
    third, first, second, beside = life.logs
    kinds, drafts, found = likenesses(), defaultdict[str, list[Draft]](list), []
    ways = list(enumerate(product(WORDS, ("same", "distinct")), start=order * (2 * len(WORDS) + 1)))

    def put(log: Log, spot: int, kind: tuple[str, str, float, str]) -> str:
        id = f"{log.node}:{uuid_of(f'{log.node} {spot}', spot)}"
        drafts[log.node].append((id, PLACE_PUT, _json(placed(spot, kind))))
        return id

    for spot, (likeness, undone) in ways:
        a, b = put(first, spot, MENU[0]), put(second, spot, kinds[likeness])
        found.append(Contest(a, b, put(third, spot, MENU[0]), likeness, undone))
    others = [put(log, ways[-1][0] + 1, MENU[0]) for log in (second, beside)]
    for log in life.logs:
        await life.say(log, drafts[log.node])
    await life.merge()
    return found, others


def together(on: Contest, claims: Iterable[Said]) -> bool:
    """Whether a pair is one place by the latest word of each owner."""
    words = [s.verdict for s in claims if {s.a, s.b} == {on.a, on.b}]
    return "distinct" not in words and words.count("same") >= WORDS[on.likeness]


async def test_all_orders_of_what_is_said_of_one_pair(postgres: Postgres, tmp_path: Path) -> None:
    """`same` by one, by both, `distinct`, taken back: after each the batch, the latest words, and nobody else moved."""
    url, ends = await postgres.create_database(), Counter[tuple[str, bool]]()
    async with feeding.fresh(url, tmp_path, NETWORKS) as (pool, pen, logs):
        life = Life(random.Random(0), pool, pen, logs)
        for number, order in enumerate(permutations(SAID)):
            pairs, others = await contests(life, number)
            bodies, home = await life.shown()
            assert home[others[0]] == home[others[1]]
            before = bodies[home[others[0]]]
            for at, step in enumerate(order):
                await life.say(logs[0], [draft for on in pairs for draft in mischief(at, on, others)])
                # Merged alone, or together with what the owners say.
                if at % 2:
                    await life.merge()
                for log in logs[1:3]:
                    said = [draft for on in pairs if owner((draft := word(step, on))[0]) == log.node]
                    await life.say(log, said)
                await life.merge()
                await life.is_the_batch()
                bodies, home = await life.shown()
                assert bodies[home[others[0]]] == before
                for on in pairs:
                    one = together(on, life.in_force())
                    assert (home[on.a] == home[on.b]) is one, (order, step, on)
                    ends[on.likeness, one] += 1
            life.beside, life.records, life.claims = bodies, {}, {}
    await postgres.drop_database(url)
    assert min(ends[likeness, one] for likeness in WORDS for one in (True, False)) > 10, ends
