"""Who may import whom, where SQL stands, how long a function may be: read from the syntax trees."""

import ast
import re
import statistics
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SERVICES = ("registry", "sync", "notify")
ANATOMY = ("__init__", "__main__", "settings", "app", "api", "worker", "store")

# Modules without IO, clock, log or chance: the verbs, and what they compute with.
PURE = frozenset(
    {
        *(f"services.{name}" for name in ("canonical", "communes", "errors", "identity", "merkle", "places")),
        *(f"services.{name}" for name in ("audit", "evidence", "foreign", "mistakes", "proofs", "shapes")),
        *(f"services.{name}" for name in ("forms", "licenses", "schema_org", "signing", "strict")),
        *(f"services.{name}" for name in ("witness",)),
        *(f"services.registry.{name}" for name in ("decide", "cleaning", "headings", "mapping")),
        *(f"services.registry.{name}" for name in ("reading", "rendering")),
        *(f"services.sync.{name}" for name in ("merge", "clusters", "digest", "fields", "items", "policy")),
        *(f"services.sync.{name}" for name in ("cql", "crs", "observing", "outlines", "spans")),
        *(f"services.sync.{name}" for name in ("differences", "records", "copies", "noticing", "explaining")),
        *(f"services.sync.{name}" for name in ("linking", "pairing", "ties")),
        *(f"services.sync.{name}" for name in ("cataloguing", "citing", "rendering")),
        *(f"services.sync.{name}" for name in ("alignment", "locating", "matching", "naming")),
        *(
            f"services.sync.{name}"
            for name in ("linking", "pairing", "profiles", "reaching", "ties", "tiles", "trial")
        ),
        *(f"services.notify.{name}" for name in ("match",)),
    }
)
# fmt: off
IMPURE = frozenset({
    "asyncio", "concurrent", "http", "logging", "multiprocessing", "os", "pathlib", "random", "secrets",
    "select", "selectors", "shutil", "signal", "smtplib", "socket", "sqlite3", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib.request",
    "aio_pika", "aiohttp", "aiormq", "aiosmtplib", "asyncpg", "click", "jinja2", "prometheus_client", "rich",
    "structlog", "uuid_utils",
})
IMPURE_CALLS = frozenset({
    "open", "print", "input", "datetime.now", "datetime.utcnow", "datetime.today", "date.today", "uuid.uuid1",
    "uuid.uuid4", "uuid4",
})
NO_NAMES = frozenset({
    "utils", "util", "helpers", "helper", "models", "types", "constants", "common", "core", "base", "misc",
    "manager", "service",
})
# fmt: on
SQL = re.compile(
    r"\s*(SELECT\s|INSERT\s+INTO\s|UPDATE\s+\w+(\s+\w+)?\s+SET\s|DELETE\s+FROM\s|(CREATE|ALTER|DROP)\s+TABLE\s"
    r"|WITH\s+(RECURSIVE\s+)?\w+(\s*\([^)]*\))?\s+AS\s|TRUNCATE\s+\w|LISTEN\s+\w|NOTIFY\s+\w|LOCK\s+TABLE\s)"
)


def python(*folders: str) -> list[Path]:
    """The Python files below some folders of the project, as paths within it."""
    found = (file for folder in folders for file in sorted((ROOT / folder).rglob("*.py")))
    return [file.relative_to(ROOT) for file in found]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse((ROOT / file).read_text("utf-8"))


