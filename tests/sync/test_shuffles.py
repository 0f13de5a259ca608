"""Whatever is said, taken back and said again, in whatever order it is merged: it is what the batch gives."""

import json
import os
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry

from bench import feeding
from bench.feeding import TIME, Log, uuid_of
from demo.postgres import Postgres
from schemas.event import CLAIM_PUT, CLAIM_WITHDRAW, PLACE_PUT, PLACE_WITHDRAW
from schemas.place import Place
from services.ledger import Pen
from services.postgres import Pool
from services.sync import merge, pairing, policy, upkeep
from services.sync.merge import POLICY, Record, Said, merged, view_bytes
from services.sync.profiles import profile
from services.sync.work import Gauges

SHUFFLES = 1000 if os.environ.get("MAILLAGE_SOAK") else 60
# Of one life: then all is begun anew.
LIFE = 20
NETWORKS, PLACES, STEPS = 4, 4, 14

NAMES = ("Le Hub", "LE HUB", "Fablab Le Hub", "Le Hub Numérique", "Hub", "La Cantine", "Cantine de Rennes")
STREETS = ("3 rue de Nantes", "3 r. de Nantes", "5 rue de Nantes", None)


class Life:
    """What networks said of a few places that are much alike, and of each other's; drawn by lot."""

    def __init__(self, chance: random.Random, pool: Pool, pen: Pen, logs: list[Log]) -> None:
        self.chance, self.pool, self.pen, self.logs = chance, pool, pen, logs
        self.gauges = Gauges(CollectorRegistry())
        self.records: dict[str, Record] = {}
        self.claims: dict[str, tuple[int, Said]] = {}
        self.done: Counter[str] = Counter()

    def step(self) -> tuple[Log, str, str, bytes]:
        """One thing happens: in which log, of which record, as what."""
        log = self.chance.choice(self.logs)
        records = [r for r in self.records.values() if r.id.startswith(log.node)]
        if len(self.records) > 3 and self.chance.random() < 0.5:
            return self._claim(log)
        there = [r for r in records if r.place is not None]
        if there and self.chance.random() < 0.3:
            gone = self.chance.choice(there)
            successor = self.chance.choice([None, None, *self.records])
            return log, PLACE_WITHDRAW, gone.id, _json({"reason": "merged", "successor": successor})
        number = self.chance.randrange(PLACES)
        id = f"{log.node}:{uuid_of(f'{log.node}{number}', number)}"
        self.done["said again"] += id in self.records and self.records[id].place is None
        return log, PLACE_PUT, id, _json(self._place())

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

    def _claim(self, log: Log) -> tuple[Log, str, str, bytes]:
        mine = [id for id in self.records if id.startswith(log.node)] or list(self.records)
        a, b = self.chance.choice(mine), self.chance.choice(list(self.records))
        standing = [id for id in self.claims if id.startswith(log.node)]
        if standing and self.chance.random() < 0.4:
            return log, CLAIM_WITHDRAW, self.chance.choice(standing), b"{}"
        if self.chance.random() < 0.5:
            # An answer to what another says of hers.
            asked = [(s.b, s.a) for _, s in self.claims.values() if s.b.startswith(log.node)]
            a, b = self.chance.choice([*asked, (a, b)])
        verdict = self.chance.choices(("same", "distinct", "part-of"), (8, 2, 1))[0]
        id = f"{log.node}:{uuid_of(f'{a}{b}', 500_000)}"
        return log, CLAIM_PUT, id, _json({"a": a, "b": b, "verdict": verdict})

    async def say(self) -> None:
        """The next thing is said, and followed."""
        log, type, id, data = self.step()
        (event,) = await feeding.store(self.pool, log, [(id, type, data)])
        self.done[type] += 1
        if type in (PLACE_PUT, PLACE_WITHDRAW):
            said = json.loads(data)
            place = msgspec.convert(said, Place) if type == PLACE_PUT else None
            version = log.versions[id]
            self.records[id] = Record(id, version, event.leaf.hex(), TIME, place, said.get("successor"))
            return
        self.claims.pop(id, None)
        found = json.loads(data)
        if type == CLAIM_PUT and found["a"].startswith(log.node) and found["a"] != found["b"]:
            said = Said(log.node, found["a"], found["b"], found["verdict"])
            self.claims[id] = event.seq, said

    def in_force(self) -> list[Said]:
        """For each claimant and pair the latest claim."""
        by_pair = {(s.claimant, frozenset((s.a, s.b))): s for _, s in sorted(self.claims.values(), key=_seq)}
        return list(by_pair.values())

    async def merge(self) -> None:
        """The view follows."""
        await upkeep.merge_once(self.pool, self.pen, policy.adopted(), self.gauges)

    async def is_the_batch(self) -> None:
        """Every byte, every id and every pair left open is what the batch makes of the end."""
        claims = self.in_force()
        batch = merge.batch(self.records.values(), claims)
        views = [v for group in batch.clusters if (v := merged(group, claims)) is not None]
        async with self.pool.acquire() as conn:
            bodies = {r["id"]: r["body"] for r in await conn.fetch("SELECT id, body FROM view")}
            members = await conn.fetch("SELECT record, view FROM member WHERE view IS NOT NULL")
            alike = await conn.fetch("SELECT a, b, points, why FROM alike")
        assert bodies == {v.id: view_bytes(v) for v in views}
        assert {r["record"]: r["view"] for r in members} == {
            alias: v.id for v in views for alias in v.aliases
        }
        profiles = {
            r.id: profile(r.id, r.place, POLICY) for r in self.records.values() if r.place is not None
        }
        scores = pairing.all_alike(profiles, claims, POLICY)
        assert {(r["a"], r["b"]): r["points"] for r in alike} == {p: s.points for p, s in scores.items()}
        left = {pair: why for pair, why in batch.left.items() if why != "close" and pair in scores}
        assert {(r["a"], r["b"]): r["why"] for r in alike if r["why"]} == left
        owned = {frozenset((s.a, s.b)) for s in claims if s.verdict == "same"}
        self.done.update(left.values())
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
                    await life.say()
                    if chance.random() < 0.4:
                        await life.merge()
                await life.merge()
                await life.is_the_batch()
        await postgres.drop_database(url)
        done += life.done
    seen = {PLACE_WITHDRAW, CLAIM_PUT, CLAIM_WITHDRAW, "said again", "joined", "joined unasked", "disputed"}
    assert {
        what for what in seen | {"several", "between", "aside"} if done[what] < SHUFFLES // 20
    } == set(), done
