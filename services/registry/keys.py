"""`python -m services.registry key ...`: who this node is, and by which keys it is known."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import click
import msgspec

from schemas.event import REGISTRY_EMITS
from schemas.node import Signed
from services import (
    broker,
    foreign,
    identity,
    keyring,
    ledger,
    ledger_epochs,
    ledger_store,
    settings,
    succession,
)
from services.errors import Conflict, Invalid, Misconfigured
from services.identity import Identity
from services.ledger_store import Head
from services.postgres import Connection
from services.registry import app, rebuilding
from services.registry.settings import PREFIX, Settings
from services.registry.sheet import sheet
from services.signing import Signer
from services.succession import Change

FILE = click.Path(path_type=Path)
roots_option = click.option(
    "--root-key", "roots", type=FILE, multiple=True, help="A root key that is at hand; once for each."
)
draft_option = click.option(
    "--draft", type=FILE, help="Write what is to be signed to this file, for `key sign` on another machine."
)
# What a change of the descriptor is made of, once the log is locked.
Plan = Callable[[Connection, Head, Identity], Awaitable[Sequence[Change]]]


def configured() -> Settings:
    """The settings of this process."""
    return settings.load(Settings, PREFIX, os.environ)


@click.group()
def key() -> None:
    """Keys and identity of this node."""


@key.command("init")
@click.option(
    "--root-key",
    "roots",
    type=FILE,
    required=True,
    multiple=True,
    help="File to write a root key to; once for each, where several people are to keep one.",
)
@click.option("--threshold", type=click.IntRange(1), default=1, help="How many root keys must sign a change.")
@click.option("--if-missing", is_flag=True, help="Do nothing where the node has an identity already.")
@click.option("--no-sheet", is_flag=True, help="Print no recovery sheet: `key sheet` does so later.")
def init(roots: tuple[Path, ...], threshold: int, if_missing: bool, no_sheet: bool) -> None:
    """Give this database the identity of a new node; print its id, and on stderr what it says of itself.

    The root key is the only proof of who you are: print its recovery sheet, keep it away from this machine.
    """
    made = asyncio.run(
        founded(configured(), roots, threshold=threshold, if_missing=if_missing, unsaid=_unsaid(os.environ))
    )
    if made.said is not None:
        click.echo(msgspec.json.format(made.said, indent=2), err=True)
        if not no_sheet:
            click.echo(sheet(made.node, made.name, made.roots, threshold), err=True)
        where = ", ".join(map(str, roots))
        click.echo(f"Root key: {where}. Move it to a safe place: it is not needed to serve.", err=True)
    click.echo(made.node)


def _unsaid(environ: Mapping[str, str]) -> list[str]:
    """The variables that a new node's first words need, and that nobody has set: these words stay for ever."""
    return [v for v in (PREFIX + field.upper() for field in app.SAID) if not environ.get(v, "").strip()]


class Founded(msgspec.Struct, frozen=True):
    """A node; what it says of itself and its root keys, where it is new."""

    node: str
    name: str
    said: str | None = None
    roots: tuple[Signer, ...] = ()


async def founded(
    s: Settings,
    roots: Sequence[Path],
    *,
    threshold: int = 1,
    if_missing: bool = False,
    unsaid: Sequence[str] = (),
) -> Founded:
    """Found a node, all of it or nothing."""
    if threshold > len(roots):
        raise Invalid(
            "{threshold} of {count} root keys cannot sign.", {"threshold": threshold, "count": len(roots)}
        )
    with ExitStack() as undo:
        async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
            # Two processes of one registry may be started for the first time at the same moment.
            await ledger_store.reserve(conn)
            known = await ledger.node_of(conn)
            if known is not None and if_missing:
                return Founded(known, s.name)
            if known is not None:
                raise Conflict("This database belongs to node {node} already.", {"node": known})
            made = await _found(conn, s, roots, threshold, unsaid, undo)
        # The node is there for ever, and so are its keys.
        undo.pop_all()
    return made


