"""Claims at the command line: the same as through the API, from the same checks to the same events."""

import asyncio

from click.testing import CliRunner, Result
from uuid_utils import uuid7

from services.registry import __main__ as commands
from tests.nodes import Registry, environ

STRANGER = "b" * 26


def foreign() -> str:
    """The id of a record of another network."""
    return f"{STRANGER}:{uuid7()}"


async def claim(registry: Registry, *words: str, locale: str = "C") -> Result:
    """What became of a `claim` command, said to somebody of this locale."""
    env = {**environ(registry.settings), "LC_ALL": locale}
    return await asyncio.to_thread(CliRunner().invoke, commands.main, ["claim", *words], env=env)


async def test_a_claim_is_said_taken_back_and_said_again(registry: Registry) -> None:
    """`say` and `withdraw` make the events that the API makes; a pair keeps its claim; saying it twice is no event."""
    place, b = (await registry.add())["id"], foreign()
    said = await claim(registry, "say", place, "same", b, "--statement", "Vu sur place.")
    (listed,) = (await registry.get("/claims"))["claims"]
    assert (said.exit_code, said.output) == (0, f"Said: {listed['id']}.\n")
    assert listed["claim"] == {"a": place, "b": b, "verdict": "same", "statement": "Vu sur place."}
    again = await claim(
        registry, "say", place, "same", b, "--statement", "Vu sur place.", locale="fr_FR.UTF-8"
    )
    assert again.output == f"Déjà dit\u00a0: {listed['id']}.\n"
    other = await claim(registry, "say", place[27:], "distinct", b)
    assert other.output == said.output
    gone = await claim(registry, "withdraw", listed["id"][27:], "--reason", "error")
    assert (gone.exit_code, gone.output) == (0, f"Taken back: {listed['id']}.\n")
    status, problem, _ = await registry.call("GET", f"/claims/{listed['id']}")
    assert (status, problem["reason"]) == (410, "error")
    await claim(registry, "say", place, "part-of", b)
    verbs = [event["type"].split(".")[-2] for event in (await registry.feed())[1:]]
    assert verbs == ["put", "put", "withdraw", "put"]
    assert (await registry.get(f"/claims/{listed['id']}"))["version"] == 4


async def test_what_the_api_refuses_is_refused_here(registry: Registry) -> None:
    """Each mistake is a line with its place, in French too; nothing is written."""
    place = (await registry.add())["id"]
    for words, told in (
        (
            ("say", foreign(), "same", foreign()),
            f"/a: A claim starts from a record of this network ({registry.node}:",
        ),
        (("say", f"{registry.node}:{uuid7()}", "same", foreign()), "/a: This network has no such place."),
        (("say", place, "same", place), "/b: A claim is about two different records."),
        (("say", place, "same", str(uuid7())), "/b: This network has no such place."),
        (("say", place, "contests", foreign()), "/statement: What is contested?"),
        (("say", place, "perhaps", foreign()), "/verdict: "),
        (("say", "../x", "same", foreign()), "/a: "),
        (("say", place, "same", foreign(), "--statement", "x" * 281), "/statement: "),
        (("withdraw", str(uuid7())), "This network has no such record."),
        (("withdraw", place), "This network has no such record."),
        (("withdraw", foreign()), "That record belongs to another network."),
        (("withdraw", "x"), "This network has no such record."),
    ):
        refused = await claim(registry, *words)
        assert (refused.exit_code, told in refused.output) == (2, True), (words, refused.output)
    french = await claim(registry, "say", place, "same", place, locale="fr_FR.UTF-8")
    assert "/b: Un avis porte sur deux fiches différentes." in french.output
    assert len(await registry.feed()) == 1


async def test_a_claim_is_taken_back_once(registry: Registry) -> None:
    """What is withdrawn already is told with its reason, and makes no event."""
    said = await registry.claim((await registry.add())["id"], foreign())
    assert (await claim(registry, "withdraw", said["id"])).exit_code == 0
    again = await claim(registry, "withdraw", said["id"])
    assert (again.exit_code, again.output) == (2, "Withdrawn: other.\n")
    assert len(await registry.feed()) == 3


async def test_claims_are_listed(registry: Registry) -> None:
    """All in force, or those that name a record; words that a terminal would take for orders are not."""
    one, two, b = (await registry.add())["id"], (await registry.add())["id"], foreign()
    assert (await claim(registry, "list")).output == ""
    first, second = await registry.claim(one, b), await registry.claim(two, one, "distinct")
    evil = {"a": two, "b": b, "verdict": "contests", "statement": "Faux\x1b]0;x\x07"}
    status, third, _ = await registry.call("POST", "/claims", json=evil)
    assert status == 201
    gone = await registry.claim(one, foreign())
    await claim(registry, "withdraw", gone["id"])
    lines = (await claim(registry, "list")).output.splitlines()
    assert lines == [
        f"{first['id']}  {one}  same  {b}",
        f"{second['id']}  {two}  distinct  {one}",
        f"{third['id']}  {two}  contests  {b}  Faux\ufffd]0;x\ufffd",
    ]
    assert (await claim(registry, "list", "--record", one[27:])).output.splitlines() == lines[:2]
    assert (await claim(registry, "list", "--record", b)).output.splitlines() == [lines[0], lines[2]]
