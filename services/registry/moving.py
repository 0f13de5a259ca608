"""`python -m services.registry backup | restore | export-node | import-node`: a node into a file, and out of it."""

import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import click
from msgspec.structs import replace

from services import cli, keyring, ledger, ledger_epochs, ledger_store
from services.errors import Conflict, Invalid
from services.ledger_store import Head
from services.postgres import Connection
from services.registry import app, archive, backups, erased, rebuilding, recovering, restoring, saving
from services.registry.archive import Sink, Source
from services.registry.keys import FILE, configured, open_epoch, roots_option
from services.registry.restoring import Restored
from services.registry.saving import Fix, Moment, Tell
from services.registry.settings import Settings
from services.signing import Signer

STDIO = Path("-")


@click.command("backup")
@click.argument("file", type=FILE)
def backup(file: Path) -> None:
    """Write everything that makes this node to a file, while it goes on working; `-` is standard output.

    The file holds the online keys: keep it as you keep them.
    """
    s = configured()
    with cli.progress("backup") as tell:
        moment = _saved(s, file, saving.present, tell)
    _noted(Path(s.key_dir), moment.head)
    click.echo(f"{file}: node {moment.head.node} at {_cursor(moment.head)}", err=True)


@click.command("export-node")
@click.argument("file", type=FILE, required=False)
@click.option("--undo", is_flag=True, help="The node stays here after all, and was started nowhere else.")
def export_node(file: Path | None, undo: bool) -> None:
    """Seal this node and write it to a file, with which it goes on elsewhere; reading goes on here."""
    if undo == (file is not None):
        raise click.UsageError("Give the FILE to write, else --undo.")
    if file is None:
        click.echo(asyncio.run(_unsealed(configured())))
        return
    moment = _exported(configured(), file)
    click.echo(
        f"{file}: node {moment.head.node} at {_cursor(moment.head)}. Nothing is written here any more.",
        err=True,
    )
    click.echo("On the other machine: python -m services.registry import-node FILE", err=True)


@click.command("restore")
@click.argument("file", type=FILE)
@roots_option
@click.option("--same-epoch", is_flag=True, help="You know that nothing was written after the backup.")
def restore(file: Path, roots: tuple[Path, ...], same_epoch: bool) -> None:
    """Make the node of a backup again in an empty database; `-` is standard input.

    What was written after the backup is fetched from the witnesses in the settings; where there is none, a root key
    opens a new epoch, as numbers that others may have seen are never used again.
    """
    if same_epoch and roots:
        raise click.UsageError("Give --root-key, or --same-epoch.")
    s, keys = configured(), [keyring.load(root) for root in roots]
    with cli.progress("restore") as tell, _opened(file) as source:
        head = asyncio.run(_restored(s, source, tell))
    click.echo(f"{file}: node {head.node} at {_cursor(head)}", err=True)
    click.echo(asyncio.run(_onward(s, keys) if not same_epoch else _lifted(s)))


@click.command("import-node")
@click.argument("file", type=FILE)
def import_node(file: Path) -> None:
    """Let a node that was exported go on here, in an empty database: the same id, keys, history and tokens."""
    s = configured()
    with cli.progress("import") as tell, _opened(file) as source:
        if not source.manifest.moved:
            raise Conflict("This file was made by `backup`, its node may be at work: use `restore`.")
        head = asyncio.run(_moved(s, source, tell))
    click.echo(f"Node {head.node} goes on here, at {_cursor(head)}.")
    click.echo(
        "Start it with `serve`. Where its address, or that of its broker, is another one: `key update --root-key FILE`"
        " tells everybody, and those who follow it change its url in their trust.toml. Tokens stay valid."
        " Leave the old one sealed: take it down, or let it answer readers until they have moved.",
        err=True,
    )


def _cursor(head: Head) -> str:
    return f"{head.epoch}.{head.size}"


@contextmanager
def _opened(file: Path) -> Iterator[Source]:
    if file == STDIO:
        yield Source(sys.stdin.buffer)
        return
    try:
        opened = file.open("rb")
    except OSError as error:
        raise Invalid(
            "{path} cannot be read: {why}", {"path": str(file), "why": error.strerror or ""}
        ) from None
    with opened:
        yield Source(opened)


