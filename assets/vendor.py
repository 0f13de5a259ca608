"""The browser libraries of the pages, as npm hands them over, with a manifest of what they are."""

import base64
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MODULES = Path(__file__).parent / "node_modules"
VENDOR = ROOT / "web" / "static" / "vendor"
# What is served of each package, and its licence.
FILES = {
    "leaflet": ("dist/leaflet.js", "dist/leaflet.css", "LICENSE"),
    "supercluster": ("dist/supercluster.min.js", "LICENSE"),
}


def sha512(file: Path) -> str:
    """The hash of a file as browsers write it (Subresource Integrity)."""
    return "sha512-" + base64.b64encode(hashlib.sha512(file.read_bytes()).digest()).decode()


def taken(package: str) -> dict[str, Any]:
    """Copy what is served of a package; its entry in the manifest."""
    about = json.loads((MODULES / package / "package.json").read_text("utf-8"))
    files: dict[str, str] = {}
    for name in FILES[package]:
        target = VENDOR / package / Path(name).name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(MODULES / package / name, target)
        files[f"{package}/{target.name}"] = sha512(target)
    return {"name": package, "version": about["version"], "license": about["license"], "files": files}


def main() -> None:
    """Write the folder and its manifest anew."""
    shutil.rmtree(VENDOR, ignore_errors=True)
    manifest = [taken(package) for package in FILES]
    (VENDOR / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
