"""When the last backup was made, noted beside the keys: so that somebody notices when none is made any more."""

from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from services.errors import Misconfigured

NAME = "last-backup.json"


class Backup(Struct, frozen=True):
    """A backup: when it was made, and how far the log was then."""

    at: datetime
    epoch: int
    size: int


def note(folder: Path, made: Backup) -> None:
    """Note a backup that has been written; OSError where the folder cannot be written."""
    fresh = folder / (NAME + ".new")
    fresh.write_bytes(msgspec.json.encode(made) + b"\n")
    fresh.replace(folder / NAME)


def last(folder: Path) -> Backup | None:
    """The last backup that was noted; None where there is none. Misconfigured where the note cannot be read."""
    path = folder / NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=Backup)
    except FileNotFoundError:
        return None
    except ValueError as error:
        message = "{path} does not say when the last backup was made."
        raise Misconfigured(message, {"path": str(path)}) from error
