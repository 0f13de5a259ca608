"""The past of the view: what became of a place, and what the view was at a time, from the sync's own log."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from services.errors import Malformed
from services.sync import history_store
from services.sync.api.past import until
from tests.conftest import Federation
from tests.nodes import Sync
from tests.sync.trusting import command, stands

SECRET = "Marguerite Duras"


async def history(sync: Sync, id: str, limit: int = 100) -> list[dict[str, Any]]:
    """All changes of a place, page by page."""
    found: list[dict[str, Any]] = []
    page = "0.0"
    while page:
        answer = await sync.get(f"/places/{id}/history?limit={limit}&page={page}")
        assert answer["id"] == id
        assert len(answer["changes"]) == limit or answer["next"] is None
        found += answer["changes"]
        page = answer["next"]
    return found


async def kinds(sync: Sync, id: str) -> list[str]:
    """What happened to a place, in order."""
    return [change["kind"] for change in await history(sync, id)]


async def last(sync: Sync) -> str:
    """The time of the last event of the sync's own log."""
    time: str = (await sync.get("/stats"))["as_of"]["time"]
    return time


async def then(sync: Sync, id: str, time: str) -> tuple[int, Any]:
    """A place as it was at a time."""
    status, body, headers = await sync.call("GET", f"/places/{id}", params={"as_of": time})
    if status == 200:
        assert headers["Merge-Cursor"] == body["as_of"]["cursor"]
        assert body["as_of"]["time"][: len(time)] <= time
    return status, body


async def name(sync: Sync, id: str, time: str) -> str:
    """The name of a place at a time."""
    status, body = await then(sync, id, time)
    assert status == 200, body
    return str(body["place"]["name"])


async def test_a_place_tells_what_became_of_it(federation: Federation) -> None:
    """Each change with what it was before and after and whose event did it, in pages of any size."""
    registry = await federation.registry()
    id = (await registry.add(name="Un"))["id"]
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    for word in ("Deux", "Trois"):
        await registry.change(id, name=word)
        await sync.caught_up([registry])
    await registry.withdraw(id)
    await sync.caught_up([registry])
    changes = await history(sync, id)
    assert [c["kind"] for c in changes] == ["put", "put", "put", "remove"]
    assert changes[1]["changed"]["name"] == {"before": "Un", "after": "Deux"}
    assert [c["cause"] for c in changes] == [[f"{registry.node}/1-{n:016}"] for n in (1, 2, 3, 4)]
    assert changes[3]["reason"] == "withdrawn"
    assert [c["cursor"] for c in changes] == ["1.1", "1.2", "1.3", "1.4"]
    for limit in (1, 2, 3, 4):
        assert await history(sync, id, limit) == changes
    for time, word in zip((c["time"] for c in changes[:3]), ("Un", "Deux", "Trois"), strict=True):
        assert await name(sync, id, time) == word
    status, problem = await then(sync, id, changes[3]["time"])
    assert (status, problem["reason"], problem["as_of"]["cursor"]) == (410, "withdrawn", "1.4")


async def test_ids_find_the_places_they_were_in(federation: Federation) -> None:
    """A place joins another and leaves it: at each time its id finds where it was, and its history has both."""
    here, there = await federation.registry(), await federation.registry()
    a, b = (await here.add(name="Aa"))["id"], (await there.add(name="Bb"))["id"]
    sync = await federation.sync([here, there])
    await sync.caught_up([here, there])
    apart = await last(sync)
    await here.claim(a, b)
    claim = await there.claim(b, a)
    await sync.caught_up([here, there])
    joined = await last(sync)
    assert await kinds(sync, a) == await kinds(sync, b)
    moved = [c for c in await history(sync, b) if c["kind"] == "remove"]
    assert [(c["id"], c["reason"], c["moved_to"]) for c in moved] == [(b, "merged", a)]
    await here.change(a, summary="Ensemble")
    await sync.caught_up([here])
    status, _, _ = await there.call("DELETE", f"/claims/{claim['id']}", headers={"If-Match": "*"})
    assert status in (200, 204)
    await sync.caught_up([there])
    split = await last(sync)
    await here.change(a, summary="Seul")
    await sync.caught_up([here])
    seen = [(await then(sync, b, time))[1]["id"] for time in (apart, joined, split)]
    assert seen == [b, a, b]
    told = await history(sync, b)
    assert "Ensemble" in json.dumps(told)
    assert "Seul" not in json.dumps(told)
    assert (await then(sync, b, split))[1]["networks"] == [there.node]
    await there.withdraw(b)
    await sync.caught_up([there])
    assert len(await history(sync, b)) == len(told) + 1
    assert (await then(sync, b, joined))[1]["id"] == a


