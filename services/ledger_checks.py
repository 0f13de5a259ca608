"""What the doctor looks at where a log is published: who signs it, whether it proves, whether others hear of it."""

import stat
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from schemas.event import Checkpoint
from schemas.node import Descriptor
from schemas.node import Signed as SignedDescriptor
from services import (
    broker,
    doctor,
    doctor_store,
    foreign,
    identity,
    keyring,
    ledger,
    ledger_epochs,
    ledger_repair_store,
    ledger_store,
    ledger_work,
    merkle,
    proofs,
    signing,
)
from services.doctor import Check, Finding, Findings, Patient, attention, broken, well
from services.errors import Args, Misconfigured, Untrue
from services.identity import Identity
from services.keyring import KeyFile
from services.ledger_repair_store import Stored
from services.ledger_store import Head
from services.merkle import Range
from services.postgres import Connection

# How much of the end of the log is proven where `--deep` is not asked for.
RECENT = 1000
SHOWN = 3
LARGEST_KEY_FILE = 4096
RELAYED_WITHIN = timedelta(minutes=1)
SILENT_AFTER = 3
RESTORE = "Restore the last backup into an empty database; do not write until then."
AUDIT = "Run: python -m services.{service} repair --from URL, with the URL of a sync that follows this node"


async def known(at: Patient[Any]) -> Findings:
    """The node has an identity."""
    async with at.moment() as conn:
        head = await ledger_store.head(conn)
    args = {"service": at.service}
    if head is not None:
        yield well("This is node {node}.", {"node": head.node})
    elif at.service == "registry":
        todo = "Run: python -m services.registry key init --root-key FILE"
        yield broken("This node has no identity yet.", args, todo=todo)
    else:
        todo = "Start the service, which makes one: python -m services.{service} serve"
        yield broken("This node has no identity yet.", args, todo=todo)


async def chain(at: Patient[Any]) -> Findings:
    """What the node says of itself proves, and is what the log goes by."""
    async with at.moment() as conn:
        head = await ledger.current(conn)
        try:
            whose = await ledger_epochs.whose(conn)
        except (Untrue, *foreign.UNREADABLE) as error:
            why = at.reason(error)
            yield broken("The descriptors of this node do not prove: {why}", {"why": why}, todo=RESTORE)
            return
    if (whose.node, whose.hash, whose.epoch) != (head.node, head.descriptor, head.epoch):
        yield broken("The log goes by another descriptor than the last one.", todo=RESTORE)
        return
    yield well(
        "The descriptors of this node prove, up to version {version}.", {"version": whose.descriptor.version}
    )


async def keys(at: Patient[Any]) -> Findings:
    """The key that signs is in its folder, is the one it says, and is read by nobody else."""
    async with at.moment() as conn:
        head, whose = await ledger.current(conn), await ledger_epochs.whose(conn)
    folder = Path(at.settings.key_dir)
    troubles = [_signing(folder, head, whose, at), *map(_private, _keys(folder))]
    found = [trouble for trouble in troubles if trouble is not None]
    for finding in found:
        yield finding
    if not found:
        yield well("The key {kid} signs, and nobody else can read it.", {"kid": head.kid})


