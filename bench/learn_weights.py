"""`python -m bench.learn_weights`: learn the points of a policy from labelled pairs, and write them into its file.

Logistic regression with an L2 penalty: one weight for each level of each feature, which makes an additive table in
the form of Fellegi and Sunter. A better level never gets fewer points than a worse one, and `missing` none
outside of what the others get. Thresholds and tables are written by people, and stay as they are.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from msgspec.structs import replace
from scipy.optimize import minimize

from bench.labelled import SHARED, Labelled, profiles, read_pairs, read_records
from services.sync.matching import levels
from services.sync.policy import BESIDE, LADDERS, MISSING, Points, Policy, load, scale
from services.sync.records import Pair

# An array of NumPy, which is not there where types are checked.
Matrix = Any
Levels = Mapping[Pair, Mapping[str, str]]
Columns = Sequence[tuple[str, str]]

POLICY = Path(__file__).parents[1] / "services" / "sync" / "policies" / "maillage-1.json"
PER_NAT = 10 / np.log(2)
PENALTY = 0.3
# Lists avoid naming two of their own places alike, so that such pairs say less of pairs across networks.
WITHIN = 0.1
# What is assumed, in natural logarithms of odds, of levels that labelled pairs hardly show: they are chosen among
# neighbours, and no two lists give identifiers yet.
PRIOR = {
    ("distance", "elsewhere"): -7.0,
    ("distance", "far"): -3.0,
    ("distance", "10000"): -1.5,
    ("identifier", "same"): 4.0,
    ("identifier", "differs"): -1.0,
    ("body", "same"): 0.7,
    ("leftover", "number"): -5.0,
    ("network", "same"): -3.0,
}


def seen(pairs: Sequence[Labelled], places: Mapping[str, Any], policy: Policy) -> dict[Pair, dict[str, str]]:
    """The levels of the pairs that are not vetoed."""
    known = profiles(places, policy)
    found = {p.pair: levels(known[p.a], known[p.b], policy.matching) for p in pairs}
    return {pair: level for pair, level in found.items() if level is not None}


def learned(pairs: Sequence[Labelled], found: Levels, columns: Columns) -> Points:
    """The points of each feature and level that labelled pairs teach."""
    used = [p for p in pairs if p.label != "unsure" and p.pair in found]
    at = {column: n for n, column in enumerate(columns)}
    rows = np.zeros((len(used), len(at)))
    for row, pair in zip(rows, used, strict=True):
        row[[at[level] for level in found[pair.pair].items()]] = 1
    same = np.array([float(p.label == "match") for p in used])
    counts = np.array([1.0 if p.across else WITHIN for p in used])
    weights, intercept = fit(rows, same, counts, columns)
    table: Points = {feature: {} for feature in LADDERS}
    for (feature, level), weight in zip(at, weights, strict=True):
        # What all pairs have in common goes to the one feature that every pair has.
        common = intercept if feature == "network" else 0.0
        table[feature][level] = round((weight + common) * PER_NAT)
    return table


def fit(rows: Matrix, same: Matrix, counts: Matrix, columns: Columns) -> tuple[Matrix, float]:
    """The weights and the intercept that make the labels likeliest, in natural logarithms of odds."""
    prior = np.array([PRIOR.get(column, 0.0) for column in columns])
    climbs = order(columns)

    def loss(at: Matrix) -> tuple[float, Matrix]:
        weights, odds = at[:-1], rows @ at[:-1] + at[-1]
        slope = counts * ((1 + np.tanh(odds / 2)) / 2 - same)
        lost = counts @ (np.logaddexp(0, odds) - same * odds) + PENALTY / 2 * ((weights - prior) ** 2).sum()
        return float(lost), np.append(rows.T @ slope + PENALTY * (weights - prior), slope.sum())

    above = {"type": "ineq", "fun": lambda at: climbs @ at, "jac": lambda at: climbs}
    start = np.zeros(len(prior) + 1)
    found = minimize(loss, start, jac=True, method="SLSQP", constraints=above, options={"maxiter": 1000})
    if not found.success:
        raise RuntimeError(found.message)
    return found.x[:-1], float(found.x[-1])


def order(columns: Columns) -> Matrix:
    """A row for each (worse, better) level, whose product with the weights may not be negative."""
    at = {column: n for n, column in enumerate(columns)}
    rows = []
    for feature in LADDERS:
        ladder = [
            level for f, level in columns if f == feature and level not in (*BESIDE.get(f, ()), MISSING)
        ]
        steps = [*pairwise(ladder), (ladder[0], MISSING), (MISSING, ladder[-1])]
        for worse, better in steps:
            row = np.zeros(len(at) + 1)
            row[at[feature, better]], row[at[feature, worse]] = 1, -1
            rows.append(row)
    return np.array(rows)


def written(policy: Policy) -> bytes:
    """A policy as a file that people can read and compare: sorted, one entry a line."""
    return msgspec.json.format(msgspec.json.encode(policy, order="deterministic"), indent=1) + b"\n"


@click.command()
@click.option(
    "--pairs", default=SHARED / "pairs.csv", type=Path, help="CSV id1,id2,label, or a file of snapshots"
)
@click.option(
    "--records",
    default=SHARED / "records.jsonl",
    type=Path,
    help="places as JSON Lines {id, place}, or a file of snapshots",
)
@click.option("--policy", "file", default=POLICY, type=Path, help="the policy to change")
@click.option("--origin", help="what the policy says of the origin of the pairs")
def main(pairs: Path, records: Path, file: Path, origin: str | None) -> None:
    """Learn the points from pairs, and write them into the file of a policy."""
    policy = load(file.read_bytes())
    places = read_records(records)
    read = read_pairs(pairs, places)
    table = learned(read, seen(read, places, policy), scale(policy.matching))
    matching = replace(policy.matching, weights=table)
    told = (
        f"{origin or pairs.name}: {len(read)} pairs"
        if origin or table != policy.matching.weights
        else policy.pairs
    )
    date = f"{datetime.now(UTC):%Y-%m-%d}" if table != policy.matching.weights else policy.date
    file.write_bytes(written(replace(policy, matching=matching, pairs=told, date=date)))
    click.echo(f"{len(read)} pairs; {file.name} written")


if __name__ == "__main__":
    main()
