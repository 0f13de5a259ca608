"""The policy that a sync adopts: the default one, or what its operator put into a file."""

from pathlib import Path

import msgspec

from services.errors import Misconfigured
from services.sync import policy
from services.sync.policy import Adopted, Policy


def adopted(path: str | None) -> Adopted:
    """The policy in a file, or the default one if none is named, with its id."""
    return policy.adopted(None if path is None else read(Path(path)))


def read(path: Path) -> Policy:
    """The policy in a file; Misconfigured with what is wrong with it."""
    try:
        return policy.load(path.read_bytes())
    except (OSError, msgspec.DecodeError) as error:
        raise Misconfigured("{path}: {why}", {"path": str(path), "why": str(error)}) from None
