"""Lists go in whole: previewed, applied, applied again for nothing, and never against what was said by hand."""

import asyncio
import csv
import gzip
import io
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from time import process_time
from typing import Any
from uuid import uuid4

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner
from uuid_utils import uuid7

from services import ledger
from services.registry import importing, mapping, store, worker
from services.registry.__main__ import main
from tests.conftest import Federation
from tests.nodes import Registry, environ, eventually

NDJSON = "application/x-ndjson"
HERE = Path(__file__).parents[2]
SHARED = Path(os.environ.get("MAILLAGE_SHARED_DATA", HERE.parent / "shared" / "data"))


def rows(count: int, **columns: str) -> list[dict[str, str]]:
    """Rows of a list as people have them."""
    return [
        {
            "ID": str(n),
            "Nom du lieu": f"Lieu {n:04}",
            "CP": f"35{n % 10}00",
            "Ville": "Rennes",
            "Présentation": f"Texte {n}",
            **columns,
        }
        for n in range(1, count + 1)
    ]


def table(found: list[dict[str, str]], delimiter: str = ",") -> bytes:
    """Rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(found[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue().encode()


def lines(found: list[dict[str, Any]]) -> bytes:
    """Rows as JSON Lines."""
    return b"".join(msgspec.json.encode(row) + b"\n" for row in found)


async def upload(registry: Registry, data: bytes, media: str = "text/csv", **query: str) -> tuple[int, Any]:
    """What POST /imports answers."""
    status, job, _ = await registry.call(
        "POST", "/imports", params=query, data=io.BytesIO(data), headers={"Content-Type": media}
    )
    return status, job


async def ended(registry: Registry, job: Any) -> Any:
    """The import when it has ended, with its whole report."""

    async def check() -> Any:
        _, now, _ = await registry.call("GET", f"/imports/{job['id']}?limit=1000")
        return now if now["state"] in ("done", "failed") else None

    return await eventually(check, 60)


async def previewed(registry: Registry, data: bytes, media: str = "text/csv", **query: str) -> Any:
    """What a preview foretells."""
    status, job = await upload(registry, data, media, **query)
    assert status == 202, job
    assert job["mode"] == "preview"
    return await ended(registry, job)


async def places(registry: Registry) -> dict[str, Any]:
    """All places in force by name, with their ids and versions."""
    found: dict[str, Any] = {}
    path: str | None = "/places?limit=1000"
    while path:
        page = await registry.get(path)
        found |= {p["place"]["name"]: p for p in page["places"]}
        path = f"/places?limit=1000&page={page['next']}" if page["next"] else None
    return found


def counts(job: Any) -> dict[str, int]:
    """The counts of an import that are not zero."""
    return {name: count for name, count in job["counts"].items() if count}


async def test_a_preview_changes_nothing_and_foretells_all(registry: Registry) -> None:
    """Preview is the default; it writes nothing, and apply then does exactly what it counted and reported."""
    list_ = [*rows(620), {**rows(1)[0], "ID": "x", "Nom du lieu": ""}, rows(3)[2]]
    foretold = await previewed(registry, table(list_), source="l")
    assert await registry.feed() == []
    assert await places(registry) == {}
    done = await registry.list_in(table(list_), source="l")
    assert counts(done) == counts(foretold)
    assert counts(done) == {"new": 620, "refused": 2}
    assert (done["done"], done["total"], done["state"]) == (622, 622, "done")
    assert [r["line"] for r in done["report"]] == [r["line"] for r in foretold["report"]]
    assert done["report"] == foretold["report"]
    changed = [*rows(600)[1:], {**rows(1)[0], "Ville": "Vannes"}]
    foretold = await previewed(registry, table(changed), source="l")
    done = await registry.list_in(table(changed), source="l")
    assert counts(done) == counts(foretold) == {"unchanged": 599, "changed": 1, "withdrawn": 20}
    told = [(r["outcome"], r["remarks"][0]["column"]) for r in done["report"] if r["line"] == 0]
    events = [e["subject"] for e in await registry.feed() if e["type"].endswith("withdraw.v1")]
    assert told == [("withdrawn", id) for id in events]


async def test_the_same_list_again_makes_no_event(registry: Registry) -> None:
    """A list read again changes nothing; one changed row is one event; its order does not matter."""
    data = rows(30)
    await registry.list_in(table(data), source="l")
    size = len(await registry.feed())
    assert size == 30
    again = await registry.list_in(table(data), source="l")
    assert counts(again) == {"unchanged": 30}
    random.Random(1).shuffle(data)
    assert counts(await registry.list_in(table(data, ";"), source="l")) == {"unchanged": 30}
    assert len(await registry.feed()) == size
    data[4]["Ville"] = "Vannes"
    assert counts(await registry.list_in(table(data), source="l")) == {"unchanged": 29, "changed": 1}
    events = await registry.feed()
    assert len(events) == size + 1
    assert events[-1]["data"]["address"]["city"] == "Vannes"
    assert events[-1]["recordversion"] == 2


async def test_what_was_edited_at_the_desk_wins(registry: Registry) -> None:
    """A field edited since the last import keeps its value; the other fields follow the list."""
    data = rows(3)
    await registry.list_in(table(data), source="l")
    made = (await places(registry))["Lieu 0002"]
    await registry.change(made["id"], description="Dit au bureau", website="https://exemple.fr")
    data[1] |= {"Présentation": "Autre texte", "Ville": "Vannes"}
    assert counts(await registry.list_in(table(data), source="l")) == {"unchanged": 2, "changed": 1}
    now = (await registry.get(f"/places/{made['id']}"))["place"]
    assert (now["description"], now["website"]) == ("Dit au bureau", "https://exemple.fr")
    assert now["address"]["city"] == "Vannes"
    assert counts(await registry.list_in(table(data), source="l")) == {"unchanged": 3}
    assert (await registry.get(f"/places/{made['id']}"))["version"] == 3


async def test_a_list_does_not_bring_back_what_was_withdrawn_by_hand(registry: Registry) -> None:
    """A place taken back at the desk stays so though the list still has it, changed or not."""
    data = rows(3)
    await registry.list_in(table(data), source="l")
    made = (await places(registry))["Lieu 0002"]
    await registry.withdraw(made["id"])
    assert counts(await registry.list_in(table(data), source="l")) == {"unchanged": 3}
    data[1]["Ville"] = "Vannes"
    assert counts(await registry.list_in(table(data), source="l")) == {"unchanged": 3}
    assert (await registry.call("GET", f"/places/{made['id']}"))[0] == 410
    await registry.call("POST", f"/places/{made['id'][27:]}/reopen")
    data[1]["Ville"] = "Dinan"
    assert counts(await registry.list_in(table(data), source="l")) == {"unchanged": 2, "changed": 1}


async def test_a_row_that_vanishes_is_withdrawn_and_comes_back_as_itself(registry: Registry) -> None:
    """A row no longer in the list is withdrawn; back under the same id it re-opens with id and history."""
    data = rows(4)
    await registry.list_in(table(data), source="l")
    made = (await places(registry))["Lieu 0003"]
    await registry.change(made["id"], summary="vu")
    gone = await registry.list_in(table(data[:2] + data[3:]), source="l")
    assert counts(gone) == {"unchanged": 3, "withdrawn": 1}
    assert (await registry.call("GET", f"/places/{made['id']}"))[1]["reason"] == "other"
    other = await registry.list_in(table(rows(1, ID="9")), source="another list")
    assert counts(other) == {"new": 1}
    back = await registry.list_in(table(data), source="l")
    assert counts(back) == {"unchanged": 3, "changed": 1}
    now = await registry.get(f"/places/{made['id']}")
    assert (now["version"], now["place"]["summary"]) == (4, "vu")
    versions = (await registry.get(f"/places/{made['id']}/history"))["versions"]
    assert [v["version"] for v in versions] == [1, 2, 3, 4]


async def test_what_the_desk_reopened_a_list_does_not_withdraw_again(registry: Registry) -> None:
    """A place whose row has left the list, brought back by hand, is nobody's but the desk's from then on."""
    data = rows(3)
    await registry.list_in(table(data), source="l")
    made = (await places(registry))["Lieu 0002"]
    short = table([data[0], data[2]])
    await registry.list_in(short, source="l")
    await registry.call("POST", f"/places/{made['id'][27:]}/reopen")
    assert counts(await registry.list_in(short, source="l")) == {"unchanged": 2}
    assert (await registry.get(f"/places/{made['id']}"))["version"] == 3


async def test_a_list_that_would_take_much_away_stops_and_asks(registry: Registry) -> None:
    """More than a tenth and more than five: 409 mass-withdrawal with the count, until exactly that is confirmed."""
    data = rows(60)
    await registry.list_in(table(data), source="l")
    short = table(data[7:])
    for confirm in ({}, {"confirm": "6"}, {"confirm": "8"}):
        status, problem = await upload(registry, short, mode="apply", source="l", **confirm)
        assert (status, problem["type"]) == (409, "urn:maillage:problem:mass-withdrawal")
        assert (problem["count"], problem["places"]) == (7, 60)
        assert "confirm=7" in problem["detail"]
    foretold = await previewed(registry, short, source="l")
    assert (counts(foretold), foretold["confirm_needed"]) == ({"unchanged": 53, "withdrawn": 7}, 7)
    assert (await previewed(registry, short, source="l", confirm="7"))["confirm_needed"] is None
    assert len(await registry.feed()) == 60
    five = await registry.list_in(table(data[5:]), source="l")
    assert counts(five) == {"unchanged": 55, "withdrawn": 5}
    done = await registry.list_in(table(data[15:]), source="l", confirm="10")
    assert counts(done) == {"unchanged": 45, "withdrawn": 10}


async def test_another_list_under_the_same_name_stops_and_asks(registry: Registry) -> None:
    """A list that would take away most of what its source brought in asks first, however few places these are."""
    await registry.list_in(table(rows(100)), source="large")
    await registry.list_in(table(rows(3)))
    other = table([{**row, "ID": f"x{n}", "Nom du lieu": f"Autre {n}"} for n, row in enumerate(rows(3))])
    status, problem = await upload(registry, other, mode="apply")
    assert (status, problem["type"], problem["count"]) == (409, "urn:maillage:problem:mass-withdrawal", 3)
    assert counts(await registry.list_in(other, confirm="3")) == {"new": 3, "withdrawn": 3}


@pytest.mark.parametrize("id", [True, False], ids=["with ids", "without"])
async def test_a_row_that_cannot_be_read_has_not_left(registry: Registry, id: bool) -> None:
    """A row that became unreadable keeps its place: who is gone is not decided without knowing who it is."""
    data = rows(40)
    text = table(data if id else [{k: v for k, v in row.items() if k != "ID"} for row in data]).decode()
    await registry.list_in(text.encode(), source="l")
    lines_ = text.splitlines()
    broken = "\n".join([*lines_[:8], lines_[8] + ",une,de,trop", *lines_[9:]]).encode()
    foretold = await previewed(registry, broken, source="l")
    done = await registry.list_in(broken, source="l")
    assert counts(done) == counts(foretold) == {"unchanged": 39, "refused": 1}
    kept = next(line for line in done["report"] if line["outcome"] == "kept")
    assert "1 places" in kept["remarks"][0]["detail"]
    assert "line 9" in kept["remarks"][0]["detail"]
    assert len(await registry.feed()) == 40
    status, problem = await upload(registry, broken, mode="apply", source="l", confirm="2")
    assert (status, problem["count"]) == (409, 1)
    assert counts(await registry.list_in(broken, source="l", confirm="1"))["withdrawn"] == 1


async def test_an_open_quote_takes_nothing_away(registry: Registry) -> None:
    """Places whose rows an open quotation mark has swallowed stay, and no place is named after their rows."""
    text = table(rows(20)).decode().splitlines()
    await registry.list_in("\n".join(text).encode(), source="l")
    open_ = [*text[:17], text[17].replace("Lieu", '"Lieu'), *text[18:]]
    done = await registry.list_in("\n".join(open_).encode(), source="l")
    assert counts(done) == {"unchanged": 16, "refused": 1}
    assert [line["line"] for line in done["report"] if line["outcome"] == "refused"] == [18]
    assert len(await registry.feed()) == 20


async def test_a_list_without_rows_is_refused(registry: Registry) -> None:
    """A file that holds no row withdraws nothing: it is told at the door."""
    await registry.list_in(table(rows(1)), source="l")
    for data in (b"ID,Nom du lieu,CP\n", b"x" * 1000, b"\n\n"):
        status, problem = await upload(registry, data, mode="apply", source="l")
        assert (status, problem["detail"]) == (400, "This list has no rows.")
    assert len(await registry.feed()) == 1


async def test_why_a_row_is_refused_is_told_whole(registry: Registry) -> None:
    """What was left out of a row is told with its refusal; placeholders are no values."""
    data = b"nom;cp;site;horaires\nLa Cour;3500O;n.c.;NC\nLe Four;35000;n.c.;-\n"
    done = await registry.list_in(data, source="l")
    assert counts(done) == {"new": 1, "refused": 1}
    refused = next(line for line in done["report"] if line["outcome"] == "refused")
    assert any("3500O is no postcode" in remark["detail"] for remark in refused["remarks"])
    made = next(iter((await places(registry)).values()))["place"]
    assert not made.keys() & {"website", "opening_hours", "opening_hours_text"}


async def test_a_report_has_an_end(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a list with countless faulty rows the counts tell all and the report the first."""
    monkeypatch.setattr(importing, "MOST_LINES", 10)
    done = await registry.list_in(table([{**row, "Nom du lieu": ""} for row in rows(40)]), source="l")
    assert counts(done) == {"refused": 40}
    assert len(done["report"]) == 10


