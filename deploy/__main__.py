"""`python -m deploy secrets | registry | sync | notify | healthy | run …`, as the containers call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from deploy import secret, trust

USAGE = "python -m deploy secrets | registry | sync | notify | healthy | run SERVICE ARGUMENTS…"
SERVICES = ("registry", "sync", "notify")


def main() -> None:
    """Do what the first argument says."""
    steps = {
        "secrets": secrets,
        "registry": registry,
        "sync": sync,
        "notify": lambda: become("notify", "serve"),
        "healthy": healthy,
    }
    match sys.argv[1:]:
        case ["run", service, *words] if service in SERVICES:
            become(service, *words)
    if len(sys.argv) != 2 or sys.argv[1] not in steps:
        raise SystemExit(USAGE)
    steps[sys.argv[1]]()


def secrets() -> None:
    """Make the secrets of the operator `NAME` in `SECRETS`, for the hosts `POSTGRES` and `RABBITMQ`.

    `RABBITMQ_PUBLIC` is where others reach the broker, `host` or `host:port`; else where its own service does.
    """
    place = secret.Place(
        os.environ["NAME"],
        os.environ["POSTGRES"],
        os.environ.get("RABBITMQ") or None,
        os.environ.get("RABBITMQ_PUBLIC") or None,
    )
    secret.make(Path(os.environ.get("SECRETS", "/secrets")), place)


def registry() -> None:
    """Make the registry's identity at first start, its root key in the file `ROOT_KEY`, then serve."""
    words = ["key", "init", "--if-missing", "--no-sheet", "--root-key", os.environ["ROOT_KEY"]]
    subprocess.run([sys.executable, "-m", "services.registry", *words], env=resolved(os.environ), check=True)
    become("registry", "serve")


def sync() -> None:
    """Pin the nodes of `FOLLOW` (a JSON object, alias to URL) at first start, then serve."""
    trust.write(Path(os.environ["MAILLAGE_SYNC_TRUST"]), json.loads(os.environ.get("FOLLOW", "{}")))
    become("sync", "serve")


def become(service: str, *words: str) -> NoReturn:
    """Become this command of the service, with the settings of its container."""
    os.execve(sys.executable, [sys.executable, "-m", f"services.{service}", *words], resolved(os.environ))


def healthy() -> None:
    """Exit 0 when the service of this container is ready to answer."""
    port = next(value for name, value in os.environ.items() if name.endswith("_PORT") and "MAILLAGE" in name)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=3):
            return
    except (urllib.error.URLError, OSError) as why:
        raise SystemExit(str(why)) from why


def resolved(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with each `MAILLAGE_…_FILE` replaced by the setting that the file holds."""
    told = {name: value for name, value in environ.items() if not is_file_setting(name)}
    for name, value in environ.items():
        if is_file_setting(name) and value:
            told[name.removesuffix("_FILE")] = Path(value).read_text().strip()
    return told


def is_file_setting(name: str) -> bool:
    """Whether a variable names the file of a setting."""
    return name.startswith("MAILLAGE_") and name.endswith("_FILE")


if __name__ == "__main__":
    main()
