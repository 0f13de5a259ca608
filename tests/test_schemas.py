"""The contract: what its Structs say is what its JSON Schemas say."""

import ast
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from schemas import __main__ as generator
from schemas.place import Place

FOLDER = Path(__file__).parent.parent / "schemas" / "json"
PLACES: list[tuple[dict[str, Any], bool]] = [
    ({"name": "La Filature", "status": "open"}, True),
    ({"name": "La Filature", "status": "open", "address": {"insee": "2A004"}}, True),
    ({"name": "La Filature", "status": "open", "position": {"lat": 48.1, "lon": -1.7}}, True),
    ({"name": "La Filature", "status": "open", "extensions": {"nous": {"a": [1.0]}}}, True),
    ({"status": "open"}, False),
    ({"name": "", "status": "open"}, False),
    ({"name": "La Filature", "status": "ouvert"}, False),
    ({"name": "La Filature", "status": "open", "position": {"lat": 91, "lon": 0}}, False),
    ({"name": "La Filature", "status": "open", "address": {"insee": "35238\n"}}, False),
    ({"name": "La Filature", "status": "open", "types": ["sans-espace-de-noms"]}, False),
    ({"name": "La Filature", "status": "open", "opened_on": "2020-13"}, False),
]


def schema(name: str) -> Any:
    return msgspec.json.decode((FOLDER / f"{name}.schema.json").read_bytes())


def test_the_files_are_those_of_the_structs() -> None:
    """No schema file has drifted from its Struct, and none is left over."""
    assert generator.drifted(FOLDER) == []


def test_drift_is_noticed(tmp_path: Path) -> None:
    """A changed, a missing and a left-over file are each named."""
    for file in FOLDER.glob("*.schema.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "place.schema.json").write_text("{}")
    (tmp_path / "claim.schema.json").unlink()
    (tmp_path / "rien.schema.json").write_text("{}")
    assert generator.drifted(tmp_path) == ["claim.schema.json", "place.schema.json", "rien.schema.json"]


@pytest.mark.parametrize("struct", generator.PUBLISHED, ids=lambda s: s.__name__)
def test_every_schema_is_valid_and_described(struct: type[Any]) -> None:
    """Each file is a valid JSON Schema, and each Struct in it carries its docstring."""
    found = schema(struct.__name__.lower())
    jsonschema.Draft202012Validator.check_schema(found)
    for name, definition in found["$defs"].items():
        assert definition.get("description"), name


@pytest.mark.parametrize(("place", "valid"), PLACES)
def test_schema_and_struct_agree_on_a_place(place: dict[str, Any], valid: bool) -> None:
    """The JSON Schema accepts exactly what the Struct accepts."""
    validator = jsonschema.Draft202012Validator(schema("place"))
    assert validator.is_valid(place) is valid
    try:
        msgspec.json.decode(msgspec.json.encode(place), type=Place)
    except msgspec.ValidationError:
        assert not valid
    else:
        assert valid


def test_every_struct_and_module_says_what_it_is() -> None:
    """Docstrings become the descriptions that everybody reads: none is missing."""
    for file in FOLDER.parent.glob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        assert ast.get_docstring(tree), file
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                assert ast.get_docstring(node), f"{file.name}: {node.name}"
