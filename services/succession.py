"""The next descriptor of a node: what rotation, revocation and a new epoch make of the one in force. Pure."""

from collections.abc import Callable, Sequence

import msgspec
from msgspec.structs import replace

from schemas.node import Base, Descriptor, Epoch, Signature, Signed, SigningKey
from services import identity, merkle, signing
from services.errors import Conflict, Invalid, NotFound
from services.identity import About, Identity
from services.merkle import Range
from services.signing import Signer

Change = Callable[[Descriptor], Descriptor]
Position = tuple[int, int]


def _text(position: Position) -> str:
    return f"{position[0]}.{position[1]}"


def _named(public: bytes, start: Position) -> SigningKey:
    return SigningKey(kid=signing.kid(public), key=signing.text(public), start=_text(start), end=None)


def successor(whose: Identity, *changes: Change, created: str) -> bytes:
    """The bytes of the descriptor after the one in force, with these changes, still to be signed."""
    before = whose.descriptor
    now = replace(before, version=before.version + 1, prev=whose.hash, created=created)
    for change in changes:
        now = change(now)
    return msgspec.json.encode(now)


def rotated(online: bytes, start: Position) -> Change:
    """Another online key, given as its public bytes, from a position on. The ones before it stay valid."""

    def change(now: Descriptor) -> Descriptor:
        return replace(now, signing_keys=(*now.signing_keys, _named(online, start)))

    return change


def retired(kids: Sequence[str], last: Position) -> Change:
    """Keys that sign nothing after a position."""

    def change(now: Descriptor) -> Descriptor:
        ended = (
            replace(key, end=_text(last)) if key.kid in kids and key.end is None else key
            for key in now.signing_keys
        )
        return replace(now, signing_keys=tuple(ended))

    return change


def revoked(kid: str, last: Position) -> Change:
    """A key that is valid up to the last good position only. NotFound where the node has no such key."""

    def change(now: Descriptor) -> Descriptor:
        if kid not in {key.kid for key in now.signing_keys}:
            raise NotFound("This node has no key {kid}.", {"kid": kid})
        keys = (replace(key, end=_text(last)) if key.kid == kid else key for key in now.signing_keys)
        return replace(now, signing_keys=tuple(keys))

    return change


def opened(base: Range, reason: str) -> Change:
    """A new epoch, on the events that it goes on from."""

    def change(now: Descriptor) -> Descriptor:
        foundation = Base(size=base.size, root=merkle.root(base).hex())
        epoch = Epoch(epoch=now.epochs[-1].epoch + 1, base=foundation, reason=reason)
        return replace(now, epochs=(*now.epochs, epoch))

    return change


def described(about: About) -> Change:
    """What the operator says of her node now."""

    def change(now: Descriptor) -> Descriptor:
        # The short name stands in the addresses of others: it is said once.
        said = {f: getattr(about, f) for f in about.__struct_fields__ if f != "slug"}
        return replace(now, **said)

    return change


def cosigned(one: Signed, root: Signer) -> Signed:
    """A descriptor with the signature of one more root key."""
    raw = one.raw.encode()
    fresh = Signature(kid=root.kid, sig=signing.text(root.sign(signing.DESCRIPTOR, raw)))
    return replace(one, signatures=(*(s for s in one.signatures if s.kid != root.kid), fresh))


def accepted(chain: Sequence[Signed], one: Signed) -> Identity:
    """The identity after one more descriptor.

    Invalid while root keys are missing, Conflict where it does not follow.
    """
    before = identity.verified(chain)
    now = identity.read(one)
    if now.version != before.descriptor.version + 1 or now.prev != before.hash:
        raise Conflict(
            "This is version {version} after {prev}; the node is at version {now}: draft it anew.",
            {"version": now.version, "prev": (now.prev or "-")[:16], "now": before.descriptor.version},
        )
    signed = identity.signatures(one, before.descriptor.root_keys)
    if signed < before.descriptor.threshold:
        raise Invalid(
            "{signed} of the {threshold} root keys that are needed have signed: run `key sign` with the others.",
            {"signed": signed, "threshold": before.descriptor.threshold},
        )
    return identity.verified([*chain, one])