async def _found(
    conn: Connection,
    s: Settings,
    files: Sequence[Path],
    threshold: int,
    unsaid: Sequence[str],
    undo: ExitStack,
) -> Founded:
    if unsaid:
        raise Misconfigured(
            "Everybody will know the network by its first words, so say them: {variables}.",
            {"variables": ", ".join(unsaid)},
        )
    pen, roots = app.pen_of(s), list[Signer]()
    online = pen.keyring.make()
    for file in files:
        roots.append(keyring.make(file))
        undo.callback(file.unlink)
    about = broker.about(s, REGISTRY_EMITS)
    node = await ledger.found(conn, about, roots=roots, online=online, pen=pen, threshold=threshold)
    return Founded(node, s.name, (await ledger.descriptors(conn))[-1].raw, tuple(roots))


@key.command("show")
def show() -> None:
    """Print the id of this node."""
    click.echo(asyncio.run(_node(configured())))


async def _node(s: Settings) -> str:
    async with app.database(s) as pool:
        return await app.identity(pool)


@key.command("list")
def list_keys() -> None:
    """The keys of this node and the positions for which each is valid; `*` signs now."""
    for line in asyncio.run(_keys(configured())):
        click.echo(line)


async def _keys(s: Settings) -> list[str]:
    async with app.database(s) as pool, pool.acquire() as conn:
        whose, head = await ledger_epochs.whose(conn), await ledger.current(conn)
    descriptor = whose.descriptor
    roots = f"root keys: {len(descriptor.root_keys)}, {descriptor.threshold} needed"
    lines = (
        f"{'*' if k.kid == head.kid else ' '} {k.kid}  from {k.start}  to {k.end or 'now on'}"
        for k in descriptor.signing_keys
    )
    return [
        *lines,
        roots,
        f"descriptor {descriptor.version}, epoch {head.epoch}, at {head.epoch}.{head.size}",
    ]


@key.command("sheet")
@click.argument("files", type=FILE, nargs=-1, required=True)
def print_sheet(files: tuple[Path, ...]) -> None:
    """Print the recovery sheet of root keys, given by their files."""
    click.echo(asyncio.run(_sheet(configured(), [keyring.load(file) for file in files])))


async def _sheet(s: Settings, roots: Sequence[Signer]) -> str:
    async with app.database(s) as pool, pool.acquire() as conn:
        whose = await ledger_epochs.whose(conn)
    return sheet(whose.node, whose.descriptor.name, roots, whose.descriptor.threshold)


@key.command("recover")
@click.option("--root-key", "file", type=FILE, required=True, help="File to write the root key to.")
def recover(file: Path) -> None:
    """Make the file of a root key again from its recovery sheet. Needs neither settings nor database."""
    typed = click.prompt("The groups on the sheet, in one line or two", hide_input=True)
    if len("".join(typed.split())) < 56:
        typed += click.prompt("The second line", hide_input=True)
    made = keyring.write(file, keyring.read_aloud(typed))
    click.echo(f"{file}: root key {made.kid}")


@key.command("rotate")
@roots_option
@draft_option
def rotate(roots: tuple[Path, ...], draft: Path | None) -> None:
    """Sign with a new key from now on. What the old one signed stays valid."""

    async def plan(conn: Connection, head: Head, whose: Identity) -> Sequence[Change]:
        made = app.pen_of(configured()).keyring.make()
        here = (head.epoch, head.size)
        # Signed later, elsewhere: until then the present key goes on.
        closed = () if draft else (succession.retired([head.kid], here),)
        return (*closed, succession.rotated(made.public, here))

    _change(plan, roots, draft)


@key.command("revoke")
@click.argument("kid")
@click.option("--last-good", required=True, metavar="EPOCH.SEQ", help="The last event that you vouch for.")
@roots_option
@draft_option
def revoke(kid: str, last_good: str, roots: tuple[Path, ...], draft: Path | None) -> None:
    """Make a key invalid after the last good event; the log goes on from there in a new epoch, with a new key.

    What came after it is cut off, from this log and from everybody's; `key list` tells positions and keys.
    """

    async def plan(conn: Connection, head: Head, whose: Identity) -> Sequence[Change]:
        last = ledger.position(last_good)
        await ledger.check_cursor(conn, last, head)
        base = await ledger_epochs.range_at(conn, head, last[1])
        made = app.pen_of(configured()).keyring.make()
        start = (head.epoch + 1, last[1])
        return (
            succession.revoked(kid, last),
            succession.opened(base, "revoked"),
            succession.rotated(made.public, start),
        )

    _change(plan, roots, draft)


