"""Write the JSON Schemas beside the Structs, or with --check tell whether they have drifted."""

import sys
from pathlib import Path
from typing import Any

import msgspec

from schemas import claim, event, evidence, node, place, subscription, view, vocabulary

PUBLISHED: tuple[type[Any], ...] = (
    place.Place,
    claim.Claim,
    vocabulary.Vocabulary,
    vocabulary.Term,
    vocabulary.Area,
    node.Descriptor,
    node.Signed,
    event.Event,
    event.Withdrawal,
    event.Erasure,
    event.Checkpoint,
    event.Line,
    event.SnapshotHead,
    evidence.Evidence,
    evidence.AllEvidence,
    evidence.Observed,
    evidence.ObservedCheckpoints,
    view.View,
    view.ViewPut,
    view.ViewRemove,
    view.Notice,
    view.Digest,
    subscription.Filter,
    subscription.Changes,
)


def rendered(struct: type[Any]) -> bytes:
    """The JSON Schema (2020-12) of a Struct, readable."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(struct)}
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2) + b"\n"


def drifted(folder: Path) -> list[str]:
    """Names of schema files that differ from the Structs, are missing, or belong to none."""
    wanted = {f"{s.__name__.lower()}.schema.json": rendered(s) for s in PUBLISHED}
    found = {p.name: p.read_bytes() for p in folder.glob("*.schema.json")}
    return sorted(n for n in wanted.keys() | found.keys() if wanted.get(n) != found.get(n))


def main() -> int:
    """Regenerate, or check; the exit code is 1 when the files have drifted."""
    folder = Path(__file__).parent / "json"
    if "--check" in sys.argv[1:]:
        names = drifted(folder)
        for name in names:
            print(f"{name} has drifted: run make schemas")
        return 1 if names else 0
    folder.mkdir(exist_ok=True)
    for stale in folder.glob("*.schema.json"):
        stale.unlink()
    for struct in PUBLISHED:
        (folder / f"{struct.__name__.lower()}.schema.json").write_bytes(rendered(struct))
    return 0


if __name__ == "__main__":
    sys.exit(main())