async def test_what_is_erased_stays_erased(federation: Federation) -> None:
    """A time before the erasure shows no more of it than that there was a place; the history says so too."""
    registry = await federation.registry()
    id, kept = (await registry.add(name=SECRET))["id"], (await registry.add(name="Reste"))["id"]
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    before = await last(sync)
    assert await name(sync, id, before) == SECRET
    await registry.command("erase", id, "--yes")
    await sync.caught_up([registry])
    status, problem = await then(sync, id, before)
    assert (status, problem["reason"]) == (410, "erased")
    assert (await then(sync, id, await last(sync)))[1]["reason"] == "erased"
    assert await name(sync, kept, before) == "Reste"
    changes = await history(sync, id)
    assert [(c["kind"], c.get("erased", False)) for c in changes] == [("put", True), ("erase", False)]
    counted = await sync.get(f"/stats?as_of={before}")
    assert (counted["places"], counted["erased"], counted["statuses"]) == (1, 1, {"open": 1})
    exported = await sync.get(f"/exports/places.geojsonl?as_of={before}")
    assert [json.loads(line)["id"] for line in exported.splitlines()] == [kept]


async def test_a_hidden_record_has_no_past(federation: Federation) -> None:
    """What the operator hides is hidden at every time."""
    registry = await federation.registry()
    id, kept = (await registry.add())["id"], (await registry.add())["id"]
    sync = await federation.sync([registry])
    await sync.caught_up([registry])
    before = await last(sync)
    await command(sync, "hide", id, "--reason", "on-request")
    await stands(sync, [registry.node, id], 1)
    status, problem = await then(sync, id, before)
    assert (status, problem["reason"]) == (410, "hidden")
    status, problem, _ = await sync.call("GET", f"/places/{id}/history")
    assert (status, problem["reason"]) == (410, "hidden")
    exported = await sync.get(f"/exports/places.geojsonl?as_of={before}")
    assert [json.loads(line)["id"] for line in exported.splitlines()] == [kept]


async def test_what_was_told_under_a_hidden_id_is_in_no_history(federation: Federation) -> None:
    """The other records of its place have a past without it."""
    here, there = [await federation.registry() for _ in range(2)]
    elder, other = (await here.add(name="La Forge"))["id"], (await there.add(name="Ancienne usine"))["id"]
    await here.claim(elder, other)
    sync = await federation.sync([here, there])
    await sync.caught_up([here, there])
    await there.claim(other, elder)
    await sync.caught_up([here, there])
    told = await sync.get(f"/places/{other}/history")
    assert {change["id"] for change in told["changes"]} == {elder, other}
    await command(sync, "hide", elder, "--reason", "on-request")
    await stands(sync, [here.node, there.node, elder], 1)
    told = await sync.get(f"/places/{other}/history")
    assert {change["id"] for change in told["changes"]} == {other}


