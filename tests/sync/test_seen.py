"""A place as a reader asks to see it, of a sync at work: a voice first, some licences only; and who is told."""

from itertools import pairwise
from typing import Any

import asyncpg
import msgspec
import pytest

from schemas.event import VIEW_NOTICE, VIEW_PUT
from tests.conftest import Federation
from tests.federation.test_erase import nowhere
from tests.nodes import Registry, Sync, eventually
from tests.sync.test_upkeep import view_log

ITEMS = "/collections/places/items"
FREE, ODBL = "CC0-1.0", "ODbL-1.0"


class Shared:
    """A sync over two networks: one place of both, joined by claims, and one of each."""

    def __init__(self, here: Registry, there: Registry, sync: Sync) -> None:
        self.here, self.there, self.sync = here, there, sync
        self.mine = self.theirs = self.alone = ""

    async def begin(self) -> None:
        """Write the places down; the second network's word of the shared one is that of the place itself."""
        said = {"description": "d'ici", "license": FREE, "types": ["ici:atelier"]}
        self.mine = (await self.here.add(name="Ici", **said))["id"]
        said = {
            "license": ODBL,
            "types": ["bas:ti-lec'h"],
            "verified_by": "place",
            "verified_on": "2025-01-01",
        }
        self.theirs = (await self.there.add(name="Là-bas", summary="de là", **said))["id"]
        self.alone = (await self.there.add(name="Seul", license=ODBL))["id"]
        await self.here.claim(self.mine, self.theirs)
        await self.there.claim(self.theirs, self.mine)
        await self.sync.caught_up([self.here, self.there])

    async def items(self, query: str) -> dict[str, Any]:
        """The properties of the places that a query finds, by name."""
        page = await self.sync.get(f"{ITEMS}?{query}")
        assert page["numberMatched"] == page["numberReturned"] == len(page["features"])
        return {f["properties"]["name"]: f["properties"] for f in page["features"]}


@pytest.fixture
async def shared(federation: Federation) -> Shared:
    """Three records of two networks in a common view."""
    here, there = await federation.registry(), await federation.registry()
    found = Shared(here, there, await federation.sync([here, there]))
    await found.begin()
    return found


async def test_a_network_is_read_first(shared: Shared) -> None:
    """By our name for it or its id, of one place and of lists; where it is silent nothing is another."""
    path, first = f"/places/{shared.mine}", shared.here.node
    whole = await shared.sync.get(path)
    assert (whole["place"]["name"], whole["fields"]["name"]["rule"]) == ("Là-bas", "verified-by")
    for voice in ("reseau-0", first):
        asked = await shared.sync.get(f"{path}?voice={voice}")
        assert (asked["place"]["name"], asked["fields"]["name"]["rule"]) == ("Ici", "voice")
        assert asked["fields"]["summary"] == whole["fields"]["summary"]
        assert (asked["id"], asked["records"]) == (whole["id"], whole["records"])
    assert (await shared.items(f"voice={first}")).keys() == {"Ici", "Seul"}
    assert (await shared.items(f"voice={'a' * 26}")).keys() == {"Là-bas", "Seul"}
    assert (await shared.items("")).keys() == {"Là-bas", "Seul"}
    item = await shared.sync.get(f"{ITEMS}/{shared.theirs}?voice=reseau-0")
    assert (item["properties"]["name"], item["properties"]["summary"]) == ("Ici", "de là")
    for where in (path, ITEMS, f"{ITEMS}/{shared.mine}"):
        status, problem, _ = await shared.sync.call("GET", f"{where}?voice=personne")
        assert (status, [e["parameter"] for e in problem["errors"]]) == (400, ["voice"])


async def test_only_some_licences_are_read(shared: Shared) -> None:
    """What is of others is nowhere in the answer; the ids stay; a place without such a record is not there."""
    whole = await shared.sync.get(f"/places/{shared.mine}")
    free = await shared.sync.get(f"/places/{shared.theirs}?license={FREE},etalab-2.0")
    assert (free["id"], free["aliases"]) == (whole["id"], whole["aliases"])
    assert (free["place"]["name"], [r["record"] for r in free["records"]]) == ("Ici", [shared.mine])
    assert "de là" not in str(free)
    assert (await shared.sync.get(f"/places/{shared.mine}?license={ODBL},{FREE}"))["place"] == whole["place"]
    assert (await shared.sync.call("GET", f"/places/{shared.alone}?license={FREE}"))[0] == 404
    assert (await shared.items(f"license={FREE}")).keys() == {"Ici"}
    assert (await shared.items(f"license={ODBL}")).keys() == {"Là-bas", "Seul"}
    assert (await shared.items("license=etalab-2.0")) == {}
    assert (await shared.sync.call("GET", f"{ITEMS}/{shared.alone}?license={FREE}"))[0] == 404
    both = await shared.items(f"license={FREE},{ODBL}&voice=reseau-0")
    assert both["Ici"]["summary"] == "de là"


