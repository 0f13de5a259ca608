"""Private keys on disk: one file a key, readable by the owner only."""

import os
from base64 import b32decode, b32encode
from hashlib import sha256
from pathlib import Path

import msgspec

from services import signing
from services.errors import Invalid, Misconfigured
from services.signing import Signer


class KeyFile(msgspec.Struct, frozen=True):
    """What a key file holds, as JSON: the short name, the public key, and the secret seed."""

    kid: str
    key: str
    seed: str


def make(path: Path) -> Signer:
    """A new key, written to a file that must not exist yet."""
    return write(path, signing.signer(os.urandom(32)))


def write(path: Path, made: Signer) -> Signer:
    """Write a key to a file that must not exist yet."""
    content = KeyFile(kid=made.kid, key=signing.text(made.public), seed=signing.text(bytes(made.key)))
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise Misconfigured(
            "{path} exists already; a key is never overwritten.", {"path": str(path)}
        ) from error
    with os.fdopen(handle, "wb") as file:
        file.write(msgspec.json.encode(content) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return made


def take_in(folder: Path, kid: str, text: str) -> bool:
    """Put a key that comes from elsewhere into a folder; False where it is there already.

    Invalid where it is none, or where something else is there under its name: a key is never overwritten.
    """
    try:
        content = msgspec.json.decode(text, type=KeyFile)
        made = signing.signer(signing.data(content.seed))
    except ValueError as error:
        raise Invalid("The key {kid} is damaged.", {"kid": kid}) from error
    path = folder / f"{kid}.key"
    if made.kid != kid or (path.exists() and load(path).kid != kid):
        raise Invalid("The key {kid} is damaged.", {"kid": kid})
    if path.exists():
        return False
    write(path, made)
    flush(folder)
    return True


def load(path: Path) -> Signer:
    """The key in a file; Misconfigured when it is absent or not a key."""
    try:
        content = msgspec.json.decode(path.read_bytes(), type=KeyFile)
        found = signing.signer(signing.data(content.seed))
    except FileNotFoundError as error:
        raise Misconfigured("There is no key at {path}.", {"path": str(path)}) from error
    except (msgspec.DecodeError, ValueError) as error:
        raise Misconfigured("{path} does not hold a key.", {"path": str(path)}) from error
    return found


def spelled(key: Signer) -> str:
    """The secret seed as it is written on paper: 13 groups of base32 and one that tells mistakes."""
    seed = bytes(key.key)
    text = b32encode(seed).decode().rstrip("=")
    return " ".join((*(text[i : i + 4] for i in range(0, len(text), 4)), _check(seed)))


def read_aloud(text: str) -> Signer:
    """The key that somebody typed from paper; Invalid where a letter is wrong."""
    groups = "".join(text.upper().replace("0", "O").replace("1", "I").replace("8", "B").split())
    try:
        seed = b32decode(groups[:52] + "====")
    except ValueError:
        seed = b""
    if len(seed) != 32 or groups[52:] != _check(seed):
        raise Invalid("This is not a key: 13 groups of four letters or digits and a last one were expected.")
    return signing.signer(seed)


def _check(seed: bytes) -> str:
    return b32encode(sha256(seed).digest()).decode()[:4]


def flush(folder: Path) -> None:
    """What was put into this folder must be there after a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Keyring:
    """The online keys of a node: `<kid>.key` files in one folder, loaded when first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._signers: dict[str, Signer] = {}

    def make(self) -> Signer:
        """A new online key in the folder."""
        fresh = self.folder / "new.key"
        fresh.unlink(missing_ok=True)
        made = make(fresh)
        fresh.rename(self.folder / f"{made.kid}.key")
        flush(self.folder)
        return made

    def holds(self, kid: str) -> bool:
        """Whether the folder has this key."""
        return kid in self._signers or (self.folder / f"{kid}.key").is_file()

    def signer(self, kid: str) -> Signer:
        """The online key with this short name."""
        if kid not in self._signers:
            self._signers[kid] = load(self.folder / f"{kid}.key")
        return self._signers[kid]
