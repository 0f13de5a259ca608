"""How packages for record linkage tell that two records are one place.

- dedupe with the fields of data.inclusion (`deduplication/src/interactive_train.py`), learned on the other folds.
- Splink, without labels as its makers mean it, with the threshold that is best on the very pairs it is judged by.
"""

import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import dedupe
import pandas
import splink.comparison_library as compare
from dedupe import variables
from splink import DuckDBAPI, Linker, SettingsCreator, block_on

from bench.labelled import Labelled, folds
from bench.rivals import Places
from schemas.place import Address, Place
from services.canonical import fold
from services.sync.records import Pair, owner

DEDUPE_THRESHOLD = 0.5


def rows(places: Places) -> list[dict[str, Any]]:
    """Places as flat rows with the columns of data.inclusion; what is not known is None."""
    return [_row(record, place) for record, place in places.items()]


def _row(record: str, place: Place) -> dict[str, Any]:
    address, point = place.address or Address(), place.position
    siren = next((i.value[:9] for i in place.identifiers if i.scheme == "siret"), None)
    return {
        "unique_id": record,
        "source": owner(record),
        "nom": fold(place.name) or None,
        "commune": fold(address.city or "") or None,
        "adresse": fold(address.street or "") or None,
        "location": (point.lat, point.lon) if point else None,
        "lat": point.lat if point else None,
        "lon": point.lon if point else None,
        "code_postal": address.postcode,
        "code_insee": address.insee,
        "siren": siren,
        "telephone": re.sub("[^0-9a-z]", "", (place.phone or "").lower())[-9:] or None,
        "courriel": place.email,
        "site_web": re.sub("^https?://(www[.])?|/$", "", (place.website or "").lower()) or None,
    }


def by_dedupe(places: Places, pairs: Sequence[Labelled]) -> set[Pair]:
    """Pairs that dedupe joins, each judged by what it learned from the other folds."""
    fields = [
        variables.String("nom", crf=True),
        *(variables.String(name, has_missing=True, name=name) for name in ("commune", "adresse")),
        variables.LatLong("location", has_missing=True, name="location"),
        *(variables.ShortString(name, has_missing=True, name=name) for name in ("code_postal", "code_insee")),
        *(variables.ShortString(name, has_missing=True) for name in ("siren", "telephone", "courriel")),
        variables.Interaction("commune", "adresse", "location", "code_postal", "code_insee"),
    ]
    linker = dedupe.Dedupe(fields)
    known = {row["unique_id"]: row for row in rows(places)}
    read = [p for p in pairs if p.label != "unsure"]
    distances = linker.data_model.distances([(known[p.a], known[p.b]) for p in read])
    found: set[Pair] = set()
    where = folds(read, places)
    for held in set(where):
        others = [n for n, fold_ in enumerate(where) if fold_ != held]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            linker.classifier.fit(distances[others], [read[n].label == "match" for n in others])
        mine = [n for n, fold_ in enumerate(where) if fold_ == held]
        odds = linker.classifier.predict_proba(distances[mine])[:, -1]
        found |= {read[n].pair for n, chance in zip(mine, odds, strict=True) if chance > DEDUPE_THRESHOLD}
    return found


def by_splink(places: Places, pairs: Sequence[Labelled]) -> set[Pair]:
    """Pairs that Splink joins at the threshold that is best for these very pairs."""
    scores = _splink_scores(places)
    best: tuple[float, set[Pair]] = (0.0, set())
    for threshold in sorted({scores[p.pair] for p in pairs if p.pair in scores}):
        found = {p.pair for p in pairs if scores.get(p.pair, -1.0) >= threshold}
        best = max(best, (f1(found, pairs), found), key=_first)
    return best[1]


def _first(found: tuple[float, set[Pair]]) -> float:
    return found[0]


def f1(found: set[Pair], pairs: Iterable[Labelled]) -> float:
    """The harmonic mean of precision and recall."""
    labels = [(p.pair in found, p.label == "match") for p in pairs if p.label != "unsure"]
    right = sum(joined and same for joined, same in labels)
    told = sum(joined for joined, _ in labels) + sum(same for _, same in labels)
    return 2 * right / told if told else 0.0


def _splink_scores(places: Places) -> dict[Pair, float]:
    engine = DuckDBAPI()
    table = pandas.DataFrame([{k: v for k, v in row.items() if k != "location"} for row in rows(places)])
    lists = [engine.register(part, dataset_display_name=name) for name, part in table.groupby("source")]
    blocks = ["nom", "code_postal", "courriel", "telephone", "site_web", "commune"]
    settings = SettingsCreator(
        link_type="link_only",
        blocking_rules_to_generate_predictions=[block_on(column) for column in blocks],
        comparisons=[
            compare.JaroWinklerAtThresholds("nom", [0.95, 0.88, 0.7]),
            compare.JaroWinklerAtThresholds("adresse", [0.95, 0.85, 0.7]),
            compare.DistanceInKMAtThresholds("lat", "lon", [0.05, 0.3, 1, 5, 20]),
            *(compare.ExactMatch(column) for column in ("code_postal", "telephone", "courriel", "site_web")),
        ],
    )
    linker = Linker(lists, settings, log_level=None)
    linker.training.estimate_probability_two_random_records_match(
        [block_on("nom", "code_postal")], recall=0.5
    )
    linker.training.estimate_u_using_random_sampling(max_pairs=1e6, seed=1)
    for rule in (block_on("nom"), block_on("code_postal"), block_on("site_web")):
        linker.training.estimate_parameters_using_expectation_maximisation(rule)
    scored = linker.inference.predict().as_pandas_dataframe()
    columns = (scored["unique_id_l"], scored["unique_id_r"], scored["match_weight"])
    return {(min(a, b), max(a, b)): float(weight) for a, b, weight in zip(*columns, strict=True)}
