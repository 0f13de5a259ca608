"""`make bench-matching`: how well the matcher tells that two records are one place, beside others, in one run.

Of pairs across networks that somebody read. Ours are judged by points learned on the other folds, for several ways
to cut the map into folds: the median, and the least and greatest. A pair counts as joined where the rule of clusters
joins it among all records. `unsure` pairs count neither way.
"""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path

import click
from msgspec import Struct
from msgspec.structs import replace

from bench import learn_weights, rival_packages, rivals
from bench.feeding import uuid_of
from bench.figures import machine
from bench.labelled import (
    GRIDS,
    SHARED,
    Grid,
    Labelled,
    blocked,
    candidates,
    folds,
    profiles,
    read_pairs,
    read_records,
)
from schemas.place import Place
from services.sync.clusters import clusters
from services.sync.linking import Scores
from services.sync.matching import comparable, score
from services.sync.policy import Points, Policy, load, scale
from services.sync.profiles import Profile
from services.sync.records import Pair, Record, owner, paired

RESULTS = Path(__file__).parent / "results" / "matching.md"
RIVALS = {
    "mednum-cli (ANCT), score above 90": rivals.mednum_own,
    "mednum-cli (ANCT), score above 60": rivals.mednum,
    "GoGoCarto, automatic merge": rivals.gogocarto,
    "dedupe 3, fields of data.inclusion, 5 folds": rival_packages.by_dedupe,
    "Splink 5, best threshold in sample": rival_packages.by_splink,
}
IN_SAMPLE = (
    "Nothing is learned for this row. Its points come from {pairs}; of those pairs the row is in-sample."
)
Scored = Mapping[Pair, int]
Places = Mapping[str, Place]


class Outcome(Struct, frozen=True):
    """Of labelled pairs: how many joined ones are matches, and how many matches are joined."""

    precision: float
    recall: float
    f1: float
    wrong: int


class Held(Struct, frozen=True):
    """What became of the labelled pairs when each was judged by the points of the other folds."""

    joined: frozenset[Pair]
    offered: frozenset[Pair]


def outcome(found: set[Pair] | frozenset[Pair], pairs: Sequence[Labelled]) -> Outcome:
    """Precision and recall of a set of pairs."""
    right = sum(p.pair in found for p in pairs if p.label == "match")
    wrong = sum(p.pair in found for p in pairs if p.label == "distinct")
    matches = sum(p.label == "match" for p in pairs)
    precision = right / (right + wrong) if right + wrong else 1.0
    return Outcome(precision, right / matches, rival_packages.f1(set(found), pairs), wrong)


def scored(known: Mapping[str, Profile], pairs: Sequence[Pair], policy: Policy) -> dict[Pair, int]:
    """The points of pairs that are not vetoed."""
    found = {(a, b): score(known[a], known[b], policy) for a, b in pairs}
    return {pair: each.points for pair, each in found.items() if each is not None}


def joined(places: Places, points: Scored, policy: Policy) -> set[Pair]:
    """Pairs in one cluster, where no owner has said anything."""
    full = {id: f"{owner(id)}:{uuid_of(id, n)}" for n, id in enumerate(places)}
    short = {id: name for name, id in full.items()}
    records = {full[id]: Record(full[id], 1, "", "", place) for id, place in places.items()}
    known = {paired(full[a], full[b]): much for (a, b), much in points.items()}
    found = clusters(records.values(), [], Scores(records, known, policy)).clusters
    return {paired(short[a.id], short[b.id]) for group in found for a, b in combinations(group, 2)}


def weighing(policy: Policy, weights: Points) -> Policy:
    """A policy with other weights."""
    return replace(policy, matching=replace(policy.matching, weights=weights))


def held_out(
    places: Places, pairs: Sequence[Labelled], policy: Policy, grid: Grid
) -> Callable[[Policy], Held]:
    """Learn once for each fold of a grid; what is returned judges the pairs by the thresholds of a policy."""
    known, seen = profiles(places, policy), learn_weights.seen(pairs, places, policy)
    fold, every = folds(pairs, places, grid), candidates(known)
    by_fold: dict[int, tuple[Points, Scored]] = {}
    for held in sorted(set(fold)):
        others = [p for p, its in zip(pairs, fold, strict=True) if its != held]
        weights = learn_weights.learned(others, seen, scale(policy.matching))
        by_fold[held] = weights, scored(known, every, weighing(policy, weights))

    def judged(chosen: Policy) -> Held:
        told: set[Pair] = set()
        offered: set[Pair] = set()
        for held, (weights, points) in by_fold.items():
            mine = {p.pair for p, its in zip(pairs, fold, strict=True) if its == held}
            found = joined(places, points, weighing(chosen, weights)) & mine
            told |= found
            offered |= found | {
                p for p in mine if points.get(p, chosen.matching.apart) >= chosen.matching.propose
            }
        return Held(frozenset(told), frozenset(offered))

    return judged


