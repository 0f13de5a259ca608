"""French and English: whatever people may read exists in both."""

import ast
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import pytest

from services import messages
from services.languages import CATALOGUE, ROOT, catalogue, choose, say
from services.messages import placeholders


@pytest.fixture(scope="module")
def found() -> Mapping[str, Any]:
    """What is said anywhere, collected once for all tests."""
    return messages.messages()


def test_every_message_has_its_french(found: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A coordinator reads French whatever goes wrong: no message is without it, nor with other arguments."""
    monkeypatch.setattr(messages, "messages", lambda: found)
    assert messages.missing() == {}


def test_messages_are_really_collected(found: Mapping[str, Any]) -> None:
    """The list that is checked holds messages of each kind: titles, details, faults, settings, templates."""
    assert {
        "The record has changed since you read it.",
        "This parameter is given more than once.",
        "Too short: {least} characters at least.",
        "Unknown name; did you mean {close}?",
        "The database was written by a newer version ({name}): install that version.",
        "Needs a token with the role %(role)s or more.",
    } <= found.keys()
    assert len(found) > 100


def test_every_way_of_saying_a_message_is_seen() -> None:
    """Literals, names, alternatives and keywords are found; text that is built is not taken for a message."""
    source = textwrap.dedent('''
        class Conflict(Failure): ...
        class Odd(Conflict):
            """An odd conflict."""
        TEXT = "named"
        raise Odd("raised", {})
        raise errors.Odd(detail="by keyword")
        raise Odd(TEXT)
        raise Odd("one" if x else "other")
        raise Odd
        Fault("/place", "fault", {})
        Fault(where="/x", what="fault by keyword")
        print("not this one")
        class Draft:
            def note(self, column, what): ...
        draft.note("column", "noted")
        def told():
            return 1, "Told beside."
            return 1, "code"
    ''')
    tree = ast.parse(source)
    assert set(messages.spoken(tree, messages.takers_in([tree]))) == {
        "An odd conflict.",
        "raised",
        "by keyword",
        "named",
        "one",
        "other",
        "fault",
        "fault by keyword",
        "noted",
        "Told beside.",
    }


def test_no_translation_is_left_over(found: Mapping[str, Any]) -> None:
    """The catalogue holds what is said, and nothing that nobody says any more."""
    from babel.messages.pofile import read_po

    with CATALOGUE.open("rb") as file:
        known = {
            entry.id if isinstance(entry.id, str) else entry.id[0] for entry in read_po(file) if entry.id
        }
    assert known - found.keys() == set()


def test_translations_are_written_as_french_is(found: Mapping[str, Any]) -> None:
    """French has its own apostrophe, and a space that does not break before its double signs."""
    for message in found:
        said = catalogue("fr").gettext(message)
        if "`" not in said and '"' not in said:
            assert "'" not in said
        for sign in (" :", " ;", " ?", " !"):
            assert sign not in said


def test_the_catalogue_is_readable_by_gettext_tools() -> None:
    """The file holds no entry twice and no entry that is marked as doubtful."""
    text = CATALOGUE.read_text("utf-8")
    ids = [line for line in text.splitlines() if line.startswith("msgid ")]
    assert len(ids) == len(set(ids))
    assert "#, fuzzy" not in text


@pytest.mark.parametrize(
    ("header", "language"),
    [(None, "en"), ("", "en"), ("fr", "fr"), ("fr-CA;q=0.3", "fr"), ("en,fr", "en"), ("fr,en;q=0.9", "fr")],
)
def test_the_client_chooses(header: str | None, language: str) -> None:
    """The weights of `Accept-Language` decide."""
    assert choose(header) == language


def test_a_message_without_french_is_english() -> None:
    """A missing translation is no crash."""
    assert say("Nobody translated {this}.", {"this": "that"}, "fr") == "Nobody translated that."
    assert say("", {}, "fr") == ""


def test_arguments_are_found_in_both_notations() -> None:
    """Messages of failures use braces, messages of templates percent signs."""
    assert placeholders("{a} and {b}") == {"a", "b"}
    assert placeholders("%(a)s and %(b)d") == {"a", "b"}


def test_what_is_missing_can_be_listed() -> None:
    """A translator gets entries to fill, and the exit code says whether there are any."""
    done = subprocess.run(
        [sys.executable, "-m", "services.messages"], capture_output=True, text=True, cwd=ROOT
    )
    assert (done.returncode == 0) == (done.stdout == "")
