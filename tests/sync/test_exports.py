"""The files of all places by licence: what may be combined whole, the rest as a link; what is free by itself."""

import csv
import io
import json
import sys
from pathlib import Path
from struct import unpack
from typing import Any

import msgspec
import pytest
from pyarrow import parquet as reading
from rdflib import Graph, Literal, Namespace, URIRef
from rdflib.namespace import DCAT, DCTERMS, FOAF, RDF, XSD

from schemas.event import VIEW_PUT
from services import files
from services.errors import Unavailable
from services.sync import app as sync_app
from services.sync import changes, entries, rendering
from services.sync import parquet as writing
from tests.conftest import Federation
from tests.nodes import Registry, Sync, eventually
from tests.sync.test_api import ITEMS
from tests.sync.trusting import command

PLACES, FREE = "/exports/places.geojsonl", "/exports/places-etalab.geojsonl"
ENDINGS = ("geojson", "geojsonl", "csv", "jsonld", "parquet")
# Of the parser itself, whatever is parsed.
pytestmark = pytest.mark.filterwarnings("ignore:ConjunctiveGraph is deprecated:DeprecationWarning")
SHARED, CLOSED, ETALAB = "ODbL-1.0", "CC-BY-SA-4.0", "etalab-2.0"


@pytest.fixture(autouse=True)
def restless(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a file is made again as soon as it is another."""
    monkeypatch.setattr(files, "REST", 0)


class Kept:
    """A sync over three networks, of which the last gives no licence; places by name."""

    def __init__(self, here: Registry, there: Registry, silent: Registry, sync: Sync) -> None:
        self.all = [here, there, silent]
        self.here, self.there, self.silent, self.sync = here, there, silent, sync
        self.ids: dict[str, str] = {}

    async def begin(self) -> None:
        """Write places down: alone under each licence, and one of ours with each other's."""
        for name, license in (("Libre", ETALAB), ("Partagé", SHARED), ("Fermé", CLOSED)):
            self.ids[name] = (await self.here.add(name=name, license=license))["id"]
        self.ids["Sans"] = (await self.silent.add(name="Sans"))["id"]
        for name, other, license in (
            ("Avec partagé", self.there, SHARED),
            ("Avec fermé", self.there, CLOSED),
            ("Avec sans", self.silent, None),
        ):
            mine = await self.here.add(
                name=name, license=ETALAB, verified_by="place", verified_on="2025-01-01"
            )
            said = {"license": license} if license else {}
            theirs = await other.add(name=f"{name} bis", summary=f"secret de {license}", **said)
            await self.here.claim(mine["id"], theirs["id"])
            await other.claim(theirs["id"], mine["id"])
            self.ids[name] = mine["id"]
        await self.sync.caught_up(self.all)

    async def file(self, path: str, query: str = "") -> dict[str, Any]:
        """The features of a file by id, which stand in the order of their ids."""
        status, body, headers = await self.sync.call("GET", path + query)
        assert status == 200, body
        assert headers["Content-Disposition"] == f'attachment; filename="{path.rpartition("/")[2]}"'
        features = [json.loads(line) for line in body.splitlines()]
        assert [f["id"] for f in features] == sorted({f["id"] for f in features})
        return {f["id"]: f for f in features}

    def named(self, features: dict[str, Any]) -> dict[str, Any]:
        """The features by the names that we gave the places."""
        return {name: features[id] for name, id in self.ids.items() if id in features}

    def link(self, name: str, licenses: str, *networks: Registry) -> dict[str, Any]:
        """A place as it is where it may not be passed on."""
        where = f"{self.sync.settings.url.rstrip('/')}/places/{self.ids[name]}"
        of = ";".join(sorted(network.node for network in networks))
        properties = {"networks": of, "link": where, "licenses": licenses}
        return {"type": "Feature", "id": self.ids[name], "geometry": None, "properties": properties}


@pytest.fixture
async def kept(federation: Federation) -> Kept:
    """Places of three networks under several licences."""
    here, there = await federation.registry(), await federation.registry()
    silent = await federation.registry(license="")
    found = Kept(
        here, there, silent, await federation.sync([here, there, silent], url="https://vue.example/")
    )
    await found.begin()
    return found


async def test_what_may_not_be_combined_is_a_link(kept: Kept) -> None:
    """Of a place with one value under another licence, or under none, the file has whose it is and where it is read."""
    here, there, silent = kept.all
    features, listed = await kept.file(PLACES), {f["id"]: f for f in (await kept.sync.get(ITEMS))["features"]}
    assert features.keys() == listed.keys() == set(kept.ids.values())
    found = kept.named(features)
    for name, licenses in (("Libre", ETALAB), ("Partagé", SHARED), ("Avec partagé", f"{SHARED};{ETALAB}")):
        assert found[name]["properties"]["licenses"] == licenses
        assert found.pop(name) == listed[kept.ids[name]]
    assert found == {
        "Fermé": kept.link("Fermé", CLOSED, here),
        "Sans": kept.link("Sans", "?", silent),
        "Avec fermé": kept.link("Avec fermé", f"{CLOSED};{ETALAB}", here, there),
        "Avec sans": kept.link("Avec sans", f"?;{ETALAB}", here, silent),
    }
    assert listed[kept.ids["Avec sans"]]["properties"]["licenses"] == "?;etalab-2.0"


async def test_what_is_free_stands_alone(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other file has what free records alone say, as `license=` shows it, however many are read at once."""
    read = await kept.sync.get(f"{ITEMS}?license={ETALAB},CC0-1.0")
    monkeypatch.setattr(files.Files, "known", lambda *_: None)
    for chunk in (1, 3, 100):
        monkeypatch.setattr(entries, "CHUNK", chunk)
        features = await kept.file(FREE)
        assert kept.named(features).keys() == {"Libre", "Avec partagé", "Avec fermé", "Avec sans"}
        assert {f["properties"]["licenses"] for f in features.values()} == {ETALAB}
        assert features == {f["id"]: f for f in read["features"]}
    assert "secret" not in json.dumps(features)


async def test_the_past_of_files_is_what_events_tell(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that has changed since is whole where an event says one licence for all of it; others are as they are."""
    monkeypatch.setattr(changes, "MOST_DATA", 3000)
    kept.ids["Long"] = (await kept.here.add(name="Long", description="long " * 800, license=ETALAB))["id"]
    await kept.sync.caught_up(kept.all)
    before = (await kept.sync.get("/stats"))["as_of"]["time"]
    was, free_was = [kept.named(await kept.file(path)) for path in (PLACES, FREE)]
    for name, id in kept.ids.items():
        if name not in ("Avec partagé", "Sans"):
            network = next(n for n in kept.all if n.node == id.partition(":")[0])
            await network.change(id, summary="Tout neuf", license="CC0-1.0")
    await kept.there.add(name="Après")
    await kept.sync.caught_up(kept.all)
    assert len(await kept.file(PLACES)) == len(kept.ids) + 1
    past, free = [kept.named(await kept.file(path, f"?as_of={before}")) for path in (PLACES, FREE)]
    assert past.keys() == kept.ids.keys()
    for name in ("Libre", "Partagé"):
        told, shown = past[name]["properties"], was[name]["properties"]
        assert (told["name"], told["summary"], told["licenses"]) == (name, None, shown["licenses"])
    for name in ("Avec partagé", "Fermé", "Sans"):
        assert past[name] == was[name]
    # An event says no licence where there were several, or where it could not hold the place.
    for name, *others in (("Long",), ("Avec fermé", kept.there), ("Avec sans", kept.silent)):
        assert past[name] == kept.link(name, "?", kept.here, *others)
    assert free == {"Libre": past["Libre"], "Avec partagé": free_was["Avec partagé"]}
    assert "Tout neuf" not in json.dumps([past, free])


async def twin(sync: Sync) -> Sync:
    """A second process's worth of the same sync, on the same database."""
    other = Sync(
        sync.client, lambda port: sync_app.serving(msgspec.structs.replace(sync.settings, port=port))
    )
    other.settings = sync.settings
    return await other.start()


def graph(data: bytes) -> Graph:
    """A graph in the words of schema.org, without asking anybody for them."""
    said = json.loads(data)
    assert said["@context"] == "https://schema.org"
    return Graph().parse(data=json.dumps({**said, "@context": {"@vocab": str(SDO)}}), format="json-ld")


SDO = Namespace("https://schema.org/")


class Table:
    """A file of each form as rows by id, by readers that are not ours."""

    def __init__(self, ending: str, data: bytes) -> None:
        self.data = data
        self.rows: dict[str, dict[str, Any]] = getattr(self, ending)()

    def geojson(self) -> dict[str, Any]:
        """Properties and point of each feature."""
        return {f["id"]: self._flat(f) for f in json.loads(self.data)["features"]}

    def geojsonl(self) -> dict[str, Any]:
        """The same, a feature a line."""
        return {f["id"]: self._flat(f) for f in map(json.loads, self.data.splitlines())}

    @staticmethod
    def _flat(feature: dict[str, Any]) -> dict[str, Any]:
        lon, lat = feature["geometry"]["coordinates"] if feature["geometry"] else (None, None)
        return {**feature["properties"], "lon": lon, "lat": lat}

    def csv(self) -> dict[str, Any]:
        """Cells by heading; an empty one is none."""
        rows = csv.DictReader(io.StringIO(self.data.decode(), newline=""), strict=True)
        found = {row["id"]: {k: v or None for k, v in row.items()} for row in rows}
        for row in found.values():
            row |= {name: row[name] and float(row[name]) for name in ("lon", "lat")}
            row["voices"] = row["voices"] and int(row["voices"])
        return found

    def jsonld(self) -> dict[str, Any]:
        """What a graph says of each place."""
        said: Any = graph(self.data)
        found = {}
        for place in said.subjects(RDF.type, SDO.LocalBusiness):
            about, geo = said.value(place, SDO.subjectOf), said.value(place, SDO.geo)
            voices = sorted(str(v).removeprefix("urn:maillage:") for v in said.objects(about, SDO.creator))
            name, link = said.value(place, SDO.name), said.value(about, SDO.url)
            found[str(place).removeprefix("urn:maillage:")] = {
                "name": name and str(name),
                "networks": ";".join(voices),
                "licenses": {str(v) for v in said.objects(about, SDO.license)},
                "lon": geo and said.value(geo, SDO.longitude).toPython(),
                "lat": geo and said.value(geo, SDO.latitude).toPython(),
                "link": link and str(link),
            }
        return found

    def parquet(self) -> dict[str, Any]:
        """Rows, their points read from WKB."""
        table = reading.ParquetFile(io.BytesIO(self.data))
        rows = table.read().to_pylist()
        for row in rows:
            wkb = row.pop("geometry")
            assert wkb is None or wkb[:5] == b"\x01\x01\x00\x00\x00"
            row["lon"], row["lat"] = unpack("<dd", wkb[5:]) if wkb else (None, None)
            row["updated"] = row["updated"] and row["updated"].isoformat()
        return {row["id"]: row for row in rows}


SHOWN = ("name", "lon", "lat", "networks", "link")


async def test_every_form_says_the_same(kept: Kept) -> None:
    """Each form has the same places, points, networks and licences, whichever reader; and says whose the file is."""
    at = {"lat": 48.1, "lon": -1.67, "precision": "exact"}
    told = {"phone": "+33299000000", "address": {"postcode": "01000", "city": 'Bourg;en\n"Bresse"'}}
    kept.ids["Formule"] = (
        await kept.here.add(name="=1+1", summary="+cmd", position=at, license=ETALAB, **told)
    )["id"]
    kept.ids["Tu"] = (await kept.here.add(name="Tu", license=ETALAB, kind="undisclosed"))["id"]
    open_one = await kept.there.add(name="Tu", license=ETALAB, position=at, address={"street": "rue Cachée"})
    await kept.here.claim(kept.ids["Tu"], open_one["id"])
    await kept.there.claim(open_one["id"], kept.ids["Tu"])
    digest = await kept.sync.caught_up(kept.all)
    listed = {f["id"]: f for f in (await kept.sync.get(ITEMS))["features"]}
    columns = {name for f in listed.values() for name in f["properties"]}
    assert {*columns, "link", "dataref"} == {each.name for each in rendering.COLUMNS}
    for name, count in (("places", 9), ("places-etalab", 6)):
        tables = {}
        for ending in ENDINGS:
            status, data, headers = await kept.sync.call("GET", f"/exports/{name}.{ending}")
            data = data if isinstance(data, bytes) else msgspec.json.encode(data)
            assert status == 200
            assert "rue Cach" not in data.decode("latin-1")
            tables[ending] = Table(ending, data).rows
            position = kept.named(tables[ending])["Formule"]["lon"], kept.named(tables[ending])["Tu"]["lon"]
            assert position == (at["lon"], None)
            for link in ('rel="license"', 'rel="cite-as"', 'rel="describedby"'):
                assert link in headers["Link"]
        first = tables["geojsonl"]
        assert len(first) == count
        for ending, rows in tables.items():
            assert list(rows) == list(first) or ending == "jsonld"
            for id, row in rows.items():
                said = {k: row.get(k) for k in SHOWN}
                if ending == "csv" and id == kept.ids["Formule"]:
                    said["name"] = str(said["name"]).removeprefix("'")
                assert said == {k: first[id].get(k) for k in SHOWN}, ending
                assert row["licenses"], ending
        assert tables["geojson"] == first
        assert tables["parquet"].keys() == first.keys()
        formula = tables["csv"][kept.ids["Formule"]]
        assert (formula["name"], formula["summary"], formula["phone"]) == ("'=1+1", "'+cmd", "02 99 00 00 00")
        assert (formula["postcode"], formula["city"]) == ("01000", told["address"]["city"])
    assert digest["count"] == 9
    await says_whose_it_is(kept)


async def says_whose_it_is(kept: Kept) -> None:
    """A form that can say of itself who computed it, when, at which root, and which networks say what, does."""
    digest, cited = await kept.sync.get("/digest"), await kept.sync.get("/cite")
    assert (cited["view_root"], cited["policy_id"]) == (digest["view_root"], digest["policy_id"])
    assert cited["address"] == "https://vue.example/"
    assert {n["node"]: n["license"] for n in cited["networks"]} == {
        kept.here.node: "etalab-2.0",
        kept.there.node: "etalab-2.0",
        kept.silent.node: "",
    }
    assert [each["id"] for each in cited["licenses"]] == ["?", CLOSED, SHARED, ETALAB]
    assert cited["licenses"][2]["url"] == "https://opendatacommons.org/licenses/odbl/1-0/"
    year, _, day = cited["date"][:10].split("-")
    for language, word in (("fr", "calculée par Vue"), ("en", "computed by Vue")):
        for said in (word, cited["address"], cited["cursor"], cited["view_root"], year, str(int(day))):
            assert said in cited["text"][language]
    assert cited["csl"]["issued"]["date-parts"][0][0] == int(cited["date"][:4])
    whole = await kept.sync.get("/exports/places.geojson")
    left_out = ("text", "csl")
    assert whole["attribution"] == {k: v for k, v in cited.items() if k not in left_out}
    assert whole["license"]["id"] == SHARED
    free = await kept.sync.get("/exports/places-etalab.parquet")
    file = reading.ParquetFile(io.BytesIO(free))
    said = {k.decode(): v.decode() for k, v in file.metadata.metadata.items()}
    assert said["license"] == ETALAB
    assert json.loads(said["attribution"]) == whole["attribution"]
    assert json.loads(said["geo"]) == {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {"encoding": "WKB", "geometry_types": ["Point"], "bbox": [-1.67, 48.1, -1.67, 48.1]}
        },
    }
    data = msgspec.json.encode(await kept.sync.get("/exports/places.jsonld"))
    said_by = graph(data)
    dataset = said_by.value(None, RDF.type, SDO.Dataset)
    assert str(said_by.value(dataset, SDO.license)) == cited["licenses"][2]["url"]
    assert {str(n).removeprefix("urn:maillage:") for n in said_by.objects(dataset, SDO.isBasedOn)} == {
        n.node for n in kept.all
    }
    text = (await kept.sync.get("/exports/attribution.txt")).decode()
    for each in (*cited["text"].values(), *(n["url"] for n in cited["networks"]), CLOSED):
        assert each in text
    for path in ("/cite", "/exports/attribution.txt", "/exports/dcat.jsonld"):
        _, _, headers = await kept.sync.call("GET", path)
        status, _, _ = await kept.sync.call("GET", path, headers={"If-None-Match": headers["ETag"]})
        assert (status, headers["Merge-Cursor"]) == (304, cited["cursor"])


FREQ = "http://publications.europa.eu/resource/authority/frequency/UPDATE_CONT"
VCARD = Namespace("http://www.w3.org/2006/vcard/ns#")
GEOJSON = URIRef("https://www.iana.org/assignments/media-types/application/vnd.geo+json")


async def test_portals_read_the_catalogue(federation: Federation) -> None:
    """A harvester finds each data set with title, licence, contact, extent and files, in the words that it reads."""
    here = await federation.registry()
    for lat, lon in ((48.0, -1.5), (47.25, -2.0)):
        await here.add(position={"lat": lat, "lon": lon, "precision": "exact"})
    sync = await federation.sync(
        [here], url="https://vue.example", contact="vue@exemple.fr", name="Vue d'ici"
    )
    await sync.caught_up([here])
    status, _, headers = await sync.call("HEAD", "/exports/dcat.jsonld")
    assert (status, headers["Content-Type"]) == (200, "application/ld+json")
    length = len((await sync.call("GET", "/exports/places.csv"))[1])
    said: Any = Graph().parse(data=json.dumps(await sync.get("/exports/dcat.jsonld")), format="json-ld")
    catalogue = said.value(None, RDF.type, DCAT.Catalog)
    sets = sorted(said.objects(catalogue, DCAT.dataset))
    # Where their address is followed, there they are told.
    named = ("places", "places-etalab")
    assert [str(each) for each in sets] == [f"{catalogue}#{name}" for name in named]
    assert str(catalogue) == "https://vue.example/exports/dcat.jsonld"
    licenses = (
        "Open Data Commons Open Database License (ODbL)",
        "Licence Ouverte / Open Licence version 2.0",
    )
    for each, name, license in zip(sets, named, licenses, strict=True):
        assert (each, RDF.type, DCAT.Dataset) in said
        assert str(said.value(each, DCTERMS.identifier)) == str(each)
        assert "Vue d'ici" in said.value(each, DCTERMS.title)
        assert said.value(each, DCTERMS.description).language == "fr"
        assert str(said.value(each, DCTERMS.rights)) == license
        assert str(said.value(each, DCTERMS.license)).startswith("https://")
        assert said.value(each, DCTERMS.accrualPeriodicity) == URIRef(FREQ)
        assert said.value(each, DCTERMS.modified).datatype == XSD.dateTime
        contact = said.value(each, DCAT.contactPoint)
        assert str(said.value(contact, VCARD.hasEmail)) == "mailto:vue@exemple.fr"
        assert str(said.value(said.value(each, DCTERMS.publisher), FOAF.name)) == "Vue d'ici"
        shapes = [
            o for o in said.objects(said.value(each, DCTERMS.spatial)) if getattr(o, "datatype", 0) == GEOJSON
        ]
        ring = json.loads(shapes[0])["coordinates"][0]
        assert (ring[0], ring[2], ring[4]) == ([-2.0, 47.25], [-1.5, 48.0], [-2.0, 47.25])
        found = sorted(str(said.value(d, DCAT.downloadURL)) for d in said.objects(each, DCAT.distribution))
        assert found == sorted(f"https://vue.example/exports/{name}.{ending}" for ending in ENDINGS)
    table = URIRef("https://vue.example/exports/places.csv")
    assert said.value(table, DCAT.byteSize) == Literal(length, datatype=XSD.nonNegativeInteger)
    assert said.value(table, DCAT.mediaType) == URIRef(
        "https://www.iana.org/assignments/media-types/text/csv"
    )


async def fetched(sync: Sync, path: str, **headers: str) -> tuple[int, bytes, Any]:
    """Status, bytes and headers."""
    async with sync.client.get(sync.url + path, headers=headers) as answer:
        return answer.status, await answer.read(), answer.headers


async def test_files_are_resumed_and_the_same_everywhere(federation: Federation) -> None:
    """Halves from two processes are one file, until the view is another; what comes after its cursor is in the feed."""
    here = await federation.registry()
    for at in range(5):
        await here.add(position={"lat": 48.0 + at / 100, "lon": -1.5, "precision": "exact"})
    sync = await federation.sync([here])
    await sync.caught_up([here])
    other = await twin(sync)
    paths = [*(f"/exports/places.{ending}" for ending in ENDINGS), FREE]
    before = (await sync.get("/cite"))["date"]
    files_then = {}
    for path in [*paths, f"{PLACES}?as_of={before}"]:
        status, whole, headers = files_then[path] = await fetched(sync, path)
        tag, middle = headers["ETag"], len(whole) // 2
        assert (status, headers["Accept-Ranges"]) == (200, "bytes")
        part = await fetched(sync, path, Range=f"bytes=0-{middle - 1}")
        rest = await fetched(other, path, **{"Range": f"bytes={middle}-", "If-Range": tag})
        assert (part[0], rest[0], rest[2]["ETag"]) == (206, 206, tag), path
        assert part[1] + rest[1] == whole
        assert (await fetched(other, path, **{"If-None-Match": tag}))[:2] == (304, b"")
        assert (await fetched(sync, path, Range=f"bytes={len(whole)}-"))[0] == 416
        status, _, headers = await sync.call("HEAD", path)
        assert (status, int(headers["Content-Length"])) == (200, len(whole))
    new = await here.add(name="Nouveau")
    await sync.caught_up([here])
    for path in paths:
        _, whole, headers = files_then[path]
        now = await fetched(sync, path, **{"Range": "bytes=5-", "If-Range": headers["ETag"]})
        assert (now[0], now[2]["ETag"] != headers["ETag"]) == (200, True), path
        lines = (await sync.get(f"/feed?after={headers['Merge-Cursor']}")).splitlines()
        told = [msgspec.json.decode(msgspec.json.decode(line)["raw"]) for line in lines[:-1]]
        assert [e["data"]["id"] for e in told if e["type"] == VIEW_PUT] == [new["id"]]
    then = await fetched(sync, f"{PLACES}?as_of={before}")
    assert (then[1], then[2]["ETag"]) == (
        files_then[PLACES][1],
        files_then[f"{PLACES}?as_of={before}"][2]["ETag"],
    )
    assert then[2]["As-Of"] == before
    await other.stop()


async def test_what_is_erased_or_hidden_leaves_the_files_at_once(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a file is dear it rests after a change; not after an erasure, nor when the operator hides a record."""
    monkeypatch.setattr(files, "CHEAP_S", 0.0)
    monkeypatch.setattr(files, "REST", 1_000_000)
    here = await federation.registry()
    ids = [(await here.add(name=name))["id"] for name in ("Effacé", "Masqué", "Gardé")]
    sync = await federation.sync([here])
    await sync.caught_up([here])
    before = (await sync.get("/cite"))["date"]
    past = f"{PLACES}?as_of={before}"

    async def named() -> list[set[str]]:
        lines = [(await fetched(sync, path))[1].splitlines() for path in (PLACES, past)]
        return [{json.loads(line)["properties"]["name"] for line in some} for some in lines]

    assert await named() == [{"Effacé", "Masqué", "Gardé"}] * 2
    await here.add(name="Nouveau")
    await sync.caught_up([here])
    assert await named() == [{"Effacé", "Masqué", "Gardé"}] * 2
    await here.command("erase", ids[0], "--yes")
    await sync.caught_up([here])
    assert await named() == [{"Masqué", "Gardé", "Nouveau"}, {"Masqué", "Gardé"}]
    assert (await command(sync, "hide", ids[1], "--reason", "on-request"))[0] == 0

    async def left() -> bool:
        return await named() == [{"Gardé", "Nouveau"}, {"Gardé"}]

    await eventually(left)


@pytest.mark.parametrize(("script", "failure"), [("kill -9 $$", Unavailable), ("exit 3", ValueError)])
async def test_the_end_of_the_process_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, failure: type[Exception]
) -> None:
    """Where the process that writes Parquet dies, nobody gets half a file."""
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with (tmp_path / "out").open("wb") as file, pytest.raises(failure):
        async with writing.converting(file, {}) as put:
            for _ in range(100):
                await put(b"x" * 100_000)


def test_parquet_is_written_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many places there are, some are in memory; equal places are equal bytes, and none is a file too."""
    monkeypatch.setattr(writing, "ROWS", 7)
    lines = [
        b'{"type":"Feature","id":"n:%d","geometry":{"type":"Point","coordinates":[%d,48.5]},'
        b'"properties":{"name":"Lieu","voices":1,"updated":"2026-01-31T12:00:00Z"}}\n' % (n, n)
        for n in range(20)
    ]
    written = []
    for some in (lines, lines, []):
        file = io.BytesIO()
        writing.convert(iter(some), file, {"license": ETALAB})
        written.append(file.getvalue())
    found = reading.ParquetFile(io.BytesIO(written[0]))
    assert (found.metadata.num_row_groups, found.metadata.num_rows) == (3, 20)
    assert json.loads(found.metadata.metadata[b"geo"])["columns"]["geometry"]["bbox"] == [0, 48.5, 19, 48.5]
    assert written[0] == written[1]
    assert reading.ParquetFile(io.BytesIO(written[2])).metadata.num_rows == 0