def shipped(places: Places, policy: Policy) -> tuple[Scored, set[Pair]]:
    """What a policy makes of the records as it is, nothing learned: points, and the pairs that it joins."""
    known = profiles(places, policy)
    points = scored(known, candidates(known), policy)
    return points, joined(places, points, policy)


def proposals(places: Places, points: Scored, told: set[Pair], policy: Policy) -> float:
    """Proposals per 100 records, beside the pairs that are joined."""
    offered = [pair for pair, much in points.items() if much >= policy.matching.propose and pair not in told]
    return 100 * len(offered) / len(places)


def blocking(places: Places, pairs: Sequence[Labelled], policy: Policy) -> list[str]:
    """Lines on what blocking finds, and what it costs."""
    known = profiles(places, policy)
    matches = {p.pair for p in pairs if p.label == "match"}
    lines = []
    for name, found in (("share a key", blocked(known)), ("are scored", set(candidates(known)))):
        recall, each = len(matches & found) / len(matches), len(found) / len(places)
        lines.append(f"| pairs that {name} | recall {recall:.3f} | {each:.2f} a record |")
    return lines


def speed(places: Places, policy: Policy) -> list[str]:
    """Lines on the microseconds of each step, the best of five rounds."""
    known = profiles(places, policy)
    keyed, every = sorted(blocked(known)), candidates(known)
    steps: dict[str, tuple[Callable[[], object], int]] = {
        "profile": (lambda: profiles(places, policy), len(places)),
        "comparable": (lambda: [comparable(known[a], known[b]) for a, b in keyed], len(keyed)),
        "score": (lambda: scored(known, every, policy), len(every)),
    }
    return [f"| `{name}` | {_best(step) / count * 1e6:.1f} µs |" for name, (step, count) in steps.items()]


def _best(step: Callable[[], object]) -> float:
    took = []
    gc.disable()
    for _ in range(5):
        started = time.process_time()
        step()
        took.append(time.process_time() - started)
    gc.enable()
    return min(took)


def report(places: Places, pairs: Sequence[Labelled], policy: Policy) -> str:
    """All figures as Markdown."""
    across = [p for p in pairs if p.across]
    lines = ["| automatic links | precision | recall | F1 | wrong links |", "|---|---|---|---|---|"]
    for name, rule in RIVALS.items():
        lines.append(_row(name, [outcome(rule(places, across), across)]))
    judges = [held_out(places, pairs, policy, grid) for grid in GRIDS]
    ours = [outcome(judged(policy).joined, across) for judged in judges]
    lines.append(_row(f"**ours, {policy.name}, 5 folds by map cell, {len(GRIDS)} grids**", ours))
    points, told = shipped(places, policy)
    lines.append(_row(f"ours, {policy.name} as shipped ¹", [outcome(told, across)]))
    lines += ["", f"¹ {IN_SAMPLE.format(pairs=policy.pairs)}"]
    offered = _spread([outcome(judged(policy).offered, across).recall for judged in judges])
    offers = proposals(places, points, told, policy)
    lines += ["", "| ours | | |", "|---|---|---|", *blocking(places, across, policy)]
    lines.append(f"| with proposals | recall {offered} | {offers:.2f} per 100 records |")
    lines += ["", "| join from | precision | recall | F1 | wrong links |", "|---|---|---|---|---|"]
    for join in range(policy.matching.join - 20, policy.matching.join + 21, 5):
        other = replace(policy, matching=replace(policy.matching, join=join))
        lines.append(_row(f"{join} points", [outcome(judged(other).joined, across) for judged in judges]))
    lines += ["", "| step, one core | |", "|---|---|", *speed(places, policy)]
    return "\n".join(lines)


def _row(name: str, found: Sequence[Outcome]) -> str:
    figures = ([getattr(each, of) for each in found] for of in ("precision", "recall", "f1"))
    wrong = sorted({each.wrong for each in found})
    return f"| {name} | {' | '.join(map(_spread, figures))} | {' to '.join(map(str, wrong[:1] + wrong[1:][-1:]))} |"


def _spread(values: Sequence[float]) -> str:
    """The median, and the least and the greatest where there are several."""
    middle = f"{statistics.median(values):.3f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):.3f} to {max(values):.3f})"


@click.command()
@click.option("--pairs", default=SHARED / "pairs.csv", type=Path)
@click.option("--records", default=SHARED / "records.jsonl", type=Path)
@click.option("--write/--no-write", default=True, help="write the figures to bench/results/matching.md")
def main(pairs: Path, records: Path, write: bool) -> None:
    """Measure the matcher beside others, and print one table."""
    places = read_records(records)
    read = read_pairs(pairs, places)
    across = sum(p.across for p in read)
    head = f"{machine()}; {len(places)} records, {across} labelled pairs across networks."
    found = report(places, read, load())
    click.echo(f"{head}\n\n{found}")
    if write:
        RESULTS.write_text(f"# matching\n\n{head}\n\n{found}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