def module(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def imported(file: Path) -> set[str]:
    """The modules that a file imports, wherever in it; names of our own modules in full."""
    found: set[str] = set()
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports by dots, which hides whom"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            ours = {name for name in inner if exists(name)}
            found |= ours or {node.module or ""}
    return found


def exists(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def owner(name: str) -> str:
    """The service that a module belongs to; empty for what services share."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "services" and parts[1] in SERVICES else ""


def below(name: str, names: frozenset[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[: length + 1]) in names for length in range(len(parts)))


def functions(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from `def` to the end; the lines of the docstring do not count."""
    documented = function.body[0] if ast.get_docstring(function) else None
    said = (documented.end_lineno or 0) - documented.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - said


CODE = python("services", "schemas", "demo", "bench", "maillage")


def test_the_contract_leans_on_nothing() -> None:
    """`schemas` imports msgspec and typing, and itself."""
    for file in python("schemas"):
        if file.name != "__main__.py":
            assert {name.partition(".")[0] for name in imported(file)} <= {"msgspec", "typing", "schemas"}, (
                file
            )


def test_no_service_knows_another() -> None:
    """A network may run its registry with the folders of sync and notify deleted."""
    for file in python("services"):
        others = {owner(name) for name in imported(file)} - {"", owner(module(file))}
        assert not others, f"{file} imports from {others}"


def test_what_is_shared_knows_no_service() -> None:
    """A shared file serves whichever services are there."""
    for file in (ROOT / "services").glob("*.py"):
        assert not any(owner(name) for name in imported(file.relative_to(ROOT))), file


def test_nothing_below_imports_what_is_above() -> None:
    """Services import neither the demo, the benchmarks, the tests nor the client; the demo no service."""
    above = frozenset({"demo", "bench", "tests", "maillage"})
    for file in python("services", "schemas"):
        assert not any(below(name, above) for name in imported(file)), file
    for file in python("demo", "maillage"):
        assert not any(below(name, frozenset({"services", "tests"})) for name in imported(file)), file


def test_the_client_leans_on_the_contract_alone() -> None:
    """Whoever installs the client gets `schemas` and what speaks HTTP with it; click for the command line only."""
    files = python("maillage")
    assert len(files) > 5
    for file in files:
        allowed = {"maillage", "schemas", "aiohttp", "msgspec", "yarl"}
        allowed |= {"click"} if file.name == "__main__.py" else set()
        roots = {name.partition(".")[0] for name in imported(file)}
        assert roots - sys.stdlib_module_names <= allowed, file


@pytest.mark.parametrize("name", sorted(PURE))
def test_a_verb_is_pure(name: str) -> None:
    """What decides, merges and matches does no IO, reads no clock, logs nothing and draws no lots."""
    file = Path(*name.split(".")).with_suffix(".py")
    for other in imported(file):
        assert not below(other, IMPURE), f"{name} imports {other}"
        if other.startswith("services"):
            assert other in PURE, f"{name} imports {other}"
            assert owner(other) in ("", owner(name))
    calls = {ast.unparse(node.func) for node in ast.walk(tree(file)) if isinstance(node, ast.Call)}
    assert not calls & IMPURE_CALLS, name


def test_every_service_has_its_verb() -> None:
    """The list above has not lost the three files that everything is about."""
    for name in ("services.registry.decide", "services.sync.merge", "services.notify.match"):
        assert name in PURE
        assert exists(name), name


@pytest.mark.parametrize("service", SERVICES)
def test_services_have_the_same_anatomy(service: str) -> None:
    """Who knows one service finds her way in the others."""
    for name in ANATOMY:
        assert exists(f"services.{service}.{name}"), f"services/{service} has no {name}"
    assert list((ROOT / "services" / service / "migrations").glob("[0-9][0-9][0-9][0-9]_*.sql"))


def stores() -> list[Path]:
    return [file for file in python("services") if file.name == "store.py" or file.name.endswith("_store.py")]


def test_a_store_talks_to_the_database_only() -> None:
    """A store imports the contract, the connection, pure modules and other stores of its own or shared."""
    shared = {"services.postgres", "services.connection"} | {module(file) for file in stores()} | PURE
    for file in stores():
        for name in imported(file):
            assert not name.startswith("services") or name in shared, f"{file} imports {name}"
            assert not below(name, frozenset({"aiohttp", "aio_pika", "click", "jinja2"})), (
                f"{file} imports {name}"
            )


def sentences(file: Path) -> Iterator[ast.Constant]:
    """Texts of a file that begin like SQL."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.match(node.value):
            yield node


def test_sql_stands_in_stores() -> None:
    """Whoever asks what is done to the database reads the stores, and nothing else."""
    assert sum(1 for file in stores() for _ in sentences(file)) > 20
    for file in python("services"):
        if file not in stores():
            assert not [node.lineno for node in sentences(file)], f"{file} holds SQL"


def test_files_are_named_for_what_they_do() -> None:
    """No file is a drawer for what found no place."""
    for file in CODE:
        assert file.stem not in NO_NAMES, file
        assert not any(part in NO_NAMES for part in file.parts), file


def test_nothing_happens_on_import() -> None:
    """A module defines; it begins nothing by being read."""
    allowed = (
        ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Assign
        | ast.AnnAssign
    )  # fmt: skip
    for file in CODE:
        for node in tree(file).body:
            documented = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            asked = isinstance(node, ast.If) and ast.unparse(node.test).startswith(
                ("__name__", "TYPE_CHECKING")
            )
            assert isinstance(node, allowed) or documented or asked, f"{file}:{node.lineno}"


def test_functions_are_short() -> None:
    """A function is one thought: the median has twelve lines at most, none more than sixty."""
    lengths = {f"{file}:{each.name}": length(each) for file in CODE for each in functions(file)}
    assert statistics.median(lengths.values()) <= 12
    assert {name: lines for name, lines in lengths.items() if lines > 60} == {}


def test_public_things_are_documented() -> None:
    """Every module, and every class and function that others may use, says what it is."""
    for file in CODE:
        assert ast.get_docstring(tree(file)), f"{file} does not say what it is"
        for node in tree(file).body:
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                and node.name[0] != "_"
            ):
                assert ast.get_docstring(node), f"{file}:{node.lineno} {node.name}"


def test_the_standard_library_is_known() -> None:
    """The list of what is impure names real modules, so that a slip of the pen does not open the border."""
    standard = {name for name in IMPURE if name.partition(".")[0] in sys.stdlib_module_names}
    assert len(standard) == 23


def test_migrations_are_numbered_without_gaps() -> None:
    """The migrations of a service are 0001, 0002, ... with a word that says what they do."""
    for service in SERVICES:
        names = sorted(file.name for file in (ROOT / "services" / service / "migrations").glob("*.sql"))
        assert [name[:4] for name in names] == [f"{number:04}" for number in range(1, len(names) + 1)]
        assert all(re.fullmatch(r"\d{4}_[a-z0-9_]+\.sql", name) for name in names)


def test_no_machine_is_named() -> None:
    """No file of the project knows the paths of the machine it was written on."""
    for file in CODE + python("tests"):
        text = (ROOT / file).read_text("utf-8")
        assert not re.search(r"['\"](/work|/home|/Users)/", text), file
