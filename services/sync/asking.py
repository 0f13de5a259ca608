"""A node asks to be heard: who answers at the address that it gives, and how often one may ask."""

from collections.abc import Callable
from typing import Literal

import aiohttp
from yarl import URL

from schemas.node import Signed
from services import addresses, fetching, foreign, identity
from services.addresses import Network
from services.errors import Args, Fault, Invalid, TooMany, Untrue
from services.identity import MAX_BYTES, Identity
from services.pace import Pace

WITHIN = aiohttp.ClientTimeout(total=10)
PLAIN = {"Accept-Encoding": "identity", "User-Agent": "maillage"}
# Each question makes us knock at a door of the asker's choice.
MOST_ASKED, PERIOD = 20, 60.0
# What waits for the operator is bounded: new identities cost nothing.
MOST_WAITING = 500
LONGEST_URL = 300
Refusal = Literal["out-of-scope", "duplicate", "unclear", "license", "spam", "other"]

# A name that is too long for the name service is a UnicodeError.
AWAY: tuple[type[BaseException], ...] = (aiohttp.ClientError, TimeoutError, OSError, UnicodeError)


class Door:
    """Where nodes that nobody chose yet are met: by a client that goes to public addresses only, not too often."""

    def __init__(self, client: aiohttp.ClientSession, clock: Callable[[], float]) -> None:
        self._client, self._pace = client, Pace(MOST_ASKED, PERIOD, clock)

    def admit(self) -> None:
        """Count a question; TooMany when there were 20 within a minute."""
        if wait := self._pace.wait():
            raise TooMany(
                "{most} nodes a minute may ask. Come back in {seconds} s.",
                {"most": MOST_ASKED, "seconds": wait},
                extra={"retry_after": wait},
            )

    async def meet(self, url: str) -> Identity:
        """Who answers at a tidy address; Invalid where no node can be met."""
        try:
            return await introduced(self._client, url)
        except AWAY:
            # Why is not told: it would let strangers look around in our network.
            raise _wrong("No answer: a node answers at a public address, within 10 s.") from None


def full() -> TooMany:
    """What to say while more nodes wait for an answer than an operator can look at."""
    return TooMany(
        "{most} nodes wait for an answer of the operator already. Come back another day.",
        {"most": MOST_WAITING},
        extra={"retry_after": 86_400},
    )


def stranger_client(allowed: tuple[Network, ...]) -> aiohttp.ClientSession:
    """The HTTP client for addresses that strangers name."""
    # Nothing is unpacked: a kilobyte may hold a gigabyte.
    return aiohttp.ClientSession(
        connector=addresses.connector(allowed),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=WITHIN,
        headers=PLAIN,
        auto_decompress=False,
    )


def operator_client() -> aiohttp.ClientSession:
    """The HTTP client for addresses that the operator names: anywhere, with the same bounds."""
    return aiohttp.ClientSession(timeout=WITHIN, headers=PLAIN, auto_decompress=False)


def tidy(text: str) -> str:
    """An address of a node without what is none of it; Invalid where it is no web address."""
    try:
        url = URL(text)
        plain = url.scheme in ("http", "https") and url.host and not url.user and not url.password
        if not plain or url.query_string or url.fragment or url.port is None:
            raise ValueError(text)
    except ValueError:
        raise _wrong("A web address of a node is expected, like https://registre.exemple.fr.") from None
    return str(url).rstrip("/")


async def introduced(client: aiohttp.ClientSession, url: str) -> Identity:
    """Who answers at a tidy address, by its verified chain of descriptors; Invalid where that is no node.

    At most a MiB within ten seconds; no redirect is followed. An error of AWAY where nobody answers.
    """
    try:
        async with client.get(url + "/descriptors", allow_redirects=False) as response:
            if response.status != 200:
                raise _wrong(
                    "It answers with status {status}, not with descriptors.", {"status": response.status}
                )
            body = await fetching.whole(response, MAX_BYTES)
    except Untrue:
        raise _wrong("Its descriptors are longer than {limit} bytes.", {"limit": MAX_BYTES}) from None
    try:
        return identity.verified([foreign.decoded(line, Signed) for line in body.splitlines()])
    except Untrue:
        raise _wrong("What it says of itself is not signed by a node.") from None


def _wrong(what: str, args: Args | None = None) -> Invalid:
    return Invalid("No node can be met there.", faults=(Fault("/url", what, args or {}),))
