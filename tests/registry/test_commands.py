"""The command line of a registry: identity, keys, tokens; what goes wrong is one line that says what to do."""

import asyncio
import json
import os
import stat
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
import pytest
import structlog
from click.testing import CliRunner, Result

from services.registry import __main__ as commands
from services.registry import app
from services.registry.keys import founded
from services.registry.settings import PREFIX, Settings
from tests.conftest import Federation
from tests.nodes import Registry, environ

HERE = Path(__file__).parents[2]


async def run(settings: Settings, *arguments: str) -> Result:
    """A command in a thread, as it starts an event loop of its own."""
    return await asyncio.to_thread(CliRunner().invoke, commands.main, arguments, env=environ(settings))


def said(result: Result) -> str:
    """Everything that a command printed, which is never a traceback."""
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


@pytest.fixture
async def settings(federation: Federation, tmp_path: Path) -> Settings:
    """Settings of a node that does not exist yet."""
    return Settings(
        database_url=await federation.database(),
        port=0,
        key_dir=str(tmp_path / "keys"),
        contact="a@exemple.fr",
    )


async def test_an_identity_is_given_once(settings: Settings, tmp_path: Path) -> None:
    """key init prints the id and writes the root key for its owner only; a second time it refuses."""
    root = tmp_path / "deep" / "root.key"
    made = await run(settings, "key", "init", "--root-key", str(root))
    assert made.exit_code == 0
    node = made.stdout.strip()
    assert len(node) == 26
    assert str(root) in made.stderr
    assert stat.S_IMODE(root.stat().st_mode) == 0o600
    (online,) = Path(settings.key_dir).iterdir()
    assert stat.S_IMODE(online.stat().st_mode) == 0o600
    assert json.loads(root.read_bytes())["seed"] not in made.output
    kept = root.read_bytes()
    again = await run(settings, "key", "init", "--root-key", str(tmp_path / "other.key"))
    assert again.exit_code == 2
    assert node in said(again)
    assert not (tmp_path / "other.key").exists()
    same = await run(settings, "key", "init", "--if-missing", "--root-key", str(root))
    assert (same.exit_code, same.stdout.strip()) == (0, node)
    assert root.read_bytes() == kept
    shown = await run(settings, "key", "show")
    assert shown.stdout.strip() == node


async def test_a_network_is_not_born_without_its_own_words(settings: Settings, tmp_path: Path) -> None:
    """key init names what a new network has not said of itself, shows what it will say, and does so only once."""
    root = tmp_path / "root.key"
    words = [PREFIX + field for field in ("NAME", "SLUG", "CONTACT", "URL")]
    for unsaid in words:
        env = {name: value for name, value in environ(settings).items() if name != unsaid}
        init = ["key", "init", "--root-key", str(root)]
        result = await asyncio.to_thread(CliRunner().invoke, commands.main, init, env=env)
        assert (result.exit_code, unsaid in said(result)) == (2, True), unsaid
        assert sum(word in result.output for word in words) == 1
    assert not root.exists()
    made = await run(settings, "key", "init", "--root-key", str(root))
    assert made.exit_code == 0
    assert '"contact": "a@exemple.fr"' in made.stderr
    env = {name: value for name, value in environ(settings).items() if name not in words}
    init = ["key", "init", "--if-missing", "--root-key", str(root)]
    assert (await asyncio.to_thread(CliRunner().invoke, commands.main, init, env=env)).exit_code == 0


async def test_a_setting_that_comes_too_late_is_told(settings: Settings, tmp_path: Path) -> None:
    """Serving under another name than the descriptor's warns, as nobody else will see that name."""
    await founded(settings, [tmp_path / "root.key"])
    renamed = msgspec.structs.replace(
        settings, name="Autre nom", heartbeat_s=600, amqp_public_url="amqp://x@exemple.fr/x"
    )
    with structlog.testing.capture_logs() as lines:
        async with app.serving(renamed):
            pass
    told = [line for line in lines if line["event"] == "setting without effect"]
    assert [line["setting"] for line in told] == [
        "MAILLAGE_REGISTRY_NAME",
        "MAILLAGE_REGISTRY_AMQP_PUBLIC_URL",
        "MAILLAGE_REGISTRY_HEARTBEAT_S",
    ]