@key.command("epoch")
@click.option("--at", type=click.IntRange(0), help="Go on after this event instead of after the last one.")
@roots_option
@draft_option
def epoch(at: int | None, roots: tuple[Path, ...], draft: Path | None) -> None:
    """Open a new epoch: after a restored backup, or where a witness holds other events of this log."""
    _change(_onward(at), roots, draft)


def _onward(at: int | None) -> Plan:
    async def plan(conn: Connection, head: Head, whose: Identity) -> Sequence[Change]:
        if head.hold == "contradicted" and at is None:
            raise Invalid(
                "A witness holds other events of this log. Say with --at which is the last that both have: `common` in"
                " the log line `contradicted`."
            )
        base = await ledger_epochs.range_at(conn, head, head.size if at is None else at)
        return (succession.opened(base, head.hold or "opened"),)

    return plan


async def open_epoch(s: Settings, roots: Sequence[Signer]) -> str:
    """Go on after the last event in a new epoch; where the log stands then."""
    return str(await _carry_out(s, _onward(None), roots))


@key.command("update")
@roots_option
@draft_option
def update(roots: tuple[Path, ...], draft: Path | None) -> None:
    """Tell everybody what the settings say of this node now: name, address, licence, contact, broker."""

    async def plan(conn: Connection, head: Head, whose: Identity) -> Sequence[Change]:
        return (succession.described(broker.about(configured(), REGISTRY_EMITS)),)

    _change(plan, roots, draft)


@key.command("sign")
@click.argument("file", type=FILE)
@click.option("--root-key", "roots", type=FILE, required=True, multiple=True, help="A root key to sign with.")
def sign(file: Path, roots: tuple[Path, ...]) -> None:
    """Sign a draft with root keys, in its file. Works on another machine: needs neither settings nor database."""
    one = _drafted(file)
    for root in roots:
        one = succession.cosigned(one, keyring.load(root))
    file.write_bytes(msgspec.json.encode(one) + b"\n")
    said = identity.read(one)
    click.echo(msgspec.json.format(one.raw, indent=2), err=True)
    click.echo(f"Version {said.version} of {said.name} bears {len(one.signatures)} signatures.")


def _drafted(file: Path) -> Signed:
    try:
        return foreign.decoded(file.read_bytes(), Signed, identity.MAX_BYTES)
    except FileNotFoundError as error:
        raise Misconfigured("There is no draft at {path}.", {"path": str(file)}) from error


@key.command("apply")
@click.argument("file", type=FILE)
def apply(file: Path) -> None:
    """Let a signed draft be in force, on the machine of the registry, which may be running."""
    click.echo(asyncio.run(_adopt(configured(), _drafted(file))))


async def _adopt(s: Settings, one: Signed) -> str:
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        return _stands(await ledger_epochs.adopt(conn, one, app.pen_of(s), rebuilding.rewound))


def _stands(head: Head) -> str:
    return f"In force: key {head.kid}, epoch {head.epoch}, at {head.epoch}.{head.size}"


def _change(plan: Plan, roots: Sequence[Path], draft: Path | None) -> None:
    if bool(roots) == bool(draft):
        raise click.UsageError("Give --root-key where the root keys are at hand, else --draft FILE.")
    done = asyncio.run(_carry_out(configured(), plan, [keyring.load(r) for r in roots]))
    if isinstance(done, Signed) and draft is not None:
        draft.write_bytes(msgspec.json.encode(done) + b"\n")
        done = f"{draft}: sign it with `key sign`, then `key apply` it here."
    click.echo(done)


async def _carry_out(s: Settings, plan: Plan, roots: Sequence[Signer]) -> Signed | str:
    """The draft of a change or, signed by these root keys, where the log stands once it is in force."""
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        head, whose = await ledger.locked(conn), await ledger_epochs.whose(conn)
        changes = await plan(conn, head, whose)
        raw = succession.successor(whose, *changes, created=ledger.stamp(ledger.clock()))
        one = identity.signed(raw, roots)
        if not roots:
            return one
        return _stands(await ledger_epochs.adopt(conn, one, app.pen_of(s), rebuilding.rewound))