@pytest.mark.parametrize("older", ["policy = repeat('0', 64)", "columns = 0"])
async def test_rows_of_an_older_version_are_filled(shared: Shared, older: str) -> None:
    """What the rows of the view tell beside its places is written again when the policy or the columns are others."""
    await shared.sync.stop()
    connection = await asyncpg.connect(shared.sync.settings.database_url)
    try:
        await connection.execute("UPDATE view SET licenses = '{}'")
        await connection.execute(f"UPDATE merge SET {older}")
    finally:
        await connection.close()
    await shared.sync.start()

    async def filled() -> bool:
        return (await shared.items(f"license={FREE}")).keys() == {"Ici"}

    await eventually(filled)


async def test_words_of_a_network_stay_its_own(shared: Shared) -> None:
    """Extensions byte for byte in each record, also where the place is undisclosed; local types with who says them."""
    raw = '{"clé":1.50, "\\u00e9t": [1e2, -0.0]}'.encode()
    head = {"If-Match": "*", "Content-Type": "application/json"}
    said = b'{"name":"Ici","status":"open","address":{"postcode":"35000"},"types":["ici:atelier"],'
    body = said + b'"extensions":{"ici":' + raw + b"}}"
    status, _, _ = await shared.here.call("PUT", f"/places/{shared.mine}", data=body, headers=head)
    assert status == 200
    for kind in ("physical", "undisclosed"):
        await shared.there.change(shared.theirs, kind=kind)
        await shared.sync.caught_up([shared.here, shared.there])
        async with shared.sync.client.get(f"{shared.sync.url}/places/{shared.mine}") as response:
            body = await response.read()
        assert raw in body
        items = msgspec.json.decode(body)["fields"]["types"]["items"]
        assert items == [["bas:ti-lec'h", [shared.there.node]], ["ici:atelier", [shared.here.node]]]


async def notices(sync: Sync) -> list[tuple[str, list[tuple[str, str | None]]]]:
    """What the sync's log tells networks, each with the kinds and fields."""
    told = [e["data"] for e in await view_log(sync) if e["type"] == VIEW_NOTICE]
    return [(n["network"], [(i["kind"], i.get("field")) for i in n["items"]]) for n in told]


async def test_networks_are_told_once(shared: Shared) -> None:
    """Joined and contradicted, then nothing while it stays so, then parted; each right before the place as it is."""
    here, there, sync = shared.here, shared.there, shared.sync
    joined = await notices(sync)
    expected = [
        (here.node, [("contradicted", "name"), ("joined", None)]),
        (there.node, [("joined", None)]),
    ]
    assert joined == sorted(expected)
    await here.change(shared.mine, summary="d'ici aussi")
    await here.change(shared.mine, description="d'ici encore")
    await sync.caught_up([here])
    assert (await notices(sync))[2:] == [(here.node, [("contradicted", "summary")])]
    await here.claim(shared.mine, shared.theirs, "distinct")
    await sync.caught_up([here])
    parted = (await notices(sync))[3:]
    assert sorted(parted) == sorted([(here.node, [("parted", None)]), (there.node, [("parted", None)])])
    events = await view_log(sync)
    for event, following in pairwise(events):
        if event["type"] == VIEW_NOTICE:
            assert event["data"]["cause"]
            assert following["subject"] == event["subject"]
            assert following["type"] in (VIEW_NOTICE, VIEW_PUT)
    assert (await sync.digest())["count"] == 3


async def test_what_is_erased_is_in_no_notice(shared: Shared) -> None:
    """A notice shows what others say: where that is erased, it leaves the notice as well."""
    secret = "Marguerite Duras"
    await shared.there.change(shared.theirs, name=secret)
    await shared.here.change(shared.mine, name="Ici même")
    await shared.here.change(shared.mine, summary="d'ici aussi")
    await shared.there.change(shared.theirs, summary=f"chez {secret}", description=f"par {secret}")
    await shared.sync.caught_up([shared.here, shared.there])
    told = [e for e in await view_log(shared.sync) if e["type"] == VIEW_NOTICE]
    assert secret in str(told[-1])
    assert "erased" in await shared.there.command("erase", shared.theirs, "--yes")
    await nowhere([shared.sync.settings.database_url], secret)
