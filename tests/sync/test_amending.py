"""The trust file is changed as its operator would by hand: nothing else in it moves."""

from datetime import date

import pytest

from services.errors import Conflict, NotFound
from services.sync import amending
from services.sync.trust import Hidden, Trusted

A, B, C = (letter * 26 for letter in "abc")
RECORD = f"{A}:01890a5d-ac96-774b-bcce-b302099a8057"
OTHER = f"{B}:01890a5d-ac96-774b-bcce-b302099a8058"
FILE = f"""# Whom we hear. Ask Anne before you change it.
witnesses = [
  "https://autre.example",  # they watch us too
]

[[node]]  # since May
node = "{A}"   # told by phone
"url" = "https://a.example" # no slash
alias = "a-network"

# We met them in Rennes.
[[ hidden ]]
record = '{RECORD}'
reason = "legal" # letter of 3 May
since = 2026-05-03
# The next one is on trial.

[[node]]
mode = 'muted' # until June
node = "{B}"
url = "https://b.example"
alias = "b-network\""""


def node(id: str, alias: str, **other: str) -> Trusted:
    """A node that is listened to."""
    return Trusted(**{"node": id, "url": f"https://{alias[0]}.example", "alias": alias, **other})


def test_one_value_changes_where_it_stands() -> None:
    """A mode that is there is replaced, one that is not comes below the alias; every other byte stays."""
    said = amending.unmute(FILE, "b-network")
    assert said.text == FILE.replace("mode = 'muted'", 'mode = "follow"')
    said = amending.mute(FILE, A)
    assert said.text == FILE.replace('alias = "a-network"\n', 'alias = "a-network"\nmode = "muted"\n')
    assert said.said == "a-network is muted."
    moved = amending.follow(FILE, node(A, "a-network", url="https://new.example"))
    assert moved.text == FILE.replace('"https://a.example"', '"https://new.example"')


def test_what_is_so_already_changes_nothing() -> None:
    """A command that is given twice says so, and writes nothing."""
    for said in (
        amending.mute(FILE, "b-network"),
        amending.unmute(FILE, "a-network"),
        amending.follow(FILE, node(A, "a-network")),
        amending.hide(FILE, Hidden(RECORD, "spam")),
    ):
        assert said.text == FILE


def test_what_is_new_comes_at_the_end() -> None:
    """A new node or record is a table below all that was there, in a file that may be empty or end in a word."""
    added = amending.follow(FILE, node(C, "c-network"))
    assert added.text.startswith(FILE + "\n")
    assert amending.known(added.text, C) == node(C, "c-network")
    hidden = amending.hide("", Hidden(OTHER, "other", date(2026, 6, 1)))
    assert hidden.text == f'[[hidden]]\nrecord = "{OTHER}"\nreason = "other"\nsince = 2026-06-01\n'
    assert amending.hide("# ours\n", Hidden(OTHER, "spam")).text.startswith("# ours\n\n[[hidden]]\n")


def test_what_goes_leaves_the_remarks() -> None:
    """Remarks on lines of their own may be about what comes next: they stay when a table goes."""
    left = amending.leave(FILE, "a-network").text
    assert "# We met them in Rennes.\n[[ hidden ]]" in left
    assert amending.known(left, A) is None
    shown = amending.unhide(left, RECORD).text
    for remark in (
        "# Whom we hear.",
        "# they watch us too",
        "# We met",
        "# The next one is on trial.\n\n[[node]]",
    ):
        assert remark in shown
    with pytest.raises(NotFound):
        amending.unhide(shown, RECORD)
    assert "[[node]]" not in amending.leave(shown, B).text


def test_lines_may_end_as_windows_ends_them() -> None:
    """A file that was written elsewhere is changed as well."""
    there = FILE.replace("\n", "\r\n")
    assert amending.leave(amending.mute(there, "a-network").text, "b-network").text.count("[[node]]") == 1
    assert amending.unmute(there, "b-network").text == there.replace("mode = 'muted'", 'mode = "follow"')


def test_names_are_one_node_s() -> None:
    """Who is not there is told with who is; a name that is taken is refused."""
    with pytest.raises(NotFound) as nobody:
        amending.mute(FILE, "c-network")
    assert nobody.value.arguments["known"] == "a-network, b-network"
    with pytest.raises(Conflict):
        amending.follow(FILE, node(C, "a-network"))


def test_what_only_a_hand_can_change_stays() -> None:
    """A file written in another way is never made into something else: the command refuses."""
    inline = f'node = [{{node = "{A}", url = "https://a.example", alias = "a-network"}}]\n'
    inner = f'hidden = [{{record = "{RECORD}", reason = "spam"}}]\n'
    strange = f'[[node]]\nnode = "{A}"\nurl = "http://a"\n"al\\u0069as" = "a-network"\n'
    for change in (
        lambda: amending.mute(inline, "a-network"),
        lambda: amending.leave(inline, "a-network"),
        lambda: amending.follow(inline, node(B, "b-network")),
        lambda: amending.unhide(inner, RECORD),
        lambda: amending.hide(inner, Hidden(OTHER, "spam")),
        lambda: amending.mute(strange, "a-network"),
    ):
        with pytest.raises(Conflict):
            change()