async def test_a_root_key_is_never_overwritten(settings: Settings, tmp_path: Path) -> None:
    """Where the file exists already, nothing is made and the file keeps its bytes."""
    root = tmp_path / "root.key"
    root.write_bytes(b"the key of another node")
    made = await run(settings, "key", "init", "--root-key", str(root))
    assert made.exit_code == 2
    assert str(root) in said(made)
    assert root.read_bytes() == b"the key of another node"
    assert (await run(settings, "key", "show")).exit_code == 2


async def test_a_birth_that_failed_can_be_tried_again(settings: Settings, tmp_path: Path) -> None:
    """Where the keys could not be written, no root key is left that would stop the next try."""
    root, keys = tmp_path / "root.key", Path(settings.key_dir)
    keys.write_text("no folder")
    assert (await run(settings, "key", "init", "--root-key", str(root))).exit_code != 0
    assert not root.exists()
    keys.unlink()
    assert (await run(settings, "key", "init", "--root-key", str(root))).exit_code == 0


async def test_a_licence_is_a_code(settings: Settings, tmp_path: Path) -> None:
    """A licence that no record could bear is refused where it is set, and where a list is imported."""
    named = {**environ(settings), PREFIX + "LICENSE": "Licence Ouverte 2.0"}
    init = ["key", "init", "--root-key", str(tmp_path / "root.key")]
    refused = await asyncio.to_thread(CliRunner().invoke, commands.main, init, env=named)
    assert refused.exit_code == 2
    assert "MAILLAGE_REGISTRY_LICENSE" in said(refused)
    await founded(settings, [tmp_path / "root.key"])
    list_ = tmp_path / "l.csv"
    list_.write_text("Nom [/];CP;Surface [m2]\nLieu;35000;12\n")
    wrong = await run(settings, "import", str(list_), "--source", "l", "--license", "a b")
    assert (wrong.exit_code, "etalab-2.0" in said(wrong)) == (2, True)
    done = await run(settings, "import", str(list_), "--source", "l")
    assert done.exit_code == 0
    assert "Nom [/] → name" in said(done)
    assert "Surface [m2] → " in done.output


async def test_two_first_starts_at_once_make_one_identity(settings: Settings, tmp_path: Path) -> None:
    """Several processes that start for the first time at the same moment agree on one node."""
    starts = (founded(settings, [tmp_path / f"root-{n}.key"], if_missing=True) for n in range(4))
    assert len({made.node for made in await asyncio.gather(*starts)}) == 1
    assert len(list(tmp_path.glob("root-*.key"))) == 1


async def test_tokens_are_added_listed_and_revoked(registry: Registry) -> None:
    """A token is printed once, listed without its secret, and refused from the moment it is revoked."""
    s = registry.settings
    made = await run(s, "token", "add", "--role", "editor", "--name", "Bureau de Rennes")
    secret = made.stdout.strip()
    assert (made.exit_code, secret.startswith("maillage_")) == (0, True)
    place = {"name": "Par jeton", "status": "open", "kind": "virtual"}
    assert (await registry.call("POST", "/places", token=secret, json=place))[0] == 201
    listed = said(await run(s, "token", "list"))
    (line,) = (line for line in listed.splitlines() if "Bureau de Rennes" in line)
    assert secret not in listed
    assert "editor" in line
    assert "in force" in line
    id = line.split()[0]
    assert (await run(s, "token", "revoke", id)).exit_code == 0
    assert (await registry.call("POST", "/places", token=secret, json=place))[0] == 401
    again = await run(s, "token", "revoke", id)
    assert again.exit_code == 2
    assert "no such token" in said(again)
    assert "revoked" in said(await run(s, "token", "list"))
    days = await run(s, "token", "add", "--role", "reader", "--name", "Un an", "--days", "365")
    assert days.exit_code == 0
    assert "expires" in said(await run(s, "token", "list"))


async def test_a_wrong_command_says_what_is_right(registry: Registry) -> None:
    """Unknown roles, ids that are none and missing files are one clear line and exit code 2."""
    for arguments, word in (
        (("token", "add", "--role", "chief", "--name", "x"), "editor"),
        (("token", "add", "--role", "editor"), "--name"),
        (("token", "add", "--role", "editor", "--name", "x", "--days", "0"), "days"),
        (("token", "revoke", "x"), "UUID"),
        (("import", "/nowhere.csv"), "nowhere.csv"),
        (("import", __file__, "--format", "xlsx"), "csv"),
    ):
        result = await run(registry.settings, *arguments)
        assert result.exit_code == 2, arguments
        assert word in said(result), (arguments, result.output)


