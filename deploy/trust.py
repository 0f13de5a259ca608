"""The first trust.toml of a sync: nodes given by address, pinned by the identity that they show first."""

from __future__ import annotations

import base64
import hashlib
import json
import time
import urllib.error
import urllib.request
from pathlib import Path

WAIT_S = 120.0


def write(file: Path, followed: dict[str, str]) -> None:
    """Pin the nodes at these URLs (by alias), once; later identities are the operator's to write."""
    if file.exists():
        return
    tables = [
        f'[[node]]\nnode = "{node_id(url)}"\nurl = "{url}"\nmode = "follow"\nalias = "{alias}"\n'
        for alias, url in followed.items()
    ]
    part = file.with_suffix(".part")
    part.write_text("\n".join(tables))
    part.replace(file)


def node_id(url: str) -> str:
    """The id of the node at a URL: the hash of its first descriptor.

    Waits two minutes for a node that does not answer yet, then ends the program with one line.
    """
    end = time.monotonic() + WAIT_S
    while True:
        try:
            with urllib.request.urlopen(f"{url}/descriptors", timeout=10) as reply:
                genesis = json.loads(reply.readline())["raw"].encode()
            return base64.b32encode(hashlib.sha256(genesis).digest()).decode().lower()[:26]
        except (urllib.error.URLError, OSError) as silent:
            if time.monotonic() > end:
                raise SystemExit(f"{url} does not answer: {silent}") from silent
            time.sleep(1)
