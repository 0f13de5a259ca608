"""Ed25519 over the DSSE pre-authentication encoding, and how bytes are written as text."""

from base64 import b32encode, urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256

from msgspec import Struct
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

EVENT = "application/vnd.maillage.event+json"
CHECKPOINT = "application/vnd.maillage.checkpoint+json"
DESCRIPTOR = "application/vnd.maillage.descriptor+json"


def text(data: bytes) -> str:
    """Bytes as base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def data(text: str) -> bytes:
    """The bytes of a base64url text without padding; ValueError when it is not one."""
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encoding(payload_type: str, payload: bytes) -> bytes:
    """DSSE v1 pre-authentication encoding of a payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def kid(public: bytes) -> str:
    """The short name of a public key: the first 16 hex digits of its SHA-256."""
    return sha256(public).hexdigest()[:16]


def node_id(genesis: bytes) -> str:
    """The id of the node whose first descriptor has these bytes."""
    return b32encode(sha256(genesis).digest()).decode().lower()[:26]


class Signer(Struct, frozen=True):
    """A private key that signs; made from its 32-byte seed."""

    kid: str
    public: bytes
    key: SigningKey

    def sign(self, payload_type: str, payload: bytes) -> bytes:
        """The 64-byte signature of a payload."""
        return self.key.sign(encoding(payload_type, payload)).signature


def signer(seed: bytes) -> Signer:
    """The signer of a 32-byte seed."""
    key = SigningKey(seed)
    public = bytes(key.verify_key)
    return Signer(kid=kid(public), public=public, key=key)


def verifies(public: bytes, payload_type: str, payload: bytes, signature: bytes) -> bool:
    """Whether this key signed this payload."""
    try:
        VerifyKey(public).verify(encoding(payload_type, payload), signature)
    except (BadSignatureError, ValueError):
        return False
    return True