async def test_rows_that_never_were_places_hold_up_no_withdrawal(registry: Registry) -> None:
    """A row refused under an id that its list never had, or as a repeat of another, leaves no doubt who is gone."""
    data = rows(40)
    await registry.list_in(table(data), source="l")
    never = {**rows(1)[0], "ID": "x", "Nom du lieu": ""}
    done = await registry.list_in(table([*data[1:], never, data[5]]), source="l")
    assert counts(done) == {"unchanged": 39, "refused": 2, "withdrawn": 1}


async def test_an_old_report_is_forgotten(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports of imports that ended long ago are dropped; what they brought in stays."""
    job = await registry.list_in(table(rows(3)), source="l")
    connection = await asyncpg.connect(registry.settings.database_url)
    try:
        await connection.execute("UPDATE import SET created_at = now() - interval '89 days'")
        await store.drop_jobs(connection, ledger.clock() - worker.REPORTED_FOR)
        assert (await registry.call("GET", f"/imports/{job['id']}"))[0] == 200
        await connection.execute("UPDATE import SET created_at = now() - interval '91 days'")
        await store.drop_jobs(connection, ledger.clock() - worker.REPORTED_FOR)
        assert (await registry.call("GET", f"/imports/{job['id']}"))[0] == 404
    finally:
        await connection.close()
    assert len(await places(registry)) == 3


async def test_a_broken_list_is_refused_quickly(registry: Registry) -> None:
    """A list whose text never ends is told apart at once, and holds up nobody."""
    began = process_time()
    status, _ = await upload(registry, b'["' + b'\\"' * 200_000, "application/json", mode="apply")
    assert status in (400, 202)
    assert process_time() - began < 5


async def test_an_upload_is_kept_in_large_pieces(registry: Registry) -> None:
    """However small the pieces in which a list arrives, the database gets pieces of a mebibyte."""

    async def slowly() -> AsyncIterator[bytes]:
        data = table(rows(30_000))
        for start in range(0, len(data), 10_000):
            yield data[start : start + 10_000]

    kept: list[int] = []

    async def noted(conn: Any, job: Any, n: int, data: bytes) -> None:
        kept.append(len(data))
        await add(conn, job, n, data)

    add = store.add_chunk
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "add_chunk", noted)
        status, _, _ = await registry.call(
            "POST",
            "/imports",
            params={"source": "l.json"},
            data=slowly(),
            headers={"Content-Type": "text/csv"},
        )
    assert status == 202
    assert set(kept[:-1]) == {1024 * 1024}
    assert 0 < kept[-1] <= 1024 * 1024


async def test_closing_much_counts_as_taking_it_away(registry: Registry) -> None:
    """A list that says of many places that they are closed meets the same brake."""
    await registry.list_in(table(rows(20, Statut="ouvert")), source="l")
    closed = table(rows(8, Statut="fermé") + rows(20, Statut="ouvert")[8:])
    status, problem = await upload(registry, closed, mode="apply", source="l")
    assert (status, problem["count"]) == (409, 8)
    assert counts(await registry.list_in(closed, source="l", confirm="8")) == {"unchanged": 12, "changed": 8}


async def test_missing_rows_are_kept_where_that_is_asked(registry: Registry) -> None:
    """With missing=keep a part of a list adds and changes, and takes nothing away."""
    await registry.list_in(table(rows(20)), source="l")
    part = await registry.list_in(table([{**rows(1)[0], "Ville": "Vannes"}]), source="l", missing="keep")
    assert counts(part) == {"changed": 1}
    assert len(await places(registry)) == 20


async def test_two_lists_in_a_row_meet_the_brake_all_the_same(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that was uploaded before the one before it had been read stops when its turn comes."""
    held = asyncio.Event()
    run = importing.run

    async def waiting(*arguments: Any) -> Any:
        await held.wait()
        return await run(*arguments)

    monkeypatch.setattr(importing, "run", waiting)
    jobs = []
    for data in (rows(40), rows(40)[30:]):
        status, job = await upload(registry, table(data), mode="apply", source="l")
        assert status == 202
        jobs.append(job)
    held.set()
    first, second = [await ended(registry, job) for job in jobs]
    assert (first["state"], counts(first)) == ("done", {"new": 40})
    assert second["state"] == "failed"
    assert "confirm=30" in second["error"]
    assert second["confirm_needed"] == 30
    french = await registry.call("GET", f"/imports/{second['id']}", headers={"Accept-Language": "fr"})
    assert french[1]["error"].startswith("Cet import retirerait ou fermerait 30")
    assert len(await places(registry)) == 40


async def test_a_killed_import_ends_the_same(federation: Federation) -> None:
    """An import cut again and again in the middle starts again by itself and ends without a duplicate."""
    registry = await federation.registry()
    data = rows(2500)
    status, job = await upload(registry, table(data), mode="apply", source="l")
    assert status == 202
    cuts = 0

    async def some(more: int) -> bool:
        return await registry.metric("maillage_writer_events_total") >= more

    for more in (300, 300, 300):
        await eventually(lambda more=more: some(more))
        await registry.cut()
        cuts += 1
        await registry.start()
    done = await ended(registry, job)
    assert cuts == 3
    assert done["state"] == "done"
    assert counts(done)["unchanged"] > 300
    assert counts(done).get("new", 0) + counts(done)["unchanged"] == 2500
    events = await registry.feed()
    assert len(events) == 2500
    assert {e["recordversion"] for e in events} == {1}
    undisturbed = await federation.registry()
    await undisturbed.list_in(table(data), source="l")
    assert [e["data"] for e in await undisturbed.feed()] == [e["data"] for e in events]
    again = await registry.list_in(table(data), source="l")
    assert counts(again) == {"unchanged": 2500}


async def test_who_imports_says_what_columns_mean(registry: Registry) -> None:
    """The guessed mapping is shown and can be overridden; own columns go into the list's extension."""
    data = table([{"bidule": "Lieu A", "truc": "35000", "machin": "x"}])
    guess = await previewed(registry, data, source="Ma liste")
    assert counts(guess) == {"refused": 1}
    assert guess["mapping"]["machin"] == "extensions.*"
    says = json.dumps({"bidule": "name", "truc": "address.postcode"})
    done = await registry.list_in(data, source="Ma liste", mapping=says)
    assert counts(done) == {"new": 1}
    assert done["mapping"] == {"bidule": "name", "truc": "address.postcode", "machin": "extensions.*"}
    place = (await places(registry))["Lieu A"]["place"]
    assert place["address"] == {"postcode": "35000"}
    assert place["extensions"] == {"ma-liste": {"machin": "x"}}


async def test_a_mapping_that_does_not_fit_is_refused(registry: Registry) -> None:
    """A column that is not there, a field that no place has, and what is no mapping are each 400."""
    for says in (
        '{"nope": "name"}',
        '{"CP": "adress.postcode"}',
        '{"CP": "name.foo"}',
        '{"CP": "identifiers."}',
        '{"CP": "place"}',
        '{"CP": 1}',
        "[]",
        "{",
    ):
        status, problem = await upload(registry, table(rows(2)), source="l", mapping=says)
        assert (status, problem["errors"][0]["parameter"]) == (400, "mapping"), says
    ok = await previewed(registry, table(rows(2)), mapping='{"CP": "", "ID": "identifiers.local"}')
    assert ok["state"] == "done"


async def test_a_refused_row_is_explained(registry: Registry) -> None:
    """Each refused or repaired row is in the report with its line, its column and a sentence; others go in."""
    data = (
        "\ufeffNom;Code postal;Latitude;Longitude;Site web\r\n"
        "Bon;35000;48,1;-1,6;exemple.fr\r\n"
        ";35000;48,1;-1,6;\r\n"
        "Zéro perdu;1500;;;\r\n"
        "Nulle part;00000;;;\r\n"
        "Trop;35000;1;2;3;4;5;6\r\n"
    ).encode()
    done = await registry.list_in(data, source="l")
    by_line = {r["line"]: r for r in done["report"] if r["outcome"] == "refused"}
    assert set(by_line) == {3, 5, 6}
    assert by_line[3]["remarks"][0]["column"] == "Nom"
    assert all(remark["detail"] for r in done["report"] for remark in r["remarks"])
    assert set(await places(registry)) == {"Bon", "Zéro perdu"}
    assert (await places(registry))["Zéro perdu"]["place"]["address"]["postcode"] == "01500"
    french = await registry.call("GET", f"/imports/{done['id']}?limit=1", headers={"Accept-Language": "fr"})
    assert len(french[1]["report"]) == 1
    rest = await registry.call("GET", f"/imports/{done['id']}?page={french[1]['next']}")
    assert rest[1]["next"] is None
    exactly = len(rest[1]["report"])
    last = await registry.call("GET", f"/imports/{done['id']}?page={french[1]['next']}&limit={exactly}")
    assert last[1]["next"] is None
    assert [r["line"] for r in french[1]["report"] + rest[1]["report"]] == [r["line"] for r in done["report"]]


async def test_lists_come_as_people_have_them(registry: Registry) -> None:
    """Windows-1252 with semicolons, tab-separated, GeoJSON and JSON Lines are the same list."""
    data = rows(3)
    features = [{"type": "Feature", "geometry": None, "properties": dict(row)} for row in data]
    forms = {
        "cp1252": (table(data, ";").decode().encode("cp1252"), "text/csv"),
        "tabs": (table(data, "\t"), "text/tab-separated-values"),
        "bom": (b"\xef\xbb\xbf" + table(data), "application/octet-stream"),
        "geojson": (
            json.dumps({"type": "FeatureCollection", "features": features}).encode(),
            "application/geo+json",
        ),
        "jsonl": (lines(data), NDJSON),
    }
    first = await registry.list_in(table(data), source="l")
    assert counts(first)["new"] == 3
    for form, (text, media) in forms.items():
        again = await registry.list_in(text, media, source="l")
        assert counts(again).get("unchanged") == 3, (form, again)
    for word in ("csv", "tsv"):
        assert counts(await registry.list_in(table(data), source="l", format=word))["unchanged"] == 3
    for word in ("jsonl", "ndjson"):
        again = await registry.list_in(lines(data), "application/json", source="l", format=word)
        assert counts(again)["unchanged"] == 3
    assert len(await registry.feed()) == 3


async def test_what_is_no_list_is_refused_at_the_door(registry: Registry) -> None:
    """An empty body, a ZIP, a form, an unknown format and one over the limit are told at once, and not kept."""
    boundary = "multipart/form-data; boundary=x"
    for data, media, query, expected in (
        (b"", "text/csv", {}, 400),
        (b"PK\x03\x04zip", "application/octet-stream", {}, 415),
        (b"--x--", boundary, {}, 415),
        (b"%PDF-1.4", "application/pdf", {}, 415),
        (b'{"type":"FeatureCollection","features":[', "application/geo+json", {}, 400),
        (table(rows(1)), "text/csv", {"format": "xls"}, 400),
        (table(rows(1)), "text/csv", {"mode": "try"}, 400),
        (table(rows(1)), "text/csv", {"missing": "x"}, 400),
        (table(rows(1)), "text/csv", {"confirm": "-1"}, 400),
        (table(rows(1)), "text/csv", {"confirm": "99999999999"}, 400),
        (table(rows(1)), "text/csv", {"source": ""}, 400),
        (table(rows(1)), "text/csv", {"license": "a b"}, 400),
    ):
        status, problem = await upload(registry, data, media, **query)
        assert status == expected, (data[:20], media, query, problem)
    assert (await registry.call("GET", f"/imports/{uuid4()}"))[0] == 404
    assert await registry.feed() == []


async def test_a_compressed_upload_is_refused(registry: Registry) -> None:
    """A gzipped list could be cut without anybody noticing: 415, whole, cut or broken; so is a bomb elsewhere."""
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip", "Connection": "close"}
    whole = gzip.compress(table(rows(3)))
    for data in (whole, whole[:40], b"garbage"):
        status, problem, _ = await registry.call("POST", "/imports", data=data, headers=headers)
        assert (status, "compressed" in problem["detail"]) == (415, True)
    bomb = gzip.compress(b'{"name":"' + b"x" * 50_000_000 + b'"}')
    headers["Content-Type"] = "application/json"
    assert (await registry.call("POST", "/places", data=bomb, headers=headers))[0] == 415


async def test_an_upload_that_is_cut_is_nothing(registry: Registry) -> None:
    """A connection that breaks in the middle of a list leaves no import, and no place is withdrawn for it."""
    await registry.list_in(table(rows(5)), source="l")
    head = (
        f"POST /imports?mode=apply&source=l HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {registry.token}\r\n"
        "Content-Type: text/csv\r\nContent-Length: 100000\r\n\r\n"
    )
    for _ in range(3):
        _, writer = await asyncio.open_connection("127.0.0.1", registry.port)
        writer.write(head.encode() + table(rows(2)))
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    done = await registry.list_in(table(rows(5)), source="l")
    assert counts(done) == {"unchanged": 5}
    assert len(await registry.feed()) == 5


async def test_an_upload_has_a_limit(federation: Federation) -> None:
    """A list larger than the operator allows is 413, however it is sent."""
    registry = await federation.registry(upload_bytes=100_000)
    status, problem = await upload(registry, table(rows(3000)))
    assert (status, problem["type"]) == (413, "urn:maillage:problem:too-large")
    assert (await upload(registry, table(rows(300))))[0] == 202


NASTY = (
    lambda node: f'{{"id":"{node}:{"-" * 36}","place":{{"name":"A","status":"open","kind":"virtual"}}}}',
    lambda node: f'{{"id":"{node}:{uuid4()}","place":{{"name":"B","status":"open","kind":"virtual"}}}}',
    lambda node: f'{{"id":"{"a" * 26}:{uuid7()}","place":{{"name":"C","status":"open","kind":"virtual"}}}}',
    lambda node: (
        '{"name":"D","status":"open","kind":"virtual","origin":{"system":"s","id":"'
        + "".join(map(chr, range(0x1F300, 0x1F300 + 500)))
        + '"}}'
    ),
    lambda node: '{"name":"E","status":"open","kind":"virtual","extensions":{"x":{"a":1e999}}}',
    lambda node: '{"name":"F","status":"open","kind":"virtual","extensions":{"x":{"a":"\\ud800"}}}',
    lambda node: '{"name":"G","status":"open","kind":"virtual","extensions":{"x":{"a":"\\u0000"}}}',
    lambda node: '{"name":"H","status":"open","kind":"virtual","extensions":{"x":{"a":1,"a":2}}}',
    lambda node: (
        '{"name":"I","status":"open","kind":"virtual","extensions":{"x":' + "[" * 500 + "]" * 500 + "}}"
    ),
    lambda node: '{"name":{"a":1},"status":["open"],"cp":35000}',
    lambda node: '{"name":"K","cp":1e400}',
    lambda node: '{"name":"L","cp":"35000","lat":"1e308","lon":"nan"}',
    lambda node: '{"name":"\\u0000M","cp":"35000"}',
    lambda node: '{"name":"N","cp":"35000","website":"http://[","phone":"+","email":"@","horaires":"\\n"}',
    lambda node: '{"name":"O","cp":"35000","extensions":"nope"}',
    lambda node: '{"name":"P","cp":"35000","origin":{"system":1}}',
    lambda node: '{"name":"Q","cp":"35000","places":[{}],"links":[1,[],{}],"photos":{},"labels":"[{]"}',
    lambda node: "[]",
    lambda node: "null",
    lambda node: '"x"',
    lambda node: "{",
    lambda node: '{"name":"' + "x" * 300_000 + '"}',
    lambda node: '{"name":"Z","status":"open","kind":"virtual"}',
)


async def test_no_list_can_stop_the_service(registry: Registry) -> None:
    """Every nasty row is refused or repaired by itself; the last, good one goes in, together and one by one."""
    for data in ["\n".join(make(registry.node) for make in NASTY), *(make(registry.node) for make in NASTY)]:
        for mode in ("preview", "apply"):
            status, job = await upload(
                registry, data.encode(), NDJSON, mode=mode, source=str(uuid4()), format="jsonl"
            )
            assert status in (202, 400), (status, job, data[:100])
            if status == 202:
                done = await ended(registry, job)
                assert done["state"] == "done", (data[:200], done["error"])
    assert "Z" in await places(registry)
    for event in await registry.feed():
        assert len(msgspec.json.encode(event)) < 48 * 1024


async def test_strange_tables_are_survived(registry: Registry) -> None:
    """Random bytes, random delimiters and random cells end as a report, never as a stop of the service."""
    chance = random.Random(7)
    heads = [
        "nom",
        "cp",
        "lat",
        "lon",
        "site",
        "horaires",
        "id",
        "statut",
        "x",
        "",
        "types",
        "liens",
        "extensions",
    ]
    cells = [
        "",
        "a",
        "35000",
        "48,1",
        "-1.6",
        "fermé",
        '"',
        "'",
        "=1",
        "\x00",
        "é",
        "[]",
        "{}",
        "[{",
        "1e309",
        "NaN",
        "😀",
    ]
    for turn in range(25):
        delimiter = chance.choice(",;\t|")
        text = delimiter.join(chance.sample(heads, chance.randint(1, 9))) + chance.choice(
            ["\n", "\r\n", "\r"]
        )
        for _ in range(12):
            text += delimiter.join(chance.choices(cells, k=chance.randint(0, 10))) + "\n"
        data = text.encode(chance.choice(["utf-8", "utf-16", "utf-8-sig"]))
        if turn % 5 == 0:
            data = chance.randbytes(400)
        status, job = await upload(registry, data, source=f"s{turn}", mode="apply")
        assert status in (202, 400, 415), job
        if status == 202:
            assert (await ended(registry, job))["state"] in ("done", "failed")
    await registry.add()


async def test_a_list_that_trips_us_fails_alone(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An import that meets a bug of ours is failed with a number to report, and the next one is read."""
    compiled = mapping.compiled
    monkeypatch.setattr(mapping, "compiled", lambda *_: {}["bug"])
    _, job = await upload(registry, table(rows(2)), source="l", mode="apply")
    failed = await ended(registry, job)
    assert failed["state"] == "failed"
    assert job["id"] in failed["error"]
    assert "KeyError" not in failed["error"]
    monkeypatch.setattr(mapping, "compiled", compiled)
    assert counts(await registry.list_in(table(rows(2)), source="l")) == {"new": 2}


async def test_the_list_of_a_neighbour_can_be_read_twice(federation: Federation) -> None:
    """Another network's export becomes places of one's own; read again it changes and withdraws nothing."""
    there, here = await federation.registry(), await federation.registry()
    await asyncio.gather(*(there.add() for _ in range(9)))
    for ending, media in (("csv", "text/csv"), ("ndjson", NDJSON), ("geojson", "application/geo+json")):
        export = await raw_export(there, ending)
        first = await here.list_in(export, media, source=f"voisin {ending}")
        assert counts(first)["new"] == 9, ending
        again = await here.list_in(export, media, source=f"voisin {ending}")
        assert counts(again) == {"unchanged": 9}, ending
    assert len(await here.feed()) == 27


async def raw_export(registry: Registry, ending: str) -> bytes:
    """The bytes of an export."""
    async with registry.client.get(f"{registry.url}/exports/places.{ending}") as answer:
        assert answer.status == 200
        return await answer.read()


def dirty(count: int) -> bytes:
    """A list with the dirt that real ones have."""
    chance = random.Random(2019)
    out = ["ID;NOM_TL;ADRESSE;CP;COMINIT;INSEECOM;WEB;TYPO;X;Y;DATE"]
    for n in range(count):
        cp = chance.choice(["35000", "1500", "00000", "44300", "35000.0"])
        insee = chance.choice(["35238", "0null", "1004", ""])
        web = chance.choice(["www.ex.fr", "https://ex.fr", "ex", ""])
        lat, lon = chance.choice([("48,1", "-1,6"), ("", ""), ("0", "0"), ("2,35", "48,85")])
        name = chance.choice(["COWORKING DU PORT", "L'Atelier", 'Le "Lab"'.replace('"', '""')]) + f" {n}"
        out.append(f'{n};"{name}";1 RUE X;{cp};Rennes;{insee};{web};FabLab;{lon};{lat};01/01/1970')
    return "\r\n".join([*out, ";;;;;;;;;;", "x;;;35000;;;;;;;"]).encode("cp1252")


def real_lists() -> list[tuple[str, bytes, int]]:
    """Name, bytes and number of rows of the lists at hand: the real ones, else a generated one."""
    folder = SHARED / "lists"
    if not folder.is_dir():
        return [("dirty.csv", dirty(1500), 1501)]
    found = []
    for name in sorted(file.name for file in folder.iterdir()):
        data = (folder / name).read_bytes()
        if name.endswith("geojson"):
            number = len(json.loads(data)["features"])
        elif name.endswith("jsonl"):
            number = len(data.splitlines())
        else:
            text = data.decode("utf-8-sig", errors="replace")
            table = csv.reader(io.StringIO(text), delimiter=max(",;\t", key=text[:2000].count))
            number = sum(any(row) for row in table) - 1
        found.append((name, data, number))
    return found


async def test_real_lists_go_in_whole(registry: Registry) -> None:
    """Every row of every real list is in, or refused with its line, column and reason; again they change nothing."""
    for name, data, number in real_lists():
        done = await applied(registry, data, name)
        found = counts(done)
        assert done["state"] == "done", done["error"]
        assert done["done"] == number, name
        assert found.get("new", 0) + found.get("refused", 0) == number, (name, found)
        report = await whole_report(registry, done)
        refused = [r for r in report if r["outcome"] == "refused"]
        assert len(refused) == found.get("refused", 0)
        # The list that stands in for the real ones is dirtier than any of them.
        most = 0.1 if name == "dirty.csv" else 0.05
        assert name.endswith("changes-2015-2020.jsonl") or len(refused) < number * most
        for row in refused:
            assert row["line"] > 0
            assert row["remarks"]
            assert all(remark["detail"] for remark in row["remarks"])
        again = await applied(registry, data, name)
        assert set(counts(again)) <= {"unchanged", "refused", "repaired"}, (name, counts(again))


async def test_a_generated_list_with_all_the_dirt_goes_in(registry: Registry) -> None:
    """What real lists have that is wrong is repaired or explained, whether or not real lists are at hand."""
    done = await registry.list_in(dirty(200), source="sale")
    found = counts(done)
    assert found["new"] + found["refused"] == done["done"]
    assert found["new"] > 150
    assert found["repaired"] > 100
    assert set(counts(await registry.list_in(dirty(200), source="sale"))) == {
        "unchanged",
        "refused",
        "repaired",
    }


async def whole_report(registry: Registry, job: Any) -> list[Any]:
    """All pages of a report."""
    report: list[Any] = []
    page = 0
    while True:
        _, now, _ = await registry.call("GET", f"/imports/{job['id']}?limit=1000&page={page}")
        report += now["report"]
        if now["next"] is None:
            return report
        page = now["next"]


async def command(registry: Registry, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a command, in a thread as it starts an event loop of its own."""
    result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env=environ(registry.settings))
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


async def process(registry: Registry, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of `python -m services.registry …`."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.registry",
        *arguments,
        cwd=HERE,
        env={**os.environ, **environ(registry.settings)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(started.communicate(), 120)
    assert started.returncode is not None
    return started.returncode, out.decode(), err.decode()


async def test_the_command_line_imports_beside_the_service(registry: Registry, tmp_path: Path) -> None:
    """`import FILE` shows the mapping, the lines that need a word and the sum, while the service serves."""
    data = rows(40)
    data[3]["Nom du lieu"] = ""
    file = tmp_path / "liste.csv"
    file.write_bytes(table(data))
    code, out, err = await command(registry, "import", str(file), "--source", "l", "--preview")
    assert (code, out.strip()[:19]) == (0, "39 new, 0 changed, "), err
    assert await registry.feed() == []
    code, out, err = await process(registry, "import", str(file), "--source", "l")
    assert code == 0, err
    assert out.startswith("39 new, 0 changed, 0 unchanged, 0 withdrawn, 1 refused")
    assert "Nom du lieu → name" in err
    assert "line 5: refused: Nom du lieu" in err
    assert len(await places(registry)) == 39
    again = await registry.list_in(table(data), source="l")
    assert counts(again) == {"unchanged": 39, "refused": 1}
    file.write_bytes(table(data[20:]))
    code, out, err = await command(registry, "import", str(file), "--source", "l", "--preview")
    assert (code, "--confirm 19" in err, "Without --source" in err) == (0, True, False)
    code, out, err = await command(registry, "import", str(file), "--source", "l", "--quiet")
    assert (code, out) == (2, "")
    assert "confirm=19" in err
    confirmed = ("--source", "l", "--quiet", "--confirm", "19", "--map", "Ville=")
    code, out, _ = await command(registry, "import", str(file), *confirmed)
    assert (code, out.split(", ")[3]) == (0, "19 withdrawn")
    code, _, err = await command(registry, "import", str(file), "--map", "nope=name")
    assert code == 2
    assert "Without --source" in err
    assert "nope" in err


async def applied(registry: Registry, data: bytes, source: str) -> Any:
    """A large list, imported; what became of it."""
    status, job = await upload(registry, data, "application/octet-stream", mode="apply", source=source)
    assert status == 202, job
    return await ended(registry, job)


async def test_one_odd_cell_costs_no_other_row(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Identifiers as an object or a number are taken or kept; a row that trips the import is refused alone."""
    features = [
        {
            "type": "Feature",
            "geometry": None,
            "properties": {"name": f"Lieu {n}", "CP": "35000", "identifiers": i},
        }
        for n, i in enumerate(({"siret": "35600000000048"}, 12, ["x"], [{"scheme": 1}], True, "osm:node/1"))
    ]
    list_ = json.dumps({"type": "FeatureCollection", "features": features}).encode()
    done = await registry.list_in(list_, "application/geo+json", source="l")
    assert (done["state"], counts(done)["new"]) == ("done", 6)
    made = await places(registry)
    assert made["Lieu 0"]["place"]["identifiers"] == [{"scheme": "siret", "value": "35600000000048"}]
    assert made["Lieu 1"]["place"]["extensions"] == {"l": {"identifiers": 12}}
    email = mapping.FILLING["email"]

    def tripping(value: Any, *rest: Any) -> None:
        if value == "odd":
            raise TypeError(value)
        email(value, *rest)

    monkeypatch.setitem(mapping.FILLING, "email", tripping)
    list_ = table([{**row, "email": "odd" if n == 1 else "a@b.fr"} for n, row in enumerate(rows(3))])
    done = await registry.list_in(list_, source="other")
    assert counts(done) == {"new": 2, "refused": 1}
    assert [r["line"] for r in done["report"] if r["outcome"] == "refused"] == [3]
