"""Vector tiles, read by decoders that are not ours, and by GDAL."""

import math
from typing import Any

import mapbox_vector_tile
import pytest

from services.sync import tiles
from services.sync.tiles import DEEPEST, EXTENT, MOST, Point, Tile
from tests.clients.published import RENNES, Published, Written, within
from tests.clients.running import said

ALL = [Tile(z, x, y) for z in range(3) for x in range(1 << z) for y in range(1 << z)]


def decoded(body: bytes) -> list[dict[str, Any]]:
    """The features of a tile, y downwards as the tile has it."""
    if not body:
        return []
    layers = mapbox_vector_tile.decode(body, default_options={"y_coord_down": True})
    assert list(layers) == ["places"]
    assert (layers["places"]["version"], layers["places"]["extent"]) == (2, EXTENT)
    return list(layers["places"]["features"])


def where(tile: Tile, feature: dict[str, Any]) -> tuple[float, float]:
    """Longitude and latitude of a feature."""
    x, y = feature["geometry"]["coordinates"]
    lon = (tile.x + x / EXTENT) / tile.side * 360 - 180
    lat = math.degrees(math.atan(math.sinh(math.pi * (1 - 2 * (tile.y + y / EXTENT) / tile.side))))
    return (lon + 180) % 360 - 180, lat


async def fetched(published: Published, tile: Tile, query: str = "") -> bytes:
    """The bytes of a tile."""
    return await published.sync.get(f"/tiles/{tile.z}/{tile.x}/{tile.y}.mvt{query}")


def shown(each: Written) -> bool:
    """Whether a place is on a map of Web Mercator at all."""
    return each.at is not None and abs(each.at[1]) < tiles.END


@pytest.mark.asyncio(loop_scope="session")
async def test_tiles_show_every_place_where_it_is(published: Published) -> None:
    """Over all tiles of a zoom each place is shown, with what it is, and nowhere but where it is."""
    known = {each.id: each for each in published.places}
    for z in range(3):
        found: dict[str, set[tuple[int, int]]] = {}
        for tile in (each for each in ALL if each.z == z):
            for feature in decoded(await fetched(published, tile)):
                said = feature["properties"]
                written = known[said["id"]]
                assert (said["name"], said["status"], said["count"]) == (
                    written.place["name"][: tiles.NAME],
                    written.place["status"],
                    1,
                )
                assert said["families"].split(";") == written.place["families"]
                lon, lat = where(tile, feature)
                assert abs((lon - written.at[0] + 180) % 360 - 180) < 0.1
                assert abs(lat - written.at[1]) < 0.1
                found.setdefault(said["id"], set()).add((tile.x, tile.y))
        assert found.keys() == published.ids(shown)
    # Near the antimeridian a place stands in the margin of the tile on the other side as well.
    edge = published.ids(lambda each: each.at is not None and abs(each.at[0]) > 179)
    assert len(edge) == 2
    assert all({x for x, _ in found[id]} == {0, 3} for id in edge)


@pytest.mark.asyncio(loop_scope="session")
async def test_tiles_of_a_list(published: Published) -> None:
    """Filters choose as they do in lists; TileJSON tells where the tiles of that list are, and GDAL opens one."""
    about = await published.sync.get("/tiles.json?status=open")
    (template,) = about["tiles"]
    assert template == published.url + "/tiles/{z}/{x}/{y}.mvt?status=open"
    assert about["tilejson"] == "3.0.0"
    assert about["maxzoom"] == DEEPEST
    assert set(about["vector_layers"][0]["fields"]) == set(tiles.KEYS)
    west, south, east, north = RENNES
    box = f"bbox={west},{south},{east},{north}"
    found = decoded(await fetched(published, Tile(0, 0, 0), f"?status=open&{box}"))
    wanted = published.ids(lambda each: each.place["status"] == "open" and within(*RENNES)(each))
    assert {each["properties"]["id"] for each in found} == wanted != set()
    text = await said(["ogrinfo", "-so", f"MVT:/vsicurl/{published.url}/tiles/0/0/0.mvt", "places"])
    assert f"Feature Count: {len(published.ids(shown))}\n" in text
    assert 'ID["EPSG",3857]' in text


