"""The real Chromium in which the pages are tested."""

from __future__ import annotations

import os
import shutil
import subprocess

from demo.process import Failed

NAMES = ("chromium", "chromium-browser", "google-chrome")
INSTALL = ("apt-get", "install", "-y", "-q", "--no-install-recommends", "chromium")
NOWHERE = (
    f"Chromium was not found, and the pages cannot be tested without it: {' '.join(INSTALL[:3])} chromium"
)


def find() -> str:
    """The program; installed when it is missing and we are root on a Debian.

    Raises Failed with the one thing to do when there is none.
    """
    if found := next(filter(None, map(shutil.which, NAMES)), None):
        return found
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Failed(NOWHERE)
    quiet = {"DEBIAN_FRONTEND": "noninteractive", **os.environ}
    for command in (("apt-get", "update", "-q"), INSTALL):
        if subprocess.run(command, env=quiet, capture_output=True, check=False).returncode:
            raise Failed(NOWHERE)
    return shutil.which(NAMES[0]) or NAMES[0]
