"""Places of several networks that are alike, and a sync that joins hardly anything unasked."""

from pathlib import Path
from typing import Any

import msgspec

from services.sync import policy
from tests.conftest import Federation
from tests.nodes import Registry, Sync

RENNES = {"street": "3 rue de la Paix", "postcode": "35000", "city": "Rennes"}
BREST = {"street": "12 quai du Port", "postcode": "29200", "city": "Brest"}
# What no two places reach.
UNREACHED = 100_000


def cautious(folder: Path) -> str:
    """The path of a policy under which a pair is joined only where an owner asks for it."""
    usual = policy.load()
    matching = msgspec.structs.replace(usual.matching, join=UNREACHED)
    file = folder / "cautious.json"
    file.write_bytes(policy.document(msgspec.structs.replace(usual, matching=matching)))
    return str(file)


class Networks:
    """Networks, and a cautious sync that listens to all of them."""

    def __init__(self, sync: Sync, registries: list[Registry]) -> None:
        self.sync, self.registries = sync, registries

    async def proposals(self, query: str = "") -> list[Any]:
        """All proposals, once the view stands at the heads of all logs."""
        await self.sync.caught_up(self.registries)
        return list((await self.sync.get(f"/proposals?{query}"))["proposals"])

    async def pairs(self, query: str = "") -> list[set[str]]:
        """The records of each proposal."""
        return [{p["a"]["record"], p["b"]["record"]} for p in await self.proposals(query)]


async def networks(federation: Federation, count: int, folder: Path, **settings: Any) -> Networks:
    """So many networks without places, and the sync."""
    registries = [await federation.registry() for _ in range(count)]
    return Networks(await federation.sync(registries, policy=cautious(folder), **settings), registries)
