"""The documentation for operators is complete: read from the code, looked for in the text."""

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas import event, view
from schemas.node import Amqp, Base, Descriptor, Epoch, Peer, Signature, Signed, SigningKey
from services import ledger_http, settings, signing
from services.errors import Failure
from tests.test_boundaries import SERVICES, python, tree

ROOT = Path(__file__).parent.parent
OPERATING = (ROOT / "docs" / "operating.md").read_text("utf-8")
# prometheus_client adds these to the names of counters and histograms.
SUFFIXES = re.compile(r"_(total|seconds_bucket|bucket|sum|count)$")


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_is_documented_as_it_is(service: str) -> None:
    """The table of settings has the type, the default and the meaning that are in force."""
    module = importlib.import_module(f"services.{service}.settings")
    rows = [row(*each) for each in settings.documented(module.Settings, module.PREFIX)]
    missing = [each for each in rows if each not in OPERATING]
    assert not missing, "add to docs/operating.md:\n" + "\n".join(missing)
    known = set(re.findall(rf"^\| `({module.PREFIX}\w+)`", OPERATING, re.MULTILINE))
    assert known == {each.split("`")[1] for each in rows}


def row(variable: str, kind: str, default: str, description: str) -> str:
    """A setting as a row of its table."""
    assert description, f"{variable} has no description"
    return f"| `{variable}` | {kind} | {f'`{default}`' if default else 'required'} | {description} |"


def constants() -> Iterator[tuple[Path, ast.Call]]:
    """The calls in the services, with their files."""
    for file in python("services"):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.Call):
                yield file, node


def metrics() -> set[str]:
    """The names of all metrics, without what their kind adds."""
    return {
        SUFFIXES.sub("", node.args[0].value)
        for _, node in constants()
        if isinstance(node.func, ast.Name)
        and node.func.id in ("Counter", "Gauge", "Histogram", "Summary")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and str(node.args[0].value).startswith("maillage_")
    }


def test_every_metric_is_documented() -> None:
    """Whoever draws a curve finds what it is of, and no metric is promised that does not exist."""
    written = {
        SUFFIXES.sub("", name) for name in re.findall(r"^\| `(maillage_\w+)`", OPERATING, re.MULTILINE)
    }
    assert written == metrics()
    assert len(written) > 5


def codes() -> set[str]:
    """The codes of all problems: of the failures, and those that a failure is given where it is raised."""
    found: set[str] = set()
    for file in python("services"):
        for node in ast.walk(tree(file)):
            if isinstance(node, ast.ClassDef):
                found |= {
                    each.value.value
                    for each in node.body
                    if isinstance(each, ast.Assign | ast.AnnAssign)
                    and "code" in ast.unparse(each).partition("=")[0].partition(":")[0].strip()
                    and isinstance(each.value, ast.Constant)
                    and isinstance(each.value.value, str)
                }
            elif isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                found |= {text(value) for key, value in pairs if text(key) == "code"} - {""}
    return found - {Failure.code}


def text(node: ast.expr | None) -> str:
    """What a literal says; empty for what is none."""
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def test_every_problem_is_documented() -> None:
    """Whoever reads a problem's type finds what it means and what to do."""
    written = set(re.findall(r"^\| `([a-z-]+)` \| [0-9—]", OPERATING, re.MULTILINE))
    assert written == codes()
    assert {"stale", "cursor-too-old"} <= written


def test_every_event_type_is_documented() -> None:
    """Whoever reads a feed finds what each type of event says."""
    for kind in (*event.REGISTRY_EMITS, *event.SYNC_EMITS):
        assert f"| `{kind}` |" in OPERATING


