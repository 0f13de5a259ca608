"""The tour of the README, command by command, as a newcomer would type it."""

import asyncio
import re
import sys
from pathlib import Path

from tests.federation.test_demo import ROOT, a_killed_supervisor_leaves_nothing, demo

README = (ROOT / "README.md").read_text("utf-8")
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)
SECONDS = 300


async def said(script: str, folder: Path) -> list[str]:
    """What each block prints, run one after the other in one shell that stops at the first failure."""
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-euo",
        "pipefail",
        "-c",
        script,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), SECONDS)
    assert process.returncode == 0, (out.decode(), error.decode())
    return out.decode().split("\x1e")[1:]


async def test_the_tour_works() -> None:
    """Every command of the README runs and shows what the text beside it says; a kill in the end leaves nothing."""
    blocks = BLOCK.findall(README)
    assert len(blocks) == 12
    async with demo() as running:
        ours = f"{sys.executable} -m demo --dir {running.folder}"
        script = "".join(f"printf '\\x1e'\n{block}" for block in blocks)
        outputs = await said(script.replace(".venv/bin/python -m demo", ours), running.folder)
        await a_killed_supervisor_leaves_nothing(running)
    _env, search, add, voices, proposed, mistake, feed, changes, client, digests, stopped, preview = outputs
    assert '"FeatureCollection"' in search
    assert search.count('"numberReturned":2') == 2
    assert '"value":"fablab"' in search
    assert add.count("La Grande Halle du Tour") == 3
    assert len(set(re.findall(r'"rule":"([a-z-]+)"', voices))) > 1
    assert '"alternatives":[{' in voices
    assert '"points":' in proposed
    assert '"features":' in proposed
    assert '"status":422' in mistake
    assert "vouliez-vous dire address" in mistake
    assert feed.count('"sig"') == 3
    assert '"view":"entered"' in changes
    assert "coordinates=" in client
    assert "Export(path=PosixPath('/tmp/maillage-places.geojsonl')" in client
    assert re.search(r'^\{"cursor":"1\.[0-9]+","id":"', client, re.MULTILINE)
    assert len(set(re.findall(r'"view_root":"([0-9a-f]{64})"', digests))) == 1
    assert "La Grande Halle du Tour" in stopped
    assert '"alias":"bretagne"' in stopped
    assert '"state":"done"' in preview
    assert '"new":1' in preview
    assert '"NOM":"name"' in preview


async def test_the_two_commands_exist() -> None:
    """What the README names is in the Makefile."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in set(re.findall(r"(?:^|`)make ([a-z]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
