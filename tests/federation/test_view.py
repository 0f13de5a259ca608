"""What networks say arrives in the common view."""

from tests.conftest import Federation
from tests.nodes import eventually


async def test_two_syncs_of_the_same_networks_agree(federation: Federation) -> None:
    """Two syncs at the same heads hold the same bytes, and records joined by both owners are one place."""
    here, there = await federation.registry(), await federation.registry()
    first = await here.add(name="La Filature", address={"postcode": "35000", "city": "Rennes"})
    second = await there.add(name="L'ancienne usine", address={"postcode": "35000", "city": "Rennes"})
    one = await federation.sync([here, there])
    await one.caught_up([here, there])
    assert (await one.digest())["count"] == 2
    await here.claim(first["id"], second["id"])
    await there.claim(second["id"], first["id"])
    other = await federation.sync([there, here])
    assert (await one.caught_up([here, there]))["view_root"] == (await other.caught_up([here, there]))[
        "view_root"
    ]
    assert (await one.digest())["count"] == 1
    place = await one.get(f"/places/{second['id']}")
    assert place["aliases"] == sorted([first["id"], second["id"]])


async def test_a_change_is_visible_at_once(federation: Federation) -> None:
    """A change made in a registry is in the view soon, over the feed alone, and not at its next heartbeat."""
    here = await federation.registry(heartbeat_s=60)
    sync = await federation.sync([here], heartbeat_s=60)
    await sync.caught_up([here])
    added = await here.add(name="Atelier du Port")

    async def seen() -> bool:
        return (await sync.call("GET", f"/places/{added['id']}"))[0] == 200

    await eventually(seen, 20)
