"""What runs unasked where a log is written: publish it, prove it, thin its old checkpoints."""

import asyncio
from functools import partial
from time import monotonic

import structlog
from msgspec import Struct

from schemas.node import Amqp
from services import broker, ledger, ledger_epochs, ledger_store, postgres, relay
from services.ledger_http import Published
from services.postgres import Connection, Pool
from services.run import calm, keep

# A full checkpoint may take this share of the time, so that a large log is not held up by proofs of itself.
SHARE = 0.05
RECENT = 10 * ledger.BATCH
# What a node says of itself in its descriptor, and settings do not change.
SAID = ("name", "slug", "license", "contact", "url", "amqp", "heartbeat_s")
log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


async def publish(served: Published, url: str | None, gauges: relay.Gauges) -> None:
    """Relay the log to the network's own broker, where there is one."""
    if url is None:
        return
    run = partial(relay.relay, served.pool, url, served.bell, gauges)
    await keep("relay", run, (*broker.WEATHER, *postgres.WEATHER))


class Silence:
    """How long a log has not been signed, by the clock that nobody sets."""

    def __init__(self, idle: float) -> None:
        self.idle, self.n, self.since = idle, -1, monotonic()

    def overdue(self, n: int) -> bool:
        """Whether the signature with this number has been the last one for `idle` seconds."""
        if n != self.n:
            self.n, self.since = n, monotonic()
        return monotonic() - self.since >= self.idle


class Difference(Struct, frozen=True):
    """A setting that says otherwise than the descriptor, by which everybody goes."""

    setting: str
    said: object
    known: object


async def differences(conn: Connection, card: broker.Card, prefix: str) -> list[Difference]:
    """The settings that say otherwise than the descriptor."""
    known = await ledger.described(conn)
    said = broker.about(card, known.emits)
    return [
        Difference(
            prefix + ("amqp_public_url" if field == "amqp" else field).upper(), _shown(told), _shown(there)
        )
        for field in SAID
        if (told := getattr(said, field)) != (there := getattr(known, field))
    ]


async def compare(pool: Pool, card: broker.Card, prefix: str) -> None:
    """Warn of settings that say otherwise than the descriptor."""
    async with pool.acquire() as conn:
        found = await differences(conn, card, prefix)
    for one in found:
        log.warning("setting without effect", setting=one.setting, value=one.said, descriptor=one.known)


def _shown(value: object) -> object:
    return value.url if isinstance(value, Amqp) else value


async def prove(served: Published) -> None:
    """Sign a full checkpoint once a second while things change, and one each heartbeat while they do not."""

    async def run() -> None:
        async with served.pool.acquire() as conn:
            said = await ledger.described(conn)
        silence = Silence(said.heartbeat_s)
        while True:
            started = monotonic()
            if await ledger.heartbeat(served.pool, served.pen, silence.overdue):
                served.bell.ring()
            calm()
            await asyncio.sleep(max(1.0, (monotonic() - started) / SHARE))

    await keep("prove", run, postgres.WEATHER)


async def thin(served: Published, keeps: int | None) -> None:
    """Of checkpoints of one size keep the last, of old ones one for every 256 events; of events the last ones."""

    async def run() -> None:
        while True:
            async with served.pool.acquire() as conn:
                head = await ledger.current(conn)
                until = max(0, head.size - RECENT)
                await ledger_store.thin_checkpoints(conn, every=ledger.KEEP_ONE_IN, keep=until)
                if keeps is not None:
                    async with conn.transaction():
                        await ledger_epochs.let_go(conn, keeps)
            calm()
            await asyncio.sleep(60)

    await keep("thin", run, postgres.WEATHER)
