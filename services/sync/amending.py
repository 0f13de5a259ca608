"""Change the text of a trust file as its operator would by hand: what she wrote around it stays, comments too.

A file is looked at block by block, each beginning with a header like `[[node]]`; only one block is touched.
"""

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import tomlkit
from msgspec import Struct
from msgspec.structs import replace
from tomlkit.items import AoT

from services.errors import Conflict, Misconfigured, NotFound
from services.sync import trust
from services.sync.trust import Hidden, Trust, Trusted

HEADER = re.compile(r"^[ \t]*\[", re.MULTILINE)
# Where a new line about the mode goes: below the name.
ALIAS = re.compile(r"^[ \t]*\"?alias\"?[ \t]*=.*\n", re.MULTILINE)
REMARK = re.compile(r"[ \t]*(#.*)?(\r?\n)?")
_ANYWHERE = Path("trust.toml")


class Amended(Struct, frozen=True):
    """A changed trust file and, in a line, what changed in it."""

    text: str
    said: str


def follow(text: str, node: Trusted) -> Amended:
    """Listen to a node, or otherwise than before."""
    now = _read(text)
    if (named := next((n for n in now.nodes if n.alias == node.alias), None)) and named.node != node.node:
        raise Conflict(
            "{alias} is what node {node} is called already: choose another name with --alias.",
            {"alias": node.alias, "node": named.node},
        )
    before = known(text, node.node)
    if before is None:
        table = {"node": node.node, "url": node.url, "alias": node.alias, "mode": node.mode}
        wanted = replace(now, nodes=(*now.nodes, node))
        return Amended(
            _checked(_added(text, "node", table), wanted), f"{_told(node)} is new in the trust file."
        )
    if before == node:
        return Amended(text, f"{_told(node)} is in the trust file already.")
    return Amended(_with(text, now, node), f"{_told(node)} is changed in the trust file.")


def _told(node: Trusted) -> str:
    return f"{node.alias} ({node.node}, {node.mode}, read at {node.url})"


def known(text: str, node: str) -> Trusted | None:
    """What the file says of a node, where it does."""
    return next((n for n in _read(text).nodes if n.node == node), None)


def mute(text: str, name: str) -> Amended:
    """Go on proving and keeping what a node says, and leave it out of the view."""
    node = named(text, name)
    if node.mode == "muted":
        return Amended(text, f"{node.alias} is muted already.")
    return Amended(_with(text, _read(text), replace(node, mode="muted")), f"{node.alias} is muted.")


def unmute(text: str, name: str) -> Amended:
    """Let a muted node into the view again."""
    node = named(text, name)
    if node.mode == "follow":
        return Amended(text, f"{node.alias} is not muted.")
    return Amended(
        _with(text, _read(text), replace(node, mode="follow")), f"{node.alias} is no longer muted."
    )


def leave(text: str, name: str) -> Amended:
    """Listen to a node no longer."""
    now, node = _read(text), named(text, name)
    wanted = replace(now, nodes=tuple(n for n in now.nodes if n != node))
    changed = _checked(_without(text, "node", node.node), wanted)
    return Amended(changed, f"{_told(node)} is no longer listened to.")


def hide(text: str, hidden: Hidden) -> Amended:
    """Leave one record out of the view."""
    now = _read(text)
    if any(h.record == hidden.record for h in now.hidden):
        return Amended(text, f"{hidden.record} is hidden already.")
    table = {"record": hidden.record, "reason": hidden.reason, "since": hidden.since}
    wanted = replace(now, hidden=(*now.hidden, hidden))
    changed = _checked(_added(text, "hidden", table), wanted)
    return Amended(changed, f"{hidden.record} is hidden ({hidden.reason}).")


def unhide(text: str, record: str) -> Amended:
    """Show a hidden record again."""
    now = _read(text)
    if all(h.record != record for h in now.hidden):
        raise NotFound("{record} is not hidden.", {"record": record})
    wanted = replace(now, hidden=tuple(h for h in now.hidden if h.record != record))
    return Amended(_checked(_without(text, "hidden", record), wanted), f"{record} is shown again.")


def named(text: str, name: str) -> Trusted:
    """The node of this alias or id; NotFound tells who there is."""
    nodes = _read(text).nodes
    for node in nodes:
        if name in (node.alias, node.node):
            return node
    known = ", ".join(sorted(n.alias for n in nodes)) or "-"
    raise NotFound(
        "Nobody in the trust file is called {name}. There are: {known}", {"name": name, "known": known}
    )


def _read(text: str) -> Trust:
    return trust.read(text.encode(), _ANYWHERE)


def _checked(text: str, wanted: Trust) -> str:
    """The text, where it says just what it should say."""
    try:
        same = _read(text) == wanted
    except Misconfigured:
        same = False
    if not same:
        raise Conflict(
            "The trust file is written in a way that only a hand can change. "
            "Commands need a [[node]] or [[hidden]] table for each entry."
        )
    return text


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Where what stands under each header begins and ends, headers included."""
    starts = [found.start() for found in HEADER.finditer(text)]
    return pairwise([*starts, len(text)])


def _block(text: str, table: str, id: str) -> tuple[int, int]:
    """Where the table of an entry stands; an empty place where it has none of its own."""
    key = {"node": "node", "hidden": "record"}[table]
    for start, end in _blocks(text):
        try:
            found = tomlkit.parse(text[start:end]).unwrap().get(table)
        except tomlkit.exceptions.TOMLKitError:
            # A line of a list that happens to begin like a header.
            continue
        if isinstance(found, list) and found and isinstance(found[0], dict) and found[0].get(key) == id:
            return start, end
    return len(text), len(text)


def _added(text: str, table: str, values: Mapping[str, Any]) -> str:
    """The text with one more table at its end."""
    new = tomlkit.table()
    for name, value in values.items():
        if value is not None:
            new.add(name, value)
    begun = _ended(text)
    space = "\n" if begun.strip() else ""
    return begun + space + tomlkit.dumps({table: AoT([new])}).lstrip("\n")


def _with(text: str, now: Trust, node: Trusted) -> str:
    """The text with another address, alias or mode of a node that is in it."""
    start, end = _block(text, "node", node.node)
    block = text[start:end]
    if node.mode != "follow" and "mode" not in _first(block):
        block = _inserted(block, f'mode = "{node.mode}"\n')
    document = tomlkit.parse(block)
    for table in document.get("node", ()):
        for name in ("url", "alias", "mode"):
            if name in table and table[name] != getattr(node, name):
                table[name] = getattr(node, name)
    nodes = tuple(node if n.node == node.node else n for n in now.nodes)
    return _checked(text[:start] + tomlkit.dumps(document) + text[end:], replace(now, nodes=nodes))


def _first(block: str) -> Mapping[str, Any]:
    tables: list[Mapping[str, Any]] = tomlkit.parse(block).unwrap().get("node", [])
    return tables[0] if tables else {}


def _inserted(block: str, line: str) -> str:
    """A block with one more line below the alias."""
    whole = _ended(block)
    found = ALIAS.search(whole)
    return whole[: found.end()] + line + whole[found.end() :] if found else block


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else text + "\n"


def _without(text: str, table: str, id: str) -> str:
    """The text without a table: remarks on lines of their own stay, they may be about the next one."""
    start, end = _block(text, table, id)
    kept = [line for line in text[start:end].splitlines(keepends=True) if REMARK.fullmatch(line)]
    return text[:start] + "".join(kept) + text[end:]
