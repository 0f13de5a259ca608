"""Ids and addresses of the view answer for ever, and say nothing that a client chose."""

from pathlib import Path

import pytest

from tests.conftest import Federation
from tests.nodes import eventually, listen_to


@pytest.mark.parametrize("page", ["AAAA", "aGVsbG8", "%C3%A9", ""])
async def test_a_page_that_is_none_of_ours_is_told(federation: Federation, page: str) -> None:
    """A made-up token is a mistake of the client, named as such."""
    sync = await federation.sync([])
    status, problem, _ = await sync.call("GET", f"/collections/places/items?page={page}")
    assert status == 400
    assert problem["errors"][0]["parameter"] == "page"


async def test_links_do_not_follow_the_host_header(federation: Federation) -> None:
    """The next page is at the sync's own address, whoever the client says it spoke to."""
    here = await federation.registry()
    await here.add(), await here.add()
    sync = await federation.sync([here], url="https://vue.exemple.fr/")
    await sync.caught_up([here])
    _, found, _ = await sync.call(
        "GET", "/collections/places/items?limit=1", headers={"Host": "evil.example"}
    )
    links = {link["rel"]: link["href"] for link in found["links"]}
    assert links["next"].startswith("https://vue.exemple.fr/collections/places/items?limit=1&page=")
    page = await sync.get(links["next"].removeprefix("https://vue.exemple.fr"))
    assert page["numberReturned"] == 1
    assert page["features"][0]["id"] != found["features"][0]["id"]


async def test_an_id_that_left_the_view_says_why(federation: Federation) -> None:
    """A withdrawn record, and one whose network is no longer heard, answer 410 with the reason on both faces."""
    here, there = await federation.registry(), await federation.registry()
    withdrawn, unheard = (await here.add())["id"], (await there.add())["id"]
    sync = await federation.sync([here, there])
    await sync.caught_up([here, there])
    await here.withdraw(withdrawn)
    await sync.caught_up([here])
    await sync.stop()
    listen_to(Path(sync.settings.trust).parent, [here])
    await sync.start()

    async def left() -> bool:
        return (await sync.digest())["count"] == 0

    await eventually(left)
    for path in ("/places/", "/collections/places/items/"):
        status, problem, _ = await sync.call("GET", path + withdrawn)
        assert (status, problem["reason"]) == (410, "other")
        status, problem, _ = await sync.call("GET", path + unheard)
        assert (status, problem["reason"]) == (410, "no-longer-followed")
        status, _, _ = await sync.call("GET", path + "x" * 26 + ":" + "0" * 36)
        assert status == 404