def _keys(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.key"))


def _near(folder: Path) -> list[Path]:
    """Whatever lies in the folder of keys, and the keys beside it."""
    return [*sorted(folder.glob("*")), *_keys(folder.absolute().parent)]


def _signing(folder: Path, head: Head, whose: Identity, at: Patient[Any]) -> Finding | None:
    """What is wrong with the key that signs the next event."""
    path = folder / f"{head.kid}.key"
    args = {"kid": head.kid, "path": str(path), "folder": str(folder)}
    lost = "Bring the folder of keys back from its backup."
    if at.service == "registry":
        lost = (
            "Bring the folder of keys back from its backup; "
            "where it is lost, run: python -m services.registry key rotate --root-key FILE"
        )
    try:
        signer = keyring.load(path)
    except Misconfigured as failure:
        return Finding("broken", failure.detail, failure.arguments, todo=lost)
    except OSError as error:
        todo = "Let the account of the service read it."
        return broken(
            "The key {path} cannot be read: {reason}.", {**args, "reason": at.reason(error)}, todo=todo
        )
    try:
        fits = identity.key_at(whose, head.kid, (head.epoch, head.size + 1)) == signer.public
    except Untrue as untrue:
        return Finding("broken", untrue.detail, untrue.arguments, todo=lost)
    return None if fits else broken("{path} holds another key than {kid}.", args, todo=lost)


def _private(path: Path) -> Finding | None:
    """A key that others on this machine can read."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return None
    args = {"path": str(path), "mode": f"{mode:04o}"}
    return attention("Others can read the key {path} (mode {mode}).", args, todo="Run: chmod 600 {path}")


async def root_key(at: Patient[Any]) -> Findings:
    """Root keys, which prove who the network is, do not lie beside the online keys."""
    async with at.moment() as conn:
        said = await ledger.described(conn)
    lying = [file for file in _near(Path(at.settings.key_dir)) if _is_root(file, said)]
    for file in lying:
        yield attention(
            "The root key lies beside the online keys: {path}.",
            {"path": str(file)},
            todo="Keep it away from this machine; its recovery sheet: python -m services.registry key sheet {path}",
        )
    if not lying:
        yield well("No root key lies beside the online keys.")


def _is_root(file: Path, said: Descriptor) -> bool:
    """Whether a file holds a root key that signs nothing else. Its secret is not looked at."""
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_KEY_FILE:
            return False
        key = msgspec.json.decode(file.read_bytes(), type=KeyFile).key
    except (OSError, ValueError):
        return False
    return key in said.root_keys and key not in {k.key for k in said.signing_keys}


async def descriptor(at: Patient[Any]) -> Findings:
    """Everybody is told what the settings say."""
    async with at.moment() as conn:
        found = await ledger_work.differences(conn, at.settings, at.prefix)
    for difference in found:
        args = {"setting": difference.setting, "said": str(difference.said), "known": str(difference.known)}
        todo = "Set it back: it goes into the first descriptor only."
        if at.service == "registry" and not difference.setting.endswith("SLUG"):
            todo = "Set it back, or tell everybody: python -m services.registry key update --root-key FILE"
        yield attention("{setting} is {said}, and everybody goes by {known}.", args, todo=todo)
    if not found:
        yield well("The settings say what everybody is told of this node.")


async def hold(at: Patient[Any]) -> Findings:
    """The log may grow."""
    async with at.moment() as conn:
        head = await ledger.current(conn)
    if head.hold is None:
        yield well("The log may grow: it stands at {cursor}.", {"cursor": f"{head.epoch}.{head.size}"})
        return
    why = ledger.HOLDS[head.hold]
    yield Finding("broken", why.what, why.args, todo="Until then reading goes on, and writes wait.")


async def checkpoint(at: Patient[Any]) -> Findings:
    """While the service runs, it says so to everybody by signing its log."""
    async with at.moment() as conn:
        head, said = await ledger.current(conn), await ledger.described(conn)
        kept = await ledger_store.complete_checkpoint(conn)
    told = msgspec.json.decode(kept.raw, type=Checkpoint).at if kept else None
    if head.hold is not None or told is None:
        yield well("The log is not signed while it must not grow.")
        return
    last = datetime.fromisoformat(told)
    args = {"since": doctor.since(last)}
    if at.now() - last <= timedelta(seconds=SILENT_AFTER * said.heartbeat_s):
        yield well("The log is signed, last at {since}.", args)
        return
    todo = "Read the log of the service for `weather`, then restart it."
    yield broken(
        "The service runs, and has not signed its log since {since}: it looks dead.", args, todo=todo
    )


async def log(at: Patient[Any]) -> Findings:
    """The log proves: its end, or all of it where that is asked."""
    async with at.moment() as conn:
        head, whose = await ledger.current(conn), await ledger_epochs.whose(conn)
        flaws = [*await _unsigned(conn, head, whose)]
        after = head.floor if at.deep else max(head.floor, head.size - RECENT)
        walked = await _walk(conn, head, whose, after)
    flaws += walked.flaws
    for flaw in flaws[:SHOWN]:
        yield Finding("broken", flaw.detail, {**flaw.arguments, "service": at.service}, todo=AUDIT)
    args: Args = {"flaws": len(flaws), "count": walked.seen, "service": at.service}
    if len(flaws) > SHOWN:
        yield broken("{flaws} things in the log do not prove.", args, todo=AUDIT)
    elif not flaws:
        yield well("The log proves: {count} events, and the signature over all of them.", args)


async def _unsigned(conn: Connection, head: Head, whose: Identity) -> list[Untrue]:
    """What does not prove in the signature over the log as it stands."""
    kept = await ledger_store.latest_checkpoint(conn)
    if kept is None:
        return [Untrue("There is no signature over the log.")]
    tree = Range(head.size, head.peaks)
    try:
        close = proofs.checkpoint(ledger.signed_text(kept), whose)
        if (close.epoch, close.size) != (head.epoch, head.size) or not merkle.sound(tree):
            return [Untrue("The last signature is not over the log as it stands.")]
        proofs.agree(tree, close)
    except Untrue as untrue:
        return [untrue]
    return []


class Walked(Struct):
    """What a walk over events saw: how many, the Merkle range over them, and what does not prove."""

    seen: int
    tree: Range
    flaws: list[Untrue]


async def _walk(conn: Connection, head: Head, whose: Identity, after: int) -> Walked:
    """Look at every event after a position; with all of them, whether they are those that were signed."""
    gone = await _erased(conn)
    leaves, flaws, last = list[bytes](), list[Untrue](), after
    async for event in ledger_repair_store.stored(conn, after=after):
        if event.seq != last + 1:
            flaws.append(Untrue("Events are missing after {cursor}.", {"cursor": f"{event.epoch}.{last}"}))
        if (flaw := _flaw(event, whose, gone)) is not None:
            flaws.append(flaw)
        leaves.append(event.leaf)
        last = event.seq
    tree = merkle.extended(Range(head.floor, head.floor_peaks), leaves)
    if last != head.size:
        args = {"last": f"{head.epoch}.{last}", "head": f"{head.epoch}.{head.size}"}
        flaws.append(Untrue("The log ends at {last}, and should end at {head}.", args))
    elif after == head.floor and tree.peaks != head.peaks:
        flaws.append(Untrue("The log up to {size} is not the one that the node signed.", {"size": head.size}))
    return Walked(len(leaves), tree, flaws)


async def _erased(conn: Connection) -> set[tuple[str, bytes]]:
    """Records and leaves of which an erase event says that they are gone."""
    found: set[tuple[str, bytes]] = set()
    for by in await ledger_repair_store.erasures(conn):
        # One that cannot be read says nothing: its events are found to be erased for no reason.
        with suppress(*foreign.UNREADABLE):
            found |= {(by.record, leaf) for leaf in ledger_epochs.named(by.raw)}
    return found


def _flaw(event: Stored, whose: Identity, gone: set[tuple[str, bytes]]) -> Untrue | None:
    """Why an event does not prove; None for one that does, or that was rightly erased."""
    position = (whose.epoch_of(event.seq), event.seq)
    args = {"cursor": f"{position[0]}.{position[1]}"}
    if event.erased:
        if (event.record, event.leaf) in gone:
            return None
        return Untrue("Event {cursor} was erased, and no event says so.", args)
    if merkle.leaf(event.raw) != event.leaf:
        return Untrue("Event {cursor} is not the one that was written.", args)
    try:
        key = identity.key_at(whose, event.kid, position)
        if not signing.verifies(key, signing.EVENT, event.raw, event.sig):
            return Untrue("The signature at {cursor} does not fit.", args)
        read = proofs.read(event.raw, event.kid, event.sig, position=position, whose=whose).event
    except Untrue as untrue:
        return untrue
    fits = read is not None and read.subject == event.record and event.epoch == position[0]
    return None if fits else Untrue("Event {cursor} is kept as something else than it is.", args)


async def records(at: Patient[Any]) -> Findings:
    """Each record points to its latest event."""
    async with at.moment() as conn:
        head = await ledger.current(conn)
        after = 0 if at.deep else max(0, head.size - RECENT)
        found = await doctor_store.misplaced(conn, after=after, limit=SHOWN)
    for record in found:
        args = {"record": record, "service": at.service}
        yield broken("Record {record} does not point to its latest event.", args, todo=AUDIT)
    if not found:
        yield well("Records point to their latest events.")


async def addresses(at: Patient[Any]) -> Findings:
    """At its own and at its public address answers this node."""
    async with at.moment() as conn:
        head = await ledger.current(conn)
    own, public = doctor.url_of(at.settings.host, at.settings.port), at.settings.url.rstrip("/")
    args = {"url": own, "variable": at.prefix + "PORT", "public": public}
    answers = await _descriptor_at(at, own)
    if answers != head.descriptor:
        todo = "Stop what listens there, or choose another {variable}."
        yield broken("At {url} answers something else than this node.", args, todo=todo)
    elif own == public or (outside := await _descriptor_at(at, public)) == head.descriptor:
        yield well("This node answers at {public}.", args)
    elif outside is None:
        todo = (
            "Look at its name, proxy and certificate; where this machine cannot see itself, ask from another."
        )
        yield attention("Nobody answers at {public}, where everybody is told to read.", args, todo=todo)
    else:
        todo = "Let the proxy of this address lead to {url}, and stop the other node."
        yield broken("At {public} answers another node than this one.", args, todo=todo)


async def _descriptor_at(at: Patient[Any], url: str) -> str | None:
    """The hash of the descriptor that is served at an address; None where nobody serves one."""
    try:
        _, body = await at.get(url + "/.well-known/maillage")
        raw = foreign.decoded(body, SignedDescriptor, identity.MAX_BYTES).raw
    except (ConnectionError, Untrue):
        return None
    return sha256(raw.encode()).hexdigest()


async def amqp(at: Patient[Any]) -> Findings:
    """The broker lets us in, and has what followers listen to."""
    if at.settings.amqp_url is None:
        yield well("No broker is set: followers read the feed.")
        return
    args, missing = {"variable": at.prefix + "AMQP_URL"}, None
    if not _is_readable(at.settings.amqp_url):
        # What cannot be read of a URL may be a piece of a password.
        yield attention("The URL of the broker cannot be read.", args, todo="Put {variable} right.")
        return
    try:
        async with broker.connected(at.settings.amqp_url) as connection:
            missing = await broker.missing(connection)
    except broker.WEATHER as error:
        args["reason"] = at.reason(error)
        todo = "Start RabbitMQ, or put {variable} right. Until then followers read the feed: nothing is lost."
        yield attention("The broker does not let us in: {reason}", args, todo=todo)
        return
    if missing is not None:
        todo = "Start or restart the service, which makes it: python -m services.{service} serve"
        yield attention("The broker has no {name}.", {"name": missing, "service": at.service}, todo=todo)
        return
    yield well("The broker has the exchange and its stream.")


def _is_readable(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("amqp", "amqps") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


async def relay(at: Patient[Any]) -> Findings:
    """What was written has reached the broker."""
    if at.settings.amqp_url is None:
        yield well("Nothing has to be sent to a broker.")
        return
    async with at.moment() as conn:
        head, confirmed = await ledger.current(conn), await ledger_store.relayed(conn)
        waiting = await ledger_store.unrelayed(conn, after=confirmed, limit=1)
    if not waiting or at.now() - waiting[0].time < RELAYED_WITHIN:
        yield well("The broker has confirmed what was written.")
        return
    args: Args = {"count": head.size - confirmed, "since": doctor.since(waiting[0].time)}
    todo = "Look at the broker (memory, disk, permissions): what waits is sent as soon as it takes it."
    yield attention("{count} events wait for the broker, the first since {since}.", args, todo=todo)


NAMED = ("identity",)
PROVEN = ("identity", "chain")
CHECKS = (
    Check("identity", known, ("database", "migrations")),
    Check("chain", chain, NAMED),
    Check("keys", keys, PROVEN),
    Check("root-key", root_key, NAMED),
    Check("descriptor", descriptor, NAMED),
    Check("hold", hold, NAMED),
    Check("checkpoint", checkpoint, ("serving", *NAMED)),
    Check("addresses", addresses, ("serving", *NAMED)),
    Check("log", log, PROVEN, long=True),
    Check("records", records, NAMED, long=True),
    Check("broker", amqp),
    Check("relay", relay, NAMED),
)