@pytest.mark.asyncio(loop_scope="session")
async def test_tiles_are_asked_for_once(published: Published) -> None:
    """A tile has a tag and says where in the log it stands; an empty one has no bytes; others are not there."""
    status, body, headers = await published.sync.call("GET", "/tiles/0/0/0.mvt")
    assert (status, headers["Content-Type"]) == (200, "application/vnd.mapbox-vector-tile")
    assert body
    assert headers["Merge-Cursor"]
    assert "max-age" in headers["Cache-Control"]
    again = await published.sync.call("GET", "/tiles/0/0/0.mvt", headers={"If-None-Match": headers["ETag"]})
    assert (again[0], again[1]) == (304, b"")
    assert (await published.sync.call("GET", "/tiles/5/5/5.mvt"))[:2] == (200, b"")
    for path in ("15/0/0", "0/1/0", "3/8/0", "3/0/8", "-1/0/0", "a/0/0", "0/0/0.5", "0/0/00"):
        status, problem, _ = await published.sync.call("GET", f"/tiles/{path}.mvt")
        assert (status, "2^z" in problem["detail"]) == (404, True), path
    assert (await published.sync.call("GET", "/tiles/0/0/0.mvt?colour=red"))[0] == 400


@pytest.mark.asyncio(loop_scope="session")
async def test_a_crowded_tile_shows_one_place_for_each_cell(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where too many places are to be shown, each still counts in one of those that are, always the same."""
    tile, query = Tile(4, 7, 5), "?q=atelier"
    every = decoded(await fetched(published, tile, query))
    monkeypatch.setattr(tiles, "MOST", 3)
    # A query is another one by the order of what it says, so that the answer from before is not given.
    few = decoded(await fetched(published, tile, query + "&family=fablab,coworking,culturel"))
    again = decoded(await fetched(published, tile, query + "&family=coworking,fablab,culturel"))
    assert few == again
    assert sum(each["properties"]["count"] for each in few) == len(every) > len(few) > 1
    ids = {each["properties"]["id"]: each["geometry"] for each in every}
    assert all(ids[each["properties"]["id"]] == each["geometry"] for each in few)


def test_a_crowded_tile_stays_small() -> None:
    """A tile of as many places as there can be, each with a name of the usual length, is about half a megabyte."""
    tile = Tile(6, 32, 22)
    west, south, east, north = tiles.box(tile)
    points = [
        Point(
            id=f"{'a' * 26}:01890a5d-ac96-774b-bcce-b302{number:08}",
            name=f"Tiers-lieu de la gare {number}",
            status="open",
            families="coworking;fablab",
            lat=south + (north - south) * number / MOST,
            lon=west + (east - west) * (number * 7919 % MOST) / MOST,
            count=number,
        )
        for number in range(MOST)
    ]
    body = tiles.encoded(tile, points)
    assert len(body) < 600_000
    found = decoded(body)
    assert [each["properties"]["id"] for each in found] == [each.id for each in points]
    assert [each["properties"]["count"] for each in found] == list(range(MOST))


@pytest.mark.parametrize("tile", [Tile(0, 0, 0), Tile(1, 0, 0), Tile(1, 1, 1), Tile(14, 16383, 8191)])
def test_a_tile_has_a_margin_that_goes_around_the_world(tile: Tile) -> None:
    """Its box reaches a cell beyond its sides, past the antimeridian where it must, and not past the poles."""
    west, south, east, north = tiles.box(tile)
    assert -tiles.END <= south < north <= tiles.END
    if tile.z == 0:
        assert (west, east) == (-180, 180)
        return
    assert max(abs(west), abs(east)) <= 180
    for lon in (west, east):
        x, _ = tiles.place(tile, (south + north) / 2, lon)
        assert x in (-tiles.CELL, -tiles.CELL - 1, EXTENT + tiles.CELL, EXTENT + tiles.CELL - 1)
