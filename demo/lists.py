"""Which networks the demo has, and the list of places that each of them brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo import sample
from demo.process import Failed

FORMATS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".geojson": "geojson",
    ".json": "geojson",
}


# Names of the demo's other processes.
RESERVED = ("postgres", "rabbitmq", "notify", *(f"sync-{number}" for number in range(1, 21)))


@dataclass(frozen=True)
class List:
    """A network to make: its alias, its name, and its places in one of the formats that registries import."""

    alias: str
    name: str
    format: str
    read: Callable[[], bytes]


def lists(path: Path | None, count: int | None) -> list[List]:
    """The networks to make: of the sample, or one for each list at `path`, at most `count` of them.

    Raises Failed when there is no list at `path`.
    """
    if path is None:
        return [from_sample(network) for network in sample.networks(count or 4)]
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    usable = [file for file in files if file.suffix.lower() in FORMATS]
    if not usable:
        raise Failed(f"{path}: aucune liste lisible ({', '.join(FORMATS)}). / no list that can be read.")
    return unique([from_file(file) for file in usable])[:count]


def from_sample(network: sample.Network) -> List:
    """A network of the sample."""
    return List(network.alias, network.name, "jsonl", lambda: sample.lines(network).encode())


def from_file(file: Path) -> List:
    """A network named after its file."""
    alias = sample.slug(file.stem)[:40] or "reseau"
    return List(alias, file.stem, FORMATS[file.suffix.lower()], file.read_bytes)


def unique(found: list[List]) -> list[List]:
    """The same lists, with numbered aliases where two files have one name."""
    seen = dict.fromkeys(RESERVED, 1)
    told = []
    for each in found:
        seen[each.alias] = seen.get(each.alias, 0) + 1
        number = seen[each.alias]
        alias = each.alias if number == 1 else f"{each.alias}-{number}"
        told.append(List(alias, each.name, each.format, each.read))
    return told