def test_every_check_of_the_doctor_is_documented() -> None:
    """Whoever reads a line of the doctor finds the check, whose it is, and what to do."""
    checks: dict[str, list[str]] = {"settings": list(SERVICES), "skipped": list(SERVICES)}
    for service in SERVICES:
        for check in importlib.import_module(f"services.{service}.checks").CHECKS:
            checks.setdefault(check.name, []).append(service)
    table = OPERATING.partition("\n| check | of |")[2].partition("\n\n")[0]
    told = dict(re.findall(r"^\| `([a-z-]+)` \| ([a-z, ]+) \| .+: .+ \|$", table, re.MULTILINE))
    whose = {name: "all" if of == list(SERVICES) else ", ".join(of) for name, of in checks.items()}
    assert told == whose
    assert len(told) == table.count("\n| `") > 30


def test_addresses_of_the_documentation_exist() -> None:
    """No link between the documents leads nowhere."""
    for file in [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", file.read_text("utf-8")):
            assert (file.parent / target).exists(), f"{file} links to {target}"


def test_commands_of_the_documentation_exist() -> None:
    """No operator is told to run a command that is not there."""
    named = re.findall(r"python -m services\.(\w+) ([\w-]+)", OPERATING)
    assert len(named) > 5
    for service, command in named:
        commands = importlib.import_module(f"services.{service}.__main__").main.commands
        assert command in commands, f"services.{service} has no command {command}"


def test_every_invariant_names_tests_that_exist() -> None:
    """What `docs/invariants.md` says is shown by a test, is: each row names one, and file and test are there."""
    text = (ROOT / "docs" / "invariants.md").read_text("utf-8")
    rows = [row for row in text.splitlines() if re.match(r"\| (\d+ \| )?\*\*", row)]
    assert len(rows) >= 25
    for row in rows:
        named = re.findall(r"`tests/([\w/]+\.py)(?:::(\w+))?`", row.rpartition(" | ")[2])
        assert named, row
        for name, test in named:
            file = ROOT / "tests" / name
            assert file.exists(), name
            assert not test or re.search(rf"def {test}\(", file.read_text("utf-8")), f"{name} has no {test}"


PROTOCOL = (ROOT / "docs" / "protocol.md").read_text("utf-8")
TOLD = (
    *(Descriptor, SigningKey, Epoch, Base, Amqp, Signed, Signature, Peer),
    *(event.Event, event.Withdrawal, event.Erasure, event.Checkpoint, event.SignedText, event.Line),
    *(event.SnapshotHead, view.Digest, view.Head),
)
EXAMPLE = re.compile(r"\b([0-9a-f]{16}|[0-9a-f]{64}|[a-z2-7]{26}|[\w-]{22}|[\w-]{43}|[\w-]{86})\b")


@pytest.mark.parametrize("struct", TOLD, ids=lambda struct: struct.__name__)
def test_the_protocol_tells_every_member(struct: type[msgspec.Struct]) -> None:
    """Whoever writes a node in another language finds every member of what is signed and served."""
    names = {field.encode_name for field in msgspec.structs.fields(struct)}
    assert {name for name in names if not re.search(rf"[`\"]{name}[`\"]", PROTOCOL)} == set()


def test_the_protocol_tells_every_type_address_and_state() -> None:
    """No type of event, no address of a log, no problem of a cursor and no state of a follower is left out."""
    told = {
        *event.REGISTRY_EMITS,
        *event.SYNC_EMITS,
        "cursor-malformed",
        "cursor-in-future",
        "cursor-too-old",
    }
    told |= {f"GET {route.path}" for route in ledger_http.ROUTES} | {signing.EVENT, signing.CHECKPOINT}
    told |= {"epoch-changed", "new", "snapshotting", "live", "lagging", "stale", "broken", "forked", "muted"}
    assert {each for each in told if f"`{each}" not in PROTOCOL} == set()


def test_the_examples_of_the_protocol_are_of_the_vectors() -> None:
    """Every hash, key, id and signature of the document stands in a vector."""
    vectors = "".join(file.read_text("utf-8") for file in (ROOT / "schemas" / "vectors").glob("*.json"))
    found = set(EXAMPLE.findall(PROTOCOL))
    examples = {each for each in found if re.search(r"\d", each) and not each.isdigit()}
    assert len(examples) > 10
    assert {each for each in examples if each not in vectors} == set()
