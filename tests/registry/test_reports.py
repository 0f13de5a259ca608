"""Anybody says that something is wrong with a place: the coordinator reads it, its sender her answer, nobody else."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs
from uuid_utils import uuid7

from services import addresses, ledger, openapi, postgres
from services.doctor import Check, Finding
from services.errors import TooMany
from services.pace import Pace
from services.registry import __main__ as commands
from services.registry import app, checks, reports
from services.registry.api import ROUTES
from services.registry.reports import Decision, Door, Sent, decided
from services.registry.reports_store import Report
from tests.conftest import Federation
from tests.doctors import findings, sql
from tests.nodes import Registry, environ, eventually
from tests.registry import archives

BEHIND = {"proxies": ("127.0.0.1/32",)}
ELSEWHERE = {"Origin": "https://vue.example"}
WRONG = {"kind": "wrong-value", "text": "Ce n'est plus ce numéro."}


async def sent(registry: Registry, expected: int = 201, *, by: str | None = None, **report: Any) -> Any:
    """Send a report, from an address of its own behind the proxy; what was answered."""
    address = by or f"2001:db8:{uuid4().hex[:4]}:{uuid4().hex[:4]}::1"
    status, said, _ = await registry.call(
        "POST", "/reports", token=None, json=report, headers={"X-Forwarded-For": address}
    )
    assert status == expected, said
    return said


async def answered(registry: Registry, id: str, expected: int = 200, **decision: Any) -> Any:
    """Answer a report over HTTP."""
    status, said, _ = await registry.call("PATCH", f"/reports/{id}", json=decision)
    assert status == expected, said
    return said


async def typed(registry: Registry, *words: str, locale: str = "C") -> Result:
    """What became of a `reports` command, typed by somebody of this locale."""
    env = {**environ(registry.settings), "LC_ALL": locale}
    return await asyncio.to_thread(CliRunner().invoke, commands.main, ["reports", *words], env=env)


async def test_the_sender_reads_what_became_of_it(federation: Federation) -> None:
    """A report is taken without a token and answered at the desk; its outcome opens by a key, which is not kept."""
    registry = await federation.registry(**BEHIND)
    place = (await registry.add(name="La Filature"))["id"]
    got = await sent(registry, place=place, field="phone", contact="moi@exemple.fr", **WRONG)
    id, (path, _, key) = got["id"], got["link"].partition("?key=")
    assert (got["state"], path, len(key) >= 43) == ("open", f"/reports/{id}", True)
    rows = await archives.everything(registry.settings.database_url)
    assert sha256(key.encode()).hexdigest() in rows["report"][0]
    assert not any(key in row or key.encode().hex() in row for table in rows.values() for row in table)
    status, outcome, headers = await registry.call("GET", got["link"], token=None)
    assert (status, headers["Cache-Control"], headers["Referrer-Policy"]) == (200, "no-store", "no-referrer")
    assert outcome == {
        "id": id,
        "place": place,
        "kind": "wrong-value",
        "state": "open",
        "sent_at": got["sent_at"],
        "closed_at": None,
        "answer": None,
        "kept_until": None,
    }
    other = await sent(registry, place=place[27:], **WRONG)
    for wrong in ("", "x", key[:-1], other["link"].partition("=")[2], "%ED%A0%80", "é" * 300):
        for token in (None, "own"):
            status, _, _ = await registry.call("GET", f"{path}?key={wrong}", token=token)
            assert status == 404, wrong
    assert (await registry.call("GET", f"/reports/{uuid7()}?key={key}", token=None))[0] == 404
    assert (await registry.call("GET", f"{path}?key={key}&key={key}", token=None))[0] == 400
    assert await registry.metric("maillage_reports_open") == 2
    shown = await answered(registry, id, state="accepted", answer="Merci <b>beaucoup</b>\nAnne")
    assert (shown["closed_by"], shown["name"], shown["contact"]) == (
        "admin:admin",
        "La Filature",
        "moi@exemple.fr",
    )
    assert await registry.metric("maillage_reports_open") == 1
    outcome = await registry.get(got["link"])
    assert (outcome["state"], outcome["answer"]) == ("accepted", "Merci <b>beaucoup</b>\nAnne")
    closed, until = (datetime.fromisoformat(outcome[name]) for name in ("closed_at", "kept_until"))
    assert until - closed == timedelta(days=90)
    page = (
        await registry.get(got["link"], headers={"Accept": "text/html", "Accept-Language": "fr"})
    ).decode()
    assert "Le réseau vous donne raison." in page
    assert "Merci &lt;b&gt;beaucoup&lt;/b&gt;<br>Anne" in page
    assert f"key%3D{key}" in page, "the link to the other language must lead back here"
    assert (await answered(registry, id, state="open"))["closed_by"] is None
    assert (await registry.get(got["link"]))["closed_at"] is None


async def test_the_desk_is_for_editors(registry: Registry) -> None:
    """Reports are listed page by page, of one state or all; a reader and nobody see none, and answer none."""
    ids = [(await sent(registry, kind="missing", text=f"Lieu {n}"))["id"] for n in range(5)]
    await answered(registry, ids[1], state="declined", answer="Il y est.")
    seen, token = list[str](), ""
    while token is not None:
        _, page, _ = await registry.call("GET", f"/reports?state=open&limit=2{token and '&page=' + token}")
        assert len(page["reports"]) <= 2
        seen, token = seen + [report["id"] for report in page["reports"]], page["next"]
    assert seen == [ids[0], *ids[2:]]
    _, closed, _ = await registry.call("GET", "/reports?state=declined")
    assert [(report["id"], report["answer"]) for report in closed["reports"]] == [(ids[1], "Il y est.")]
    assert len((await registry.call("GET", "/reports"))[1]["reports"]) == 5
    assert (await registry.call("GET", "/reports?page=x"))[0] == 400
    assert (await registry.call("GET", f"/reports/{ids[0]}"))[1]["text"] == "Lieu 0"
    status, _, _ = await registry.call("GET", "/reports?key=x", token=None)
    assert status == 401, "a key stands for a token where it opens one report, and nowhere else"
    reader = await registry.token_for("reader")
    for method, path in (("GET", "/reports"), ("GET", f"/reports/{ids[0]}"), ("PATCH", f"/reports/{ids[0]}")):
        assert (await registry.call(method, path, token=None))[0] == 401
        assert (await registry.call(method, path, token=reader))[0] == 403
    for decision, pointer in (
        ({}, "/state"),
        ({"state": "done"}, "/state"),
        ({"answer": "x" * 2001}, "/answer"),
        ({"text": "x"}, "/text"),
    ):
        said = await answered(registry, ids[0], 422, **decision)
        assert said["errors"][0]["pointer"] == pointer
    for id in (str(uuid7()), "x"):
        await answered(registry, id, 404, state="accepted")


def test_a_report_is_closed_when_its_state_says_so() -> None:
    """Other words change nothing of when it was closed; another verdict does; opened again it is not closed."""
    began = datetime.fromisoformat("2026-01-01T00:00:00Z")
    told = {"kind": "other", "text": "x", "language": "fr", "sent_at": began, "state": "open"}
    blank = dict.fromkeys(Report.__struct_fields__)
    report = msgspec.convert({**blank, "id": uuid4(), **told}, Report)
    days = [began + timedelta(days=day) for day in range(5)]
    report = decided(report, Decision(answer="On regarde."), "a", days[1])
    assert (report.state, report.answer, report.closed_at) == ("open", "On regarde.", None)
    report = decided(report, Decision(state="declined"), "a", days[2])
    assert (report.answer, report.closed_at, report.closed_by) == ("On regarde.", days[2], "a")
    assert decided(report, Decision(answer="Non."), "b", days[3]).closed_at == days[2]
    assert decided(report, Decision(state="declined"), "b", days[3]).closed_at == days[2]
    assert decided(report, Decision(state="accepted"), "b", days[3]).closed_at == days[3]
    assert decided(report, Decision(state="open"), "b", days[4]).closed_at is None


async def test_what_is_sent_is_read_strictly(federation: Federation) -> None:
    """Each mistake is named with its place, in French too; nothing of it is kept."""
    registry = await federation.registry(**BEHIND)
    place = (await registry.add())["id"]
    for report, pointers in (
        ({}, ["/kind", "/text"]),
        ({"kind": "broken", "text": "x"}, ["/kind"]),
        ({"kind": "closed", "text": "", "place": place}, ["/text"]),
        ({"kind": "closed", "text": " \n\t", "place": place}, ["/text"]),
        ({"kind": "closed", "text": "x" * 2001, "place": place}, ["/text"]),
        ({"kind": "closed", "text": "x"}, ["/place"]),
        ({"kind": "closed", "text": "x", "place": None}, ["/place"]),
        ({"kind": "missing", "text": "x", "place": place}, ["/place"]),
        ({"kind": "closed", "text": "x", "place": str(uuid7())}, ["/place"]),
        ({"kind": "closed", "text": "x", "place": f"{'b' * 26}:{uuid7()}"}, ["/place"]),
        ({"kind": "closed", "text": "x", "place": "../../etc/passwd"}, ["/place"]),
        ({"kind": "closed", "text": "x", "place": 7}, ["/place"]),
        ({"kind": "closed", "text": "x", "place": place, "plaec": 1, "id": "x"}, ["/plaec", "/id"]),
        ({"kind": "other", "text": "x", "contact": "moi"}, ["/contact"]),
        ({"kind": "other", "text": "x", "contact": "a@b.fr\nBcc: c@d.fr"}, ["/contact"]),
        ({"kind": "other", "text": "x", "page": "javascript:alert(1)"}, ["/page"]),
        ({"kind": "other", "text": "x", "language": "<b>"}, ["/language"]),
        ({"kind": "other", "text": "x", "field": ""}, ["/field"]),
        ({"kind": "other", "text": "x", "proposed": "x" * 2001}, ["/proposed"]),
        ({"kind": "other", "text": ["x"]}, ["/text"]),
    ):
        said = await sent(registry, 422, **report)
        assert sorted(error["pointer"] for error in said["errors"]) == sorted(pointers), report
    french = {"Accept-Language": "fr"}
    _, said, _ = await registry.call("POST", "/reports", json={"kind": "closed", "text": "x"}, headers=french)
    assert said["errors"][0]["detail"].startswith("De quel lieu s’agit-il")
    fine = b'{"kind":"other","text":"%b"}'
    for body, media, status in (
        (b"", "application/json", 400),
        (b"[]", "application/json", 422),
        (fine % rb"a\u0000b", "application/json", 400),
        (fine % rb"\ud800", "application/json", 400),
        (fine % b"\xff", "application/json", 400),
        (fine % b"x" + b"[" * 5000, "application/json", 400),
        (b'{"kind":"other","text":"x","text":"y"}', "application/json", 400),
        (io.BytesIO(fine % (b"x" * 1024 * 1024)), "application/json", 413),
        (fine % b"x", "text/plain", 415),
        (fine % b"x", "application/x-www-form-urlencoded", 415),
    ):
        answer = await registry.call("POST", "/reports", data=body, headers={"Content-Type": media})
        assert answer[0] == status, (body, answer[1])
    assert await sql(registry, "SELECT count(*) FROM report") == 0


async def test_the_pages_of_any_site_may_report(registry: Registry) -> None:
    """A browser asks first and is allowed, and reads every answer, refusals too; of the rest it reads nothing."""
    asking = {**ELSEWHERE, "Access-Control-Request-Headers": "content-type"}
    for path, method, allowed in (("/reports", "POST", "POST"), (f"/reports/{uuid7()}", "GET", "GET, HEAD")):
        headers = {**asking, "Access-Control-Request-Method": method}
        status, _, told = await registry.call("OPTIONS", path, token=None, headers=headers)
        assert (status, told["Access-Control-Allow-Origin"]) == (204, "*")
        assert (told["Access-Control-Allow-Methods"], told["Access-Control-Allow-Headers"]) == (
            allowed,
            "content-type",
        )
        assert "Access-Control-Allow-Credentials" not in told
    status, got, told = await registry.call(
        "POST", "/reports", token=None, headers=ELSEWHERE, json={"kind": "missing", "text": "Il manque"}
    )
    assert (status, told["Access-Control-Allow-Origin"]) == (201, "*")
    for method, path, expected in (
        ("POST", "/reports", 415),
        ("GET", got["link"], 200),
        ("GET", got["link"] + "x", 404),
    ):
        status, _, told = await registry.call(method, path, token=None, headers=ELSEWHERE)
        assert (status, told["Access-Control-Allow-Origin"]) == (expected, "*")
        assert "Retry-After" in told["Access-Control-Expose-Headers"]
    for method, path in (("GET", "/reports"), ("PATCH", f"/reports/{got['id']}"), ("GET", "/places")):
        _, _, told = await registry.call(method, path, headers=ELSEWHERE)
        assert "Access-Control-Allow-Origin" not in told, path
    assert (await registry.call("OPTIONS", "/places", token=None, headers=asking))[0] == 405


async def test_a_report_is_nowhere_public(registry: Registry) -> None:
    """No route that is open to everybody says a word of it, the log has no event of it, and no file holds it."""
    place = await registry.add()
    words = {"text": "Zyxw1", "proposed": "Zyxw2", "contact": "zyxw3@exemple.fr", "field": "zyxw4"}
    got = await sent(registry, place=place["id"], page="https://a.example/zyxw5", kind="private", **words)
    await answered(registry, got["id"], state="declined", answer="Zyxw6")
    wanted = {"Accept-Encoding": "identity"}
    looked = 0
    for route in ROUTES:
        if route.method != "GET" or route.role is not None or route.path == "/feed/live":
            continue
        for ending in ("csv", "geojson", "ndjson", "jsonld"):
            path = openapi.path(route).replace("{ending}", ending).replace("{id}", place["id"])
            status, body, _ = await registry.call("GET", path, token=None, headers=wanted)
            said = body if isinstance(body, bytes) else msgspec.json.encode(body)
            assert status in (200, 404), path
            assert b"zyxw" not in said.lower(), path
            assert got["id"].encode() not in said, path
            looked += status == 200
    assert looked > 20
    assert len(await registry.feed()) == 1


def door(*proxies: str, clock: Iterator[float] | float = 0.0) -> Door:
    """The way in, at a time that is told."""
    now = clock if isinstance(clock, Iterator) else iter(lambda: clock, None)
    return Door(proxies, lambda: next(now), CollectorRegistry())


def test_ten_an_hour_come_from_one_address() -> None:
    """The eleventh waits for as long as it is told and no longer; others do not wait for it."""
    at = iter([*(float(second) for second in range(10)), 10.0, 10.0, 3599.5, 3600.0, 3600.0])
    way = door(clock=at)
    for _ in range(10):
        way.admit("198.51.100.7", "")
    with pytest.raises(TooMany) as told:
        way.admit("198.51.100.7", "")
    assert told.value.extra["retry_after"] == 3590
    way.admit("198.51.100.8", "")
    with pytest.raises(TooMany):
        way.admit("198.51.100.7", "")
    way.admit("198.51.100.7", "")
    with pytest.raises(TooMany):
        way.admit("198.51.100.7", "")


@pytest.mark.parametrize(
    ("peer", "forwarded", "found"),
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("198.51.100.7", "203.0.113.1", "198.51.100.7"),
        ("10.0.0.1", "203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "6.6.6.6, 203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "6.6.6.6,203.0.113.1 , 10.0.0.2", "203.0.113.1"),
        ("10.0.0.1", "10.0.0.3", "10.0.0.3"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.1, 203.0.113.1:80", "10.0.0.1"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.1", "203.0.113.1"),
        ("10.0.0.1", "2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::1", "", "::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
        ("", "203.0.113.1", "None"),
    ],
)
def test_who_sends_is_told_by_named_proxies_only(peer: str, forwarded: str, found: str) -> None:
    """What stands before the last that no proxy of ours is, is anybody's word; of IPv6 the household counts."""
    assert addresses.sender(peer, forwarded, addresses.networks(["10.0.0.0/8"])) == found