async def test_no_identity_says_which_command_gives_one(settings: Settings, tmp_path: Path) -> None:
    """Without an identity, showing it, importing and serving each end with the command to run first."""
    file = tmp_path / "liste.csv"
    file.write_text("nom,cp\nA,35000\n")
    for arguments in (("key", "show"), ("import", str(file))):
        result = await run(settings, *arguments)
        assert result.exit_code == 2
        assert "key init --root-key" in said(result)
    code, out, err = await process(settings, "serve")
    assert (code, out) == (2, "")
    assert "key init --root-key" in err
    assert "Traceback" not in err


async def test_no_database_says_so(settings: Settings, tmp_path: Path) -> None:
    """A database that is not there, or refuses us, is one line within the time to wait for it."""
    away = msgspec.structs.replace(settings, database_url="postgresql://x@127.0.0.1:1/x", database_wait=0.2)
    none = msgspec.structs.replace(settings, database_url=settings.database_url + "_nope", database_wait=0.2)
    for wrong in (away, none):
        result = await run(wrong, "key", "show")
        assert result.exit_code == 2
        assert "database" in said(result)
    result = await asyncio.to_thread(CliRunner().invoke, commands.main, ["key", "show"], env={})
    assert result.exit_code == 2
    assert "MAILLAGE_REGISTRY_DATABASE_URL" in said(result)


async def test_a_lost_online_key_stops_at_the_start(federation: Federation) -> None:
    """A registry whose signing key is gone does not pretend to work: it ends and names the file."""
    registry = await federation.registry(start=False)
    (key,) = Path(registry.settings.key_dir).iterdir()
    key.unlink()
    code, _, err = await process(registry.settings, "serve")
    assert code == 2
    assert key.name in err
    assert "Traceback" not in err


async def process(settings: Settings, *arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of a real process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.registry",
        *arguments,
        cwd=HERE,
        env={**os.environ, **environ(settings)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[Process, int]]:
    """A process that serves, and its port; killed where it has not ended."""
    started = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.registry",
        "serve",
        cwd=HERE,
        env={**os.environ, **environ(settings)},
        stderr=asyncio.subprocess.PIPE,
    )
    assert started.stderr is not None
    try:
        async with asyncio.timeout(120):
            while b'"serving"' not in (line := await started.stderr.readline()):
                assert line, "it ended before it served"
        yield started, json.loads(line)["port"]
    finally:
        if started.returncode is None:
            started.kill()
        await started.communicate()


async def test_a_registry_ends_when_it_is_told_to(federation: Federation) -> None:
    """Sent SIGTERM under load a process answers what it has begun and ends with 0; what it accepted is there."""
    registry = await federation.registry(start=False)

    async def add(number: int) -> str:
        try:
            return str((await registry.add(name=f"À la fin {number}"))["id"])
        except aiohttp.ClientError:
            return ""

    async with serving(registry.settings) as (process, registry.port):
        first = await registry.add()
        under_way = [asyncio.create_task(add(n)) for n in range(40)]
        await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
        process.terminate()
        accepted = set(filter(None, await asyncio.gather(*under_way)))
        assert await asyncio.wait_for(process.wait(), 60) == 0
    await registry.start()
    assert accepted
    assert {first["id"], *accepted} <= {e["subject"] for e in await registry.feed()}


async def test_a_port_in_use_is_told_in_a_line(registry: Registry) -> None:
    """Where something listens already, the command ends with code 2 and names the address."""
    env = {**environ(registry.settings), PREFIX + "PORT": str(registry.port)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.registry", "serve"),
        env={**os.environ, **env},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 2
    assert f"127.0.0.1:{registry.port}" in err.decode().splitlines()[-1]
    assert b"Traceback" not in err


async def test_whoever_speaks_french_is_answered_in_french(registry: Registry, tmp_path: Path) -> None:
    """The report of an import at a terminal is in the language of its locale."""
    list_ = tmp_path / "l.csv"
    list_.write_text("Nom;CP\nLieu;1500\n")
    env = {**environ(registry.settings), "LC_ALL": "fr_FR.UTF-8"}
    words = ["import", str(list_), "--source", "l"]
    done = await asyncio.to_thread(CliRunner().invoke, commands.main, words, env=env)
    assert "ligne 2" in done.output
    assert "Le code postal 1500" in done.output
