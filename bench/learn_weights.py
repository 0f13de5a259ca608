"""`python -m bench.learn_weights`: learn the points of the policy from labelled pairs, and write them into its file.

Logistic regression with an L2 penalty, as in "Fellegi-Sunter form": one weight for each level of each feature. A
better level never gets fewer points than a worse one: the levels of a feature are fitted as steps that are not
negative. Where pairs say nothing a weight stays at its `PRIOR`. Ten points double the odds.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from bench.labelled import Labelled
from services.sync.matching import FEATURES, MISSING
from services.sync.policy import Points

# An array of NumPy, which is not there where types are checked.
Matrix = Any
Level = tuple[str, str]

POLICY = Path(__file__).parents[1] / "services" / "sync" / "policies" / "maillage-1.json"
PER_NAT = 10 / np.log(2)
PENALTY = 0.3
# From worst to best; a level that is not named here goes its own way, as `missing` does.
LADDERS: dict[str, tuple[str, ...]] = {
    "distance": ("far", "10000", "3000", "1000", "300", "100", "25"),
    "name": ("unlike", "little", "like", "close", "same"),
    "leftover": ("both", "one", "none"),
    "glued": ("differs", "within", "close", "same"),
    "trade": ("differs", "same"),
    "house": ("differs", "near", "same"),
    "street": ("differs", "like", "same"),
    "postcode": ("differs", "area", "same"),
    "commune": ("differs", "same"),
    "together": ("address", "neither", "both"),
    "domain": ("differs", "same", "page"),
    "phone": ("differs", "same"),
    "email": ("differs", "same"),
    "account": ("differs", "same"),
    "identifier": ("differs", "same"),
    "body": ("differs", "same"),
    "network": ("same", "other"),
}
APART = {"name": ("dull",), "leftover": ("number",)}
# What is assumed of levels that the pairs hardly show, in natural logarithms of odds.
PRIOR: dict[Level, float] = {
    ("identifier", "same"): 4.0,
    ("identifier", "differs"): -1.0,
    ("body", "same"): 0.7,
    ("leftover", "number"): -3.0,
    ("network", "same"): -3.0,
}


def columns() -> list[Level]:
    """Every (feature, level), ladder by ladder."""
    return [
        (feature, level)
        for feature in FEATURES
        for level in (*LADDERS[feature], *APART.get(feature, ()), MISSING)
    ]


def one_hot(seen: Sequence[Mapping[str, str]]) -> Matrix:
    """Pairs as rows of 0 and 1, by `columns`."""
    at = {level: n for n, level in enumerate(columns())}
    rows = np.zeros((len(seen), len(at)))
    for row, found in zip(rows, seen, strict=True):
        for level in found.items():
            row[at[level]] = 1
    return rows


def steps() -> tuple[Matrix, Matrix]:
    """The matrix that makes weights of steps, and which steps may not be negative."""
    every = columns()
    matrix, climbs = np.eye(len(every)), np.zeros(len(every), bool)
    for n, (feature, level) in enumerate(every):
        ladder = LADDERS[feature]
        if level in ladder[1:]:
            climbs[n] = True
            matrix[n, n - ladder.index(level) : n] = 1
    return matrix, climbs


def fit(rows: Matrix, same: Matrix, penalty: float = PENALTY) -> tuple[Matrix, float]:
    """The weights and the intercept that make the labels likeliest, in natural logarithms of odds."""
    matrix, climbs = steps()
    prior = np.array([PRIOR.get(level, 0.0) for level in columns()])

    def loss(at: Matrix) -> tuple[float, Matrix]:
        weights, intercept = matrix @ at[:-1], at[-1]
        odds = rows @ weights + intercept
        slope = 1 / (1 + np.exp(-odds)) - same
        lost = np.logaddexp(0, odds).sum() - same @ odds + penalty / 2 * ((weights - prior) ** 2).sum()
        change = matrix.T @ (rows.T @ slope + penalty * (weights - prior))
        return float(lost), np.append(change, slope.sum())

    bounds = [(0, None) if climb else (None, None) for climb in climbs] + [(None, None)]
    found = minimize(loss, np.zeros(len(climbs) + 1), jac=True, bounds=bounds, method="L-BFGS-B",
                     options={"maxiter": 5000, "maxfun": 20000})  # fmt: skip
    return matrix @ found.x[:-1], float(found.x[-1])


def points(weights: Matrix, intercept: float) -> Points:
    """Weights as integer points by feature and level; what all pairs have in common goes to `network`."""
    table: Points = {feature: {} for feature in FEATURES}
    for (feature, level), weight in zip(columns(), weights, strict=True):
        common = intercept if feature == "network" else 0.0
        table[feature][level] = round((weight + common) * PER_NAT)
    return table


def learned(
    pairs: Sequence[Labelled], seen: Mapping[str, Mapping[str, str]], penalty: float = PENALTY
) -> Points:
    """Points learned from pairs whose levels are given by `a b`."""
    used = [p for p in pairs if p.label != "unsure" and f"{p.a} {p.b}" in seen]
    rows = one_hot([seen[f"{p.a} {p.b}"] for p in used])
    same = np.array([float(p.label == "match") for p in used])
    return points(*fit(rows, same, penalty))
