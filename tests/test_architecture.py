"""The rules of the house that a reader of the code relies on, held by parsing it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

#: Arrows point down: what each room may import of the others.
MAY_IMPORT = {
    "distill": set(),
    "teacher": {"distill"},
    "students": {"distill"},
    "export": {"distill", "students"},
    "benchmarks": {"distill", "students", "export"},
}

MODULES = [path for room in MAY_IMPORT for path in sorted((ROOT / room).rglob("*.py"))]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(source: str) -> Iterator[str]:
    """Modules that some source imports, anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def rooms_of(source: str) -> set[str]:
    return {module.split(".")[0] for module in imported(source)}


def test_the_parser_sees_imports_wherever_they_stand() -> None:
    source = "import a.b\ndef f():\n    from c.d import e\n    from . import g\n    import h as i, j"
    assert list(imported(source)) == ["a.b", "c.d", ".", "h", "j"]


def test_there_is_something_to_hold() -> None:
    assert len(MODULES) > 40 and {path.relative_to(ROOT).parts[0] for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_arrows_point_down(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    others = rooms_of(path.read_text()) & set(MAY_IMPORT) - {room}
    assert others <= MAY_IMPORT[room]
    assert not any(module.startswith(".") for module in imported(path.read_text()))


@pytest.mark.parametrize("path", [p for p in MODULES if p.is_relative_to(ROOT / "distill")], ids=name)
def test_the_edge_never_imports_torch(path: Path) -> None:
    if path.is_relative_to(ROOT / "distill" / "learning"):
        return
    assert not rooms_of(path.read_text()) & {"torch", "torchaudio", "timm", "transformers"}
    assert not any(module.startswith("distill.learning") for module in imported(path.read_text()))


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_every_module_has_a_name_and_says_what_it_is(path: Path) -> None:
    assert path.stem not in ("utils", "util", "helpers", "misc", "common")
    source = path.read_text()
    assert ast.get_docstring(ast.parse(source)) or not source.strip()


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_nothing_is_loaded_that_could_run_or_be_left_out(path: Path) -> None:
    text = path.read_text()
    for forbidden in ("trust_remote_code", "weights_only=False", r"load_state_dict\([^)]*strict=False"):
        assert not re.search(forbidden, text)
    assert not rooms_of(text) & {"dill", "joblib", "cloudpickle"}
    assert not re.search(r"allow_pickle=True|pickle\.(load|Unpickler\b)|from pickle", text)
