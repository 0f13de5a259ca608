"""What may be done with a demo's folder: only what the demo made is replaced, what was kept is continued."""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import subprocess
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from demo.lists import List, lists
from demo.plan import Folder
from demo.process import Failed

SYNCS = 2
MARK = "Made by `python -m demo`, which replaces data/ and logs/ here.\n"


@dataclass(frozen=True)
class Options:
    """What the person who starts the demo chose; None where she leaves it to the demo or to what was kept."""

    folder: Path
    networks: int | None = None
    syncs: int | None = None
    places: Path | None = None
    broker: bool | None = None
    port_base: int | None = None
    keep: bool = False
    fresh: bool = False


@dataclass(frozen=True)
class Kept:
    """The choices that a kept federation was made with."""

    networks: list[str]
    syncs: int
    places: str | None
    broker: bool
    port_base: int | None

    def __str__(self) -> str:
        """These choices as options of the command line."""
        said = [f"--networks {len(self.networks)} ({', '.join(self.networks)})", f"--syncs {self.syncs}"]
        said += [f"--places {self.places}"] if self.places else []
        said += [] if self.broker else ["--no-broker"]
        said += [f"--port-base {self.port_base}"] if self.port_base else []
        return " ".join(said)


def chosen(options: Options, folder: Folder) -> tuple[Options, list[List]]:
    """The options with nothing left open, and the lists: those of the kept federation where there is one.

    Raises Failed, with nothing erased, when what was kept would be lost or would not be continued as it was.
    """
    try:
        take(folder)
        kept = None if options.fresh else kept_in(folder)
    except OSError as why:
        said = f"{folder.path} : dossier inutilisable. / This folder cannot be used. ({why.strerror})"
        raise Failed(said) from why
    if kept and not options.keep:
        raise Failed(
            f"{folder.path} garde une fédération : --keep la continue, --fresh l'efface. "
            "/ A federation is kept there: --keep continues it, --fresh erases it."
        )
    filled = replace(
        options,
        networks=options.networks or (len(kept.networks) if kept else None),
        syncs=options.syncs or (kept.syncs if kept else SYNCS),
        places=options.places or (Path(kept.places) if kept and kept.places else None),
        broker=options.broker if options.broker is not None else (kept.broker if kept else True),
        port_base=options.port_base or (kept.port_base if kept else None),
    )
    found = lists(filled.places, filled.networks)
    if kept and (wanted := described(filled, found)) != kept:
        raise Failed(
            f"{folder.path} garde une autre fédération : --keep seul la continue, --fresh l'efface. "
            "/ Another federation is kept there: --keep alone continues it, --fresh erases it.\n"
            f"  là / there: {kept}\n  ici / here: {wanted}"
        )
    return filled, found


def take(folder: Folder) -> None:
    """Mark a new or empty folder as the demo's; raises Failed when it holds what the demo did not make."""
    folder.path.mkdir(parents=True, exist_ok=True)
    if folder.marker.exists():
        return
    if any(folder.path.iterdir()):
        raise Failed(
            f"{folder.path} contient autre chose que la démo : choisissez un dossier vide ou nouveau. "
            "/ This folder holds what the demo did not make: choose an empty or a new one."
        )
    folder.marker.write_text(MARK)


def kept_in(folder: Folder) -> Kept | None:
    """The choices of the federation that a folder keeps; None when it keeps none."""
    return Kept(**json.loads(folder.kept.read_text("utf-8"))) if folder.kept.exists() else None


def keep(folder: Folder, options: Options, found: list[List]) -> None:
    """Write down that a folder's data are kept, and with which choices they were made."""
    part = folder.kept.with_suffix(".part")
    part.write_text(json.dumps(asdict(described(options, found)), ensure_ascii=False), "utf-8")
    part.replace(folder.kept)


def described(options: Options, found: list[List]) -> Kept:
    """The choices that make a federation what it is."""
    return Kept(
        networks=[each.alias for each in found],
        syncs=options.syncs or SYNCS,
        places=str(options.places.resolve()) if options.places else None,
        broker=options.broker is not False,
        port_base=options.port_base,
    )


def made_ready(folder: Folder, options: Options) -> None:
    """Erase what earlier runs left and make the folders; data are only continued where they were kept."""
    continued = folder.kept.exists() and not options.fresh
    for erased in folder.path.glob(f"{folder.ERASED}*"):
        shutil.rmtree(erased, ignore_errors=True)
    for old in (folder.logs, folder.temporary, *([] if continued else [folder.data])):
        shutil.rmtree(old, ignore_errors=True)
    folder.federation.unlink(missing_ok=True)
    for needed in (folder.data, folder.logs, folder.temporary):
        needed.mkdir(parents=True, exist_ok=True)
    folder.temporary.chmod(0o700)


def erase(folder: Folder, patience_s: float) -> None:
    """Erase the data, which are out of the way at once; what takes longer goes on without us.

    Many networks make 100 MB and thousands of files: a busy disk takes seconds for them.
    """
    if not folder.data.exists():
        return
    erased = folder.path / f"{folder.ERASED}{secrets.token_hex(4)}"
    folder.data.rename(erased)
    removal = subprocess.Popen(
        ["rm", "-rf", str(erased)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
    )
    with contextlib.suppress(subprocess.TimeoutExpired):
        removal.wait(patience_s)