def _saved(s: Settings, file: Path, fix: Fix, tell: Tell) -> Moment:
    if file == STDIO:
        return asyncio.run(_save(s, sys.stdout.buffer, fix, tell))
    with archive.written(file) as opened:
        return asyncio.run(_save(s, opened, fix, tell))


def _noted(folder: Path, head: Head) -> None:
    """Say beside the keys that there is a backup. It is there, also where that cannot be said."""
    try:
        backups.note(folder, backups.Backup(at=ledger.clock(), epoch=head.epoch, size=head.size))
    except OSError as error:
        click.echo(
            f"{folder / backups.NAME}: {error.strerror}: `doctor` will not know of this backup.", err=True
        )


def _exported(s: Settings, file: Path) -> Moment:
    """The node sealed and in a file, or neither."""
    before = asyncio.run(_hold(s))
    try:
        with cli.progress("export") as tell:
            return _saved(s, file, saving.sealed, tell)
    except BaseException:
        if before is None:
            with suppress(Conflict):
                asyncio.run(_unsealed(s))
        raise


async def _hold(s: Settings) -> str | None:
    async with app.database(s) as pool, pool.acquire() as conn:
        return (await ledger.current(conn)).hold


async def _save(s: Settings, file: BinaryIO, fix: Fix, tell: Tell) -> Moment:
    async with app.database(s) as pool:
        await app.identity(pool)
        return await saving.save(pool, app.pen_of(s), fix, Sink(file), tell)


async def _unsealed(s: Settings) -> str:
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        head = await ledger.locked(conn)
        if head.hold != "moved":
            raise Conflict("This node has not been exported.")
        await ledger_store.replace_head(conn, replace(head, hold=None))
    return f"Node {head.node} goes on here, at {_cursor(head)}."


async def _restored(s: Settings, source: Source, tell: Tell) -> Head:
    """All of a file in the database and in the folder of keys, on hold."""
    with ExitStack() as undo:
        async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
            head = (await _written(conn, s, source, undo, tell)).head
        undo.pop_all()
    return head


async def _written(conn: Connection, s: Settings, source: Source, undo: ExitStack, tell: Tell) -> Restored:
    folder = Path(s.key_dir)
    made = await restoring.restore(conn, source, erased.read(folder), tell)
    for kid, text in made.keys.items():
        if keyring.take_in(folder, kid, text):
            undo.callback((folder / f"{kid}.key").unlink)
    erased.keep(folder, made.erasures)
    return made


async def _moved(s: Settings, source: Source, tell: Tell) -> Head:
    """All of a file, and the node at work again, or nothing."""
    with ExitStack() as undo:
        async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
            head = (await _written(conn, s, source, undo, tell)).head
            head = await ledger_epochs.go_on(conn, head, app.pen_of(s), rebuilding.rewound, n=head.n)
        undo.pop_all()
    return head


async def _lifted(s: Settings) -> str:
    """Go on in the same epoch. Even an idle node signs, so numbers of signatures are left out."""
    async with app.database(s) as pool, pool.acquire() as conn, conn.transaction():
        head = await ledger.locked(conn)
        n = head.n + recovering.MARGIN
        head = await ledger_epochs.go_on(conn, head, app.pen_of(s), rebuilding.rewound, n=n)
    return f"Goes on in the same epoch, at {_cursor(head)}."


async def _onward(s: Settings, roots: Sequence[Signer]) -> str:
    """Go on with what witnesses give back, else in a new epoch, else say what is missing."""
    async with app.database(s) as pool:
        await recovering.consult(pool, app.pen_of(s), s.witnesses)
        async with pool.acquire() as conn:
            head = await ledger.current(conn)
    if head.hold is None:
        return f"Nothing that a witness holds is missing: goes on in the same epoch, at {_cursor(head)}."
    if roots:
        return await open_epoch(s, roots)
    return f"It can be read; before anything is written, run: {ledger.HOLDS[head.hold].args['command']}"


COMMANDS = (backup, restore, export_node, import_node)
