"""What a node says of itself, and whether that chain of descriptors holds. Pure."""

from collections.abc import Iterable, Sequence
from hashlib import sha256

import msgspec

from schemas.node import Amqp, Descriptor, Epoch, Signature, Signed, SigningKey
from services import foreign, signing
from services.errors import Untrue
from services.signing import Signer

MAX_BYTES = 1024 * 1024
# A key changed every month for a lifetime: what a chain costs to verify is bounded.
MOST_VERSIONS = 1000


class Identity(msgspec.Struct, frozen=True):
    """A verified chain of descriptors: whose it is, since when, and what is in force.

    `keys` are the signing keys by their short names.
    """

    node: str
    created: str
    descriptor: Descriptor
    hash: str
    heads: tuple[str, ...]
    keys: dict[str, SigningKey]

    @property
    def epoch(self) -> int:
        """The epoch in which the node writes now."""
        return self.descriptor.epochs[-1].epoch

    def epoch_of(self, seq: int) -> int:
        """The epoch in which the event with this number in the present chain was written."""
        return next((e.epoch for e in reversed(self.descriptor.epochs) if base_of(e) < seq), 1)

    def newer(self, epoch: int) -> tuple[Epoch, ...]:
        """The epochs that were opened after this one."""
        return tuple(e for e in self.descriptor.epochs if e.epoch > epoch)

    def last_of(self, epoch: int) -> int | None:
        """The last number that an epoch gave and that is still in the chain; None for the present epoch."""
        return min(map(base_of, self.newer(epoch)), default=None)


class About(msgspec.Struct, frozen=True):
    """What an operator says of her node when it is born."""

    slug: str
    name: str
    license: str
    contact: str
    url: str
    amqp: Amqp | None
    heartbeat_s: int
    emits: tuple[str, ...]


def base_of(epoch: Epoch) -> int:
    """How many events an epoch found."""
    return epoch.base.size if epoch.base else 0


def cursor(text: str) -> tuple[int, int]:
    """The (epoch, seq) of a cursor text that has already been checked."""
    epoch, _, seq = text.partition(".")
    return int(epoch), int(seq)


def genesis(
    about: About, *, roots: Sequence[Signer], online: Signer, created: str, threshold: int = 1
) -> Signed:
    """The first descriptor of a node, signed by its own root keys. Its hash is the node's identity."""
    descriptor = Descriptor(
        v=1,
        version=1,
        prev=None,
        created=created,
        slug=about.slug,
        name=about.name,
        license=about.license,
        contact=about.contact,
        url=about.url,
        amqp=about.amqp,
        root_keys=tuple(signing.text(root.public) for root in roots),
        threshold=threshold,
        signing_keys=(SigningKey(kid=online.kid, key=signing.text(online.public), start="1.0", end=None),),
        epochs=(Epoch(epoch=1, base=None, reason="genesis"),),
        heartbeat_s=about.heartbeat_s,
        emits=about.emits,
        peers=(),
    )
    return signed(msgspec.json.encode(descriptor), roots)


def signed(raw: bytes, roots: Iterable[Signer]) -> Signed:
    """A descriptor's bytes with the signatures of these root keys."""
    return Signed(
        raw=raw.decode(),
        signatures=tuple(
            Signature(kid=r.kid, sig=signing.text(r.sign(signing.DESCRIPTOR, raw))) for r in roots
        ),
    )


def read(one: Signed) -> Descriptor:
    """What a descriptor says, by whoever it is signed; Untrue where it cannot be."""
    if len(one.raw) > MAX_BYTES:
        raise Untrue("The descriptor is larger than {limit} bytes.", {"limit": MAX_BYTES})
    found = foreign.decoded(one.raw, Descriptor)
    for root in found.root_keys:
        foreign.unpacked(root)
    for key in found.signing_keys:
        if signing.kid(foreign.unpacked(key.key)) != key.kid:
            raise Untrue("Key {kid} does not bear its own name.", {"kid": key.kid})
    # Only the first one began with nothing.
    told = [(e.epoch, e.base is None) for e in found.epochs]
    if not told or told != [(n, n == 1) for n in range(1, len(told) + 1)]:
        raise Untrue(
            "The epochs of descriptor {version} do not follow each other.", {"version": found.version}
        )
    return found


def _keys(descriptor: Descriptor) -> dict[str, SigningKey]:
    keys = {key.kid: key for key in descriptor.signing_keys}
    if len(keys) != len(descriptor.signing_keys):
        raise Untrue("The descriptor lists a key twice.")
    return keys


def signatures(one: Signed, keys: Sequence[str]) -> int:
    """How many of these root keys signed this descriptor."""
    publics = {signing.kid(signing.data(k)): signing.data(k) for k in keys}
    raw = one.raw.encode()
    # One try a key: a signature over a megabyte takes milliseconds to look at.
    said = {s.kid: s.sig for s in one.signatures if s.kid in publics}
    return sum(_fits(publics[kid], raw, sig) for kid, sig in said.items())


def _fits(public: bytes, raw: bytes, sig: str) -> bool:
    return signing.verifies(public, signing.DESCRIPTOR, raw, foreign.unpacked(sig))


def verified(chain: Sequence[Signed]) -> Identity:
    """The identity behind descriptors 1..n, oldest first; Untrue where the chain does not hold."""
    if not chain:
        raise Untrue("The node serves no descriptor.")
    if len(chain) > MOST_VERSIONS:
        raise Untrue("The node serves more than {most} descriptors.", {"most": MOST_VERSIONS})
    heads: list[str] = []
    before: Descriptor | None = None
    first = read(chain[0])
    for place, one in enumerate(chain, start=1):
        now = read(one)
        authority = before or now
        fits = now.version == place and now.prev == (heads[-1] if heads else None)
        # What an epoch began with is said once and for ever.
        fits = fits and now.epochs[: len(authority.epochs)] == authority.epochs
        if not fits or signatures(one, authority.root_keys) < authority.threshold:
            raise Untrue("Descriptor {version} does not follow from the one before.", {"version": place})
        heads.append(sha256(one.raw.encode()).hexdigest())
        before = now
    return Identity(
        node=signing.node_id(chain[0].raw.encode()),
        created=first.created,
        descriptor=before or first,
        hash=heads[-1],
        heads=tuple(heads),
        keys=_keys(before or first),
    )


def chain(kept: Sequence[tuple[str, bytes]]) -> list[Signed]:
    """Descriptors as they are kept: raw text and encoded signatures."""
    return [
        Signed(raw, msgspec.json.decode(signatures, type=tuple[Signature, ...])) for raw, signatures in kept
    ]


def key_at(whose: Identity, kid: str, position: tuple[int, int]) -> bytes:
    """The public key with this short name, valid at this log position; Untrue when there is none."""
    key = whose.keys.get(kid)
    if key and cursor(key.start) <= position and (key.end is None or position <= cursor(key.end)):
        return signing.data(key.key)
    raise Untrue(
        "Key {kid} is not valid at {cursor}.", {"kid": kid, "cursor": f"{position[0]}.{position[1]}"}
    )
