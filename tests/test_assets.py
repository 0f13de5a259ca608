"""What the pages hold that others made: it is what its manifest says, and small."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from typing import Any

import pytest

from tests.test_boundaries import ROOT

STATIC = ROOT / "web" / "static"
VENDOR, BASE = STATIC / "vendor", STATIC / "base"
MANIFEST = json.loads((VENDOR / "manifest.json").read_text("utf-8"))
OPEN = {"BSD-2-Clause", "ISC", "MIT", "Apache-2.0"}


@pytest.mark.parametrize("package", MANIFEST, ids=lambda package: package["name"])
def test_vendored_files_are_what_they_are_said_to_be(package: dict[str, Any]) -> None:
    """Each library comes with its licence and version; no byte of it is changed; the pins agree."""
    lock = json.loads((ROOT / "assets" / "package-lock.json").read_text("utf-8"))
    pinned = lock["packages"][f"node_modules/{package['name']}"]
    assert (package["version"], package["license"]) == (pinned["version"], pinned["license"])
    assert package["license"] in OPEN
    assert any(name.endswith("LICENSE") for name in package["files"])
    for name, said in package["files"].items():
        content = (VENDOR / name).read_bytes()
        assert said == "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode(), name


def test_nothing_is_vendored_without_an_entry() -> None:
    """Every file of others stands in the manifest."""
    found = {str(f.relative_to(VENDOR)) for f in VENDOR.rglob("*") if f.is_file()} - {"manifest.json"}
    assert found == {name for package in MANIFEST for name in package["files"]}


def test_the_base_map_is_small_and_says_where_it_is_from() -> None:
    """It is what its manifest says, names source and licence of each file, and is below 500 kB on the way."""
    manifest = json.loads((BASE / "manifest.json").read_text("utf-8"))
    sums = {f.name: hashlib.sha512(f.read_bytes()).hexdigest() for f in BASE.glob("*.json")}
    sums.pop("manifest.json")
    assert sums == manifest["sha512"]
    assert {name for source in manifest["sources"] for name in source["files"]} == sums.keys()
    assert all(source["from"] and source["license"] for source in manifest["sources"])
    contents = [(BASE / name).read_bytes() for name in sums]
    assert sum(map(len, contents)) < 1_500_000
    assert sum(len(gzip.compress(content)) for content in contents) < 500_000


def test_no_file_of_the_pages_names_a_registry_or_another_host() -> None:
    """What pages load is their own: no script or style of ours names an address elsewhere."""
    files = [*STATIC.glob("*.js"), *STATIC.glob("*.css"), *STATIC.glob("map/*.js")]
    assert len(files) >= 9
    for file in files:
        text = re.sub(r"^//.*$", "", file.read_text("utf-8"), flags=re.MULTILINE)
        assert "://" not in text, file
    assert "://" not in (ROOT / "assets" / "package-lock.json").read_text("utf-8")
