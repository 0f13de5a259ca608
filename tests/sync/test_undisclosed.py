"""A place that one network does not disclose."""

from tests.conftest import Federation

POSITION = {"lat": 48.1, "lon": -1.7, "precision": "exact"}


async def test_no_voice_tells_where_an_undisclosed_place_is(federation: Federation) -> None:
    """Where one member is undisclosed, position and street of every voice stay out of the view and of its answers."""
    here, there = await federation.registry(), await federation.registry()
    address = {"street": "3 rue Secrète", "postcode": "35000", "city": "Rennes"}
    known = [{"scheme": "ban", "value": "35238_1234_00012"}, {"scheme": "rna", "value": "W353000000"}]
    open_one = await here.add(name="La Maison", address=address, position=POSITION, identifiers=known)
    hidden = await there.add(
        name="La Maison", kind="undisclosed", address={"postcode": "35000", "city": "Rennes"}
    )
    sync = await federation.sync([here, there])
    await sync.caught_up([here, there])
    shown = await sync.get(f"/places/{open_one['id']}")
    assert "Secrète" in str(shown)
    await here.claim(open_one["id"], hidden["id"])
    await there.claim(hidden["id"], open_one["id"])
    await sync.caught_up([here, there])
    place = await sync.get(f"/places/{open_one['id']}")
    assert len(place["records"]) == 2
    item = await sync.get(f"/collections/places/items/{open_one['id']}")
    for answer in (place, item):
        assert "Secrète" not in str(answer)
        assert "48.1" not in str(answer)
        assert "35238_1234_00012" not in str(answer)
    assert "W353000000" in str(place["records"])
    assert place["place"]["address"]["city"] == "Rennes"
    assert item["geometry"] is None
