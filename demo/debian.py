"""Debian's RabbitMQ, fetched and unpacked for one folder: nothing is installed and nothing is started."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from demo.process import Failed

PACKAGE = "rabbitmq-server"
COMPLETE = "complete"
TOOLS = ("apt-get", "apt-cache", "dpkg")
NEEDED_ONLY = (
    *("--no-recommends", "--no-suggests", "--no-enhances"),
    *("--no-conflicts", "--no-breaks", "--no-replaces"),
)


def unpacked(cache: Path) -> Path:
    """The root folder of an unpacked RabbitMQ below `cache`, fetched when it is not there yet.

    Raises Failed with the reason when it cannot be had: not a Debian, no network.
    """
    # One folder by several names is one cache: else each name would have it fetched again, under the others' feet.
    cache = cache.resolve()
    root = cache / "rabbitmq"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "rabbitmq.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests and a demo may want it at the same time
        if not is_unpacked(cache):
            fetch(cache, root)
    return root


def is_unpacked(cache: Path) -> bool:
    """Whether RabbitMQ was fetched to where `cache` is now: Erlang knows its folder, and cannot be moved."""
    complete = cache / "rabbitmq" / COMPLETE
    return complete.exists() and complete.read_text() == str(cache.resolve())


def fetch(cache: Path, root: Path) -> None:
    """Download the packages and unpack them to `root`, anew."""
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        raise Failed(f"RabbitMQ cannot be fetched here: {', '.join(missing)} not found (not a Debian).")
    shutil.rmtree(root, ignore_errors=True)
    fetched = cache / "rabbitmq-packages"
    fetched.mkdir(exist_ok=True)
    options = package_lists(cache)
    run(["apt-get", *options, "-q", "download", *packages(options)], fetched)
    for archive in sorted(fetched.glob("*.deb")):
        run(["dpkg", "-x", archive.name, str(root)], fetched)
    point_erlang_to(root)
    for used in (fetched, cache / "apt"):
        shutil.rmtree(used, ignore_errors=True)
    (root / COMPLETE).write_text(str(cache))


def package_lists(cache: Path) -> list[str]:
    """Options for apt: the machine's own lists where it has some, else lists of our own, fetched now."""
    # root would hand the download to the account _apt, which may not write here
    sandbox = ["-o", "APT::Sandbox::User=root"] if os.geteuid() == 0 else []
    if known(PACKAGE, sandbox):
        return sandbox
    own = cache / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (own / folder).mkdir(parents=True, exist_ok=True)
    options = [*sandbox, "-o", f"Dir::State::lists={own}/lists", "-o", f"Dir::Cache={own}"]
    # A source that does not answer is no matter as long as the package is found.
    subprocess.run(["apt-get", *options, "-q", "update"], capture_output=True, check=False)
    if not known(PACKAGE, options):
        raise Failed("RabbitMQ cannot be fetched here: Debian's package lists do not answer.")
    return options


def known(package: str, options: Sequence[str]) -> bool:
    """Whether apt can download a package with these options."""
    command = ["apt-get", *options, "-q", "--print-uris", "download", package]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def packages(options: Sequence[str]) -> list[str]:
    """RabbitMQ and the parts of Erlang that it needs."""
    listed = run(["apt-cache", *options, "depends", "--recurse", *NEEDED_ONLY, PACKAGE], Path.cwd())
    return sorted({line for line in listed.splitlines() if line == PACKAGE or line.startswith("erlang-")})


def point_erlang_to(root: Path) -> None:
    """Tell the unpacked Erlang where it lies; its start script names the folder of the installed one."""
    script = root / "usr/lib/erlang/bin/erl"
    text = script.read_text()
    script.write_text(text.replace("ROOTDIR=/usr/lib/erlang", f'ROOTDIR="{root}/usr/lib/erlang"'))


def run(command: Sequence[str], folder: Path) -> str:
    """What a command prints; raises Failed with its complaint when it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failed(f"RabbitMQ cannot be fetched here: {command[0]} says: {done.stderr.strip()[-400:]}")
    return done.stdout
