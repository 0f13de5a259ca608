"""The documents of the services, read by the programs that judge them; and the sync, asked all that its own says."""

import importlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from services import http
from tests.clients.programs import FOLDER, node, python
from tests.clients.published import Published
from tests.clients.running import said

ROOT = FOLDER.parent.parent
SPECTRAL = "@stoplight/spectral-cli/dist/index.js"
REDOCLY = "@redocly/cli/bin/cli.js"


async def ready(app: Any) -> dict[str, str]:
    """Nothing is leant on."""
    return {}


@pytest.fixture
def documents(tmp_path: Path) -> list[str]:
    """The documents of all three services, as OpenAPI 3.1 and 3.0."""
    files = []
    for service in ("registry", "sync", "notify"):
        routes = importlib.import_module(f"services.{service}.api").ROUTES
        documented = http.application(routes, service=service, ready=ready)[http.DOCUMENTED]
        for version, document in (("3.1", documented.newest), ("3.0", documented.older)):
            files.append(str(tmp_path / f"{service}-{version}.json"))
            Path(files[-1]).write_text(json.dumps(document))
    return files


async def test_spectral_finds_nothing(documents: list[str]) -> None:
    """By the rules that it recommends, not even a hint."""
    rules = ("--ruleset", str(FOLDER / ".spectral.json"), "--fail-severity", "hint")
    text = await said(node(SPECTRAL, "lint", *rules, *documents))
    assert "No results" in text


async def test_redocly_finds_nothing(documents: list[str], tmp_path: Path) -> None:
    """By the rules that it recommends, neither an error nor a warning."""
    words = ("lint", "--extends=recommended", "--format=json", *documents)
    text = await said(
        node(REDOCLY, *words), tmp_path, REDOCLY_TELEMETRY="off", REDOCLY_SUPPRESS_UPDATE_NOTICE="true"
    )
    assert '"problems": []' in text
    assert "ruleId" not in text


@pytest.mark.asyncio(loop_scope="session")
async def test_schemathesis_finds_nothing(published: Published, tmp_path: Path) -> None:
    """Asked by its own OpenAPI 3.0 document, the sync answers what that says, to right and wrong questions."""
    config = tmp_path / "schemathesis.toml"
    known = [published.places[0].id, "nobody"]
    nodes = [known[0].partition(":")[0], "nobody"]
    ids = f'[parameters]\n"path.id" = {json.dumps(known)}\n"path.node" = {json.dumps(nodes)}\n'
    config.write_text(
        (FOLDER / "schemathesis.toml").read_text("utf-8").replace("[generation]", ids + "\n[generation]")
    )
    command = [python("schemathesis"), "--config-file", str(config)]
    words = ("run", f"{published.url}/api", "--url", published.url, "--no-color")
    # It leaves files where it is run.
    text = await said([*command, *words], tmp_path, PYTHONPATH=str(ROOT))
    assert "Failures:" not in text
    tested = re.search(r"Tested: (\d+)", text)
    cases = re.search(r"(\d+) generated", text)
    assert tested is not None
    assert cases is not None
    assert int(tested[1]) > 40
    assert int(cases[1]) > 500
