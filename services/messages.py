"""Which messages people may read, collected from the sources: every one needs its French.

`python -m services.messages` lists those that have none yet, as entries for the catalogue. Messages are the
details of failures and their titles, what a `Fault` says, whatever is given to a parameter called `what`, what the
doctor has one do, the sentences that functions return beside something else, and the texts of templates.
"""

import ast
import re
import string
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from services.errors import Failure
from services.languages import ROOT, catalogue

# Where these calls take their message: which positional argument it is.
_TAKERS = {"Fault": 1, "Finding": 1, "_Wording": 1}
_KEYWORDS = frozenset({"detail", "what", "todo"})


def messages(root: Path = ROOT) -> dict[str, str]:
    """Every message that people may read, with the file that says it."""
    trees = {file: ast.parse(file.read_text("utf-8")) for file in sorted((root / "services").rglob("*.py"))}
    takers = takers_in(trees.values())
    found: dict[str, str] = {}
    for file, tree in trees.items():
        for message in spoken(tree, takers):
            found.setdefault(message, str(file.relative_to(root)))
    for file in sorted((root / "web" / "templates").rglob("*.html")):
        for message in _written(file):
            found.setdefault(message, str(file.relative_to(root)))
    return found


def missing() -> dict[str, str]:
    """The messages without French, or whose French has other arguments, with the file that says them."""
    french = catalogue("fr")
    return {
        message: file
        for message, file in messages().items()
        if _has_words(message)
        and ((said := french.gettext(message)) == message or placeholders(said) != placeholders(message))
    }


def placeholders(message: str) -> set[str]:
    """The names of the arguments in a message, `{name}` or `%(name)s`."""
    braces = {name for _, name, _, _ in string.Formatter().parse(message) if name}
    return braces | set(re.findall(r"%\((\w+)\)", message))


def takers_in(trees: Iterable[ast.AST]) -> dict[str, int]:
    """What takes a message, and as which positional argument: failures first of all."""
    nodes = [node for tree in trees for node in ast.walk(tree)]
    classes = [node for node in nodes if isinstance(node, ast.ClassDef)]
    failures = {Failure.__name__}
    while more := {c.name for c in classes if any(_name(base) in failures for base in c.bases)} - failures:
        failures |= more
    takers = {
        node.name: names.index("what") - (names[0] == "self")
        for node in nodes
        if isinstance(node, ast.FunctionDef)
        and "what" in (names := [argument.arg for argument in node.args.args])
    }
    return takers | dict.fromkeys(failures, 0) | _TAKERS


def spoken(tree: ast.AST, takers: Mapping[str, int]) -> Iterator[str]:
    """The messages in one source."""
    constants = _constants(tree)
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) if takers.get(name) == 0:
                yield from filter(None, [(ast.get_docstring(node) or "").partition("\n")[0]])
            case ast.Call(func=function, args=arguments, keywords=keywords) if _name(function) in takers:
                position = takers[_name(function)]
                for argument in arguments[position : position + 1]:
                    yield from _literals(argument, constants)
                for keyword in keywords:
                    if keyword.arg in _KEYWORDS:
                        yield from _literals(keyword.value, constants)
            case ast.Return(value=ast.Tuple(elts=parts)):
                for part in parts:
                    yield from filter(_is_sentence, _literals(part, {}))


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _constants(tree: ast.AST) -> dict[str, list[ast.expr]]:
    """What is assigned to each name in a file: messages are often named before they are raised."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                found.setdefault(_name(target), []).append(node.value)
    return found


def _literals(node: ast.expr, constants: Mapping[str, list[ast.expr]]) -> Iterator[str]:
    match node:
        case ast.Constant(value=str(text)) if text:
            yield text
        case ast.IfExp(body=one, orelse=other):
            yield from _literals(one, constants)
            yield from _literals(other, constants)
        case ast.Name(id=name) if name in constants:
            for value in constants[name]:
                yield from _literals(value, {})


def _is_sentence(text: str) -> bool:
    return " " in text and text[-1] in ".:?" and "SELECT" not in text


def _has_words(message: str) -> bool:
    return any(map(str.isalpha, re.sub(r"\{\w+\}", "", message)))


def _written(template: Path) -> Iterator[str]:
    from babel.messages.extract import extract_from_file

    for _, message, _, _ in extract_from_file("jinja2.ext:babel_extract", template):
        yield message if isinstance(message, str) else message[0]


def main() -> int:
    """List what is missing; the exit code is 1 if anything is."""
    found = missing()
    for message, file in found.items():
        quoted = message.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        print(f'#: {file}\nmsgid "{quoted}"\nmsgstr ""\n')
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