async def test_before_the_log_begins_there_is_nothing(federation: Federation) -> None:
    """A time before the first event is a 404 that says when the log begins; a day that is not over is now."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    paths = ("/stats", "/exports/places.geojsonl", f"/places/{registry.node}:x")
    for path in paths:
        status, problem, _ = await sync.call("GET", f"{path}?as_of=2020-01-01")
        assert (status, problem["detail"]) == (404, "The log of this view has not begun yet.")
    id = (await registry.add(name="Un"))["id"]
    await sync.caught_up([registry])
    begun = (await history(sync, id))[0]["time"]
    for path in (*paths, f"/places/{id}"):
        status, problem, _ = await sync.call("GET", f"{path}?as_of=2020-01-01")
        assert (status, problem["begins"]) == (404, begun)
        assert begun in problem["detail"]
    today, never = datetime.now(UTC).date(), f"{registry.node}:{'0' * 36}"
    assert await name(sync, id, f"{today}") == "Un"
    assert await name(sync, id, "9998-12-31") == "Un"
    assert (await then(sync, never, f"{today}"))[0] == 404
    assert (await sync.call("GET", f"/places/{never}/history"))[0] == 404
    status, problem, _ = await sync.call("GET", f"/stats?as_of={today}T", headers={"Accept-Language": "fr"})
    assert (status, problem["errors"][0]["parameter"]) == (400, "as_of")
    assert "journée entière" in problem["errors"][0]["detail"]


def test_times_are_said_strictly() -> None:
    """A day is the whole of it; a time is to the millisecond, with an offset; anything else is refused."""
    day = datetime(2026, 2, 1, tzinfo=UTC)
    assert until("2026-01-31") == day
    assert until("2026-02-01T01:00:00+01:00") == until("2026-02-01t01:00:00 01:00") == day + ms(1)
    assert until("2026-02-01T00:00:00.1239Z") == until("2026-02-01T00:00:00.123z") == day + ms(124)
    refused = ("", "2026", "20260131", "2026-02-30", "2026-02-01T00:00:00", "2026-W05-1", "now", "9999-12-31")
    for text in (*refused, "2026-02-01T24:00:00Z", "0001-01-01T00:00:00+02:00", "٢٠٢٦-01-01"):
        with pytest.raises(Malformed):
            until(text)


def ms(count: int) -> timedelta:
    """So many milliseconds."""
    return timedelta(milliseconds=count)


async def test_a_clock_that_was_set_back_loses_no_place(federation: Federation) -> None:
    """Where times go back, a time names the last position that is not later than it."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    for _ in range(4):
        await registry.add()
        await sync.caught_up([registry])
    conn = await asyncpg.connect(sync.settings.database_url)
    try:
        noon = datetime(2026, 1, 1, 12, tzinfo=UTC)
        for seq, minute in ((1, 0), (2, 9), (3, 5), (4, 20)):
            time = noon + timedelta(minutes=minute)
            await conn.execute("UPDATE ledger_event SET time = $2 WHERE seq = $1", seq, time)
        found = [await history_store.before(conn, noon + timedelta(minutes=m)) for m in (0, 1, 6, 10, 21)]
        assert [p and p.seq for p in found] == [None, 1, 3, 3, 4]
    finally:
        await conn.close()


async def test_what_the_log_let_go_of_is_not_guessed(federation: Federation) -> None:
    """Where old events were let go, a time of which a place is not known any more is refused, and no other."""
    registry = await federation.registry()
    sync = await federation.sync([registry])
    a, b = (await registry.add(name="Aa"))["id"], (await registry.add(name="Bb"))["id"]
    await sync.caught_up([registry])
    begun = await last(sync)
    await registry.change(a, name="Az")
    await sync.caught_up([registry])
    await registry.change(b, name="Bz")
    await sync.caught_up([registry])
    late = await last(sync)
    await forget(sync)
    status, problem = await then(sync, a, begun)
    assert (status, problem["type"]) == (410, "urn:maillage:problem:cursor-too-old")
    for path in ("/stats", "/exports/places.geojsonl"):
        status, problem, _ = await sync.call("GET", f"{path}?as_of={begun}")
        assert (status, problem["floor"]) == (410, "1.3")
    assert await name(sync, b, begun) == "Bb"
    assert await name(sync, a, late) == "Az"
    assert (await sync.get(f"/stats?as_of={late}"))["places"] == 2


async def forget(sync: Sync) -> None:
    """Let go of the first name of the first place, as a floor at 3 would when the log had grown that far."""
    conn = await asyncpg.connect(sync.settings.database_url)
    try:
        await conn.execute("UPDATE ledger_head SET floor = 3")
        assert await conn.execute("DELETE FROM ledger_event WHERE seq = 1") == "DELETE 1"
    finally:
        await conn.close()


async def test_a_long_history_comes_in_pages_of_bounded_size(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page ends where it would be too many bytes, and nothing is lost between two pages."""
    registry = await federation.registry()
    id = (await registry.add())["id"]
    sync = await federation.sync([registry])
    for number in range(5):
        await registry.change(id, description=f"{number} " * 600)
        await sync.caught_up([registry])
    whole = await history(sync, id)
    monkeypatch.setattr("services.sync.api.history.MOST", 8000)
    sizes, found, page = Counter[int](), [], "0.0"
    while page:
        answer = await sync.get(f"/places/{id}/history?page={page}")
        sizes[len(answer["changes"])] += 1
        found += answer["changes"]
        page = answer["next"]
    assert found == whole
    assert max(sizes) < len(whole)