def test_what_is_known_of_senders_is_bounded() -> None:
    """Of more askers than are remembered those are forgotten who asked longest ago, and no address is in memory."""
    pace = Pace(1, 60.0, lambda: 0.0, askers=3)
    for asker in (b"a", b"b", b"c"):
        assert pace.wait(asker) == 0
    assert pace.wait(b"a") == 60
    assert pace.wait(b"d") == 0
    assert (pace.wait(b"c"), pace.wait(b"a"), pace.wait(b"d")) == (60, 60, 60)
    assert pace.wait(b"b") == 0
    one, other = door(), door()
    for way in (one, other):
        way.admit("198.51.100.7", "")
    known = {asker for way in (one, other) for asker in way._pace._asked}
    assert len(known) == 2, "another process, another salt"
    assert not any(b"198.51.100.7" in asker for asker in known)


def test_a_proxy_that_is_not_named_is_told_of() -> None:
    """One line, once, where a proxy beside us is missing in the settings; none for a stranger's header."""
    with capture_logs() as lines:
        door().admit("8.8.8.8", "203.0.113.1")
        door("127.0.0.1/32").admit("127.0.0.1", "203.0.113.1")
        door().admit("127.0.0.1", "")
        assert lines == []
        way = door()
        for _ in range(2):
            way.admit("127.0.0.1", "203.0.113.1")
    assert [(line["event"], line["address"]) for line in lines] == [("proxy not named", "127.0.0.1")]


async def test_the_desk_does_not_overflow(federation: Federation, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come together: so many an address, so many a place, so many in all; then 429 and when to come."""
    monkeypatch.setattr(reports, "MOST_SENT", 2)
    monkeypatch.setattr(reports, "MOST_ON_ONE", 3)
    monkeypatch.setattr(reports, "MOST_WAITING", 5)
    registry = await federation.registry(**BEHIND)
    place = (await registry.add())["id"]

    async def send(by: str, **report: Any) -> tuple[int, str | None]:
        headers = {"X-Forwarded-For": by, **ELSEWHERE}
        status, _, told = await registry.call("POST", "/reports", token=None, json=report, headers=headers)
        assert told["Access-Control-Allow-Origin"] == "*"
        return status, told.get("Retry-After")

    crowd = await asyncio.gather(*(send(f"198.51.100.{n}", place=place, **WRONG) for n in range(9)))
    assert sorted(crowd, key=str) == [(201, None)] * 3 + [(429, "86400")] * 6
    missing = {"kind": "missing", "text": "Il manque"}
    assert [await send("203.0.113.1", **missing) for _ in range(2)] == [(201, None)] * 2
    assert [await send("203.0.113.1", **missing) for _ in range(2)] == [(429, "3600")] * 2
    assert await send("203.0.113.2", **missing) == (429, "86400")
    _, listed, _ = await registry.call("GET", "/reports")
    assert len(listed["reports"]) == 5
    await answered(registry, listed["reports"][0]["id"], state="declined")
    assert await send("203.0.113.3", **missing) == (201, None)
    assert await registry.metric("maillage_reports_open") == 5


WAITS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


async def test_two_who_send_at_once_do_not_both_take_the_last_place(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a report is being laid on the desk, by whatever process, the next one waits, and is counted after it."""
    monkeypatch.setattr(reports, "MOST_WAITING", 1)
    registry = await federation.registry()
    before = await sql(registry, WAITS)
    missing = Sent(kind="missing", text="Il manque")
    pool_of = postgres.pool(registry.settings.database_url, size=3, migrations=app.SCRIPTS)
    async with pool_of as pool, pool.acquire() as conn:
        async with conn.transaction():
            await reports.receive(conn, missing, None, "key", ledger.clock())
            second = asyncio.create_task(registry.call("POST", "/reports", json=msgspec.to_builtins(missing)))

            async def held() -> bool:
                return second.done() or await sql(registry, WAITS) > before

            await eventually(held)
        assert (await second)[0] == 429


async def test_what_is_closed_is_gone_after_90_days(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not a day earlier; what nobody answered goes after a year, and an answer is always readable for its 90 days."""
    registry = await federation.registry(**BEHIND)
    closed, waits, late = [await sent(registry, kind="other", text=text) for text in "abc"]
    done = datetime.fromisoformat((await answered(registry, closed["id"], state="accepted"))["closed_at"])
    long_ago = done - timedelta(days=364)
    await sql(registry, "UPDATE report SET sent_at = $1 WHERE id = $2", long_ago, late["id"])
    await answered(registry, late["id"], state="declined")

    async def kept(after: timedelta) -> list[str]:
        pool_of = postgres.pool(registry.settings.database_url, size=3, migrations=app.SCRIPTS)
        async with pool_of as pool, pool.acquire() as conn:
            await reports.forget(conn, done + after)
        _, listed, _ = await registry.call("GET", "/reports")
        return [report["text"] for report in listed["reports"]]

    assert await kept(timedelta(days=89, hours=23)) == ["a", "b", "c"]
    await registry.stop()
    clock = ledger.clock
    monkeypatch.setattr(ledger, "clock", lambda: clock() + timedelta(days=90, minutes=5))
    await registry.start()

    async def gone() -> bool:
        status, _, _ = await registry.call("GET", closed["link"], token=None)
        return status == 404

    await eventually(gone)
    assert (await registry.get(waits["link"]))["state"] == "open"
    assert await kept(timedelta(days=364)) == ["b"]
    assert await kept(timedelta(days=366)) == []


async def test_what_is_erased_is_reported_nowhere(federation: Federation, tmp_path: Path) -> None:
    """Reports go with the record, or old versions of it, also out of a backup; others come back with their keys."""
    registry = await federation.registry(**BEHIND)
    names = ("Erreur", "Ancienne version", "Resté", "Retiré")
    erring, changed, kept, withdrawn = [(await registry.add(name=name))["id"] for name in names]
    await registry.change(changed, name="Nouvelle version")
    await registry.withdraw(withdrawn)
    got = {
        id: await sent(registry, place=id, kind="private", text=f"Mon nom est dans {id}")
        for id in (erring, changed, kept, withdrawn)
    }
    file = await archives.backed_up(registry, tmp_path / "node.gz")
    await registry.command("erase", erring, "--yes")
    await registry.command("erase", changed, "--versions", "1", "--yes")
    gone = {erring, changed}
    for id, report in got.items():
        status, _, _ = await registry.call("GET", report["link"], token=None)
        assert status == (404 if id in gone else 200), id
    said = await sent(registry, 422, place=erring, kind="private", text="Encore")
    assert said["errors"][0]["pointer"] == "/place"
    await sent(registry, place=withdrawn, kind="other", text="Il est toujours ouvert")
    await registry.stop()
    other = await archives.elsewhere(federation, registry)
    env = environ(other)
    words = ["restore", str(file), "--root-key", archives.root_key(registry)]
    done = await asyncio.to_thread(CliRunner().invoke, commands.main, words, env=env)
    assert done.exit_code == 0, done.output
    twin = archives.again(federation, registry, other)
    await twin.start()
    for id, report in got.items():
        status, _, _ = await twin.call("GET", report["link"], token=None)
        assert status == (404 if id in gone else 200), id
    assert await archives.says(other.database_url, f"Mon nom est dans {erring}") == []
    assert await archives.says(other.database_url, f"Mon nom est dans {kept}") == ["report"]
    await twin.command("export-node", str(tmp_path / "moved.gz"))
    assert any(line.get("table") == "report" for line in archives.lines(tmp_path / "moved.gz"))
    said = await sent(twin, 503, place=kept, kind="other", text="Pour personne")
    assert said["reason"] == "moved"
    await answered(twin, got[kept]["id"], 503, state="accepted")
    assert (await twin.get(got[kept]["link"]))["state"] == "open"


EVIL = "Fermé <script>alert(1)</script>\x1b]0;x\x07\n    Answer:\x9b31m\u2028Lieu\u202e"


async def test_the_desk_at_a_terminal(registry: Registry) -> None:
    """Reports are listed, shown and closed in French and English; what strangers wrote is no order to a terminal."""
    assert (await typed(registry, "list")).output == "Reports: 0.\n"
    place = (await registry.add(name="Le Hangar\x1b[2J"))["id"]
    said = {"kind": "closed", "place": place, "text": EVIL, "field": "status", "contact": "moi@exemple.fr"}
    evil = (await sent(registry, proposed="fermé", page="https://vue.example/x", **said))["id"]
    lost = (await sent(registry, kind="missing", text="Il manque\nla Ruche", language="br"))["id"]
    english, french = await typed(registry, "list"), await typed(registry, "list", locale="fr_FR.UTF-8")
    first, second, count = english.output.splitlines()
    assert first.startswith(f"{evil}  ")
    assert (
        "  has closed, status  Le Hangar\ufffd[2J  Fermé <script>alert(1)</script>\ufffd]0;x\ufffd" in first
    )
    assert (second[36:38], second[48:]) == ("  ", "  missing place  Il manque la Ruche")
    assert count == "Reports: 2."
    assert "  lieu manquant  Il manque la Ruche\nSignalements\u00a0: 2.\n" in french.output
    listed = json.loads((await typed(registry, "list", "--json")).output)["reports"]
    assert (listed[0]["id"], listed[0]["text"]) == (evil, EVIL)
    shown = await typed(registry, "show", evil)
    assert shown.output.splitlines()[1:] == [
        f"Place: Le Hangar\ufffd[2J {place}",
        "What is said:",
        "    Fermé <script>alert(1)</script>\ufffd]0;x\ufffd",
        "        Answer:\ufffd31m",
        "    Lieu\ufffd",
        "What is proposed:",
        "    fermé",
        "Seen on: https://vue.example/x",
        "Written in: fr",
        "To answer: moi@exemple.fr",
    ]
    assert shown.output.startswith(f"{evil}  ")
    assert shown.output.splitlines()[0].endswith("  has closed, status  (waits for an answer)")
    shown = await typed(registry, "show", evil, locale="fr_FR.UTF-8")
    assert "  a fermé, status  (attend une réponse)\nLieu\u00a0: " in shown.output
    for words, told in (
        (("close", evil), "Give --accept or --decline."),
        (("close", "--accept"), "Missing argument"),
        (("close", "x", "--accept"), "not a valid UUID"),
        (("close", evil, str(uuid7()), "--accept"), "There is no such report."),
        (("close", evil, "--decline", "--answer", "x" * 2001), "/answer: Too long"),
        (("show", str(uuid7())), "There is no such report."),
    ):
        refused = await typed(registry, *words)
        assert (refused.exit_code, told in refused.output) == (2, True), (words, refused.output)
    assert (await typed(registry, "list")).output == english.output, "a refused command answers none"
    done = await typed(
        registry, "close", evil, lost, "--decline", "--answer", "C’est ouvert.", locale="fr_FR.UTF-8"
    )
    assert done.output == f"Réponse donnée\u00a0: {evil}.\nRéponse donnée\u00a0: {lost}.\n"
    assert (await typed(registry, "list")).output == "Reports: 0.\n"
    assert (await typed(registry, "list", "--state", "declined")).output == english.output
    assert "Answer:\n    C’est ouvert.\n" in (await typed(registry, "show", evil)).output
    _, shown_there, _ = await registry.call("GET", f"/reports/{lost}")
    assert (shown_there["state"], shown_there["closed_by"]) == ("declined", "admin:command line")


async def test_the_doctor_tells_who_waits(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """All is well while reports are young; after two weeks, or when the desk is full, somebody has to look."""

    async def found(**options: Any) -> Finding:
        (finding,) = (await findings(commands.main, registry.settings, look, **options))["reports"]
        return finding

    look = Check("reports", checks.reports)
    assert (await found()).what == "No report waits for an answer."
    got = await sent(registry, kind="missing", text="Il manque")
    assert ((await found()).mark, (await found()).args["count"]) == ("ok", 1)
    later = await found(now=lambda: ledger.clock() + timedelta(days=14, minutes=1))
    assert (later.mark, later.todo) == ("attention", "Run: python -m services.registry reports list")
    monkeypatch.setattr(checks, "MOST_WAITING", 1)
    assert (await found()).mark == "attention"
    await answered(registry, got["id"], state="accepted")
    assert (await found()).mark == "ok"
