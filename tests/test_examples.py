"""The examples in docstrings hold."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

ROOMS = ("distill", "teacher", "students", "export", "benchmarks")


def names() -> list[str]:
    """Modules whose docstrings hold an example."""
    found = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")) if ">>> " in path.read_text()]
    return [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in found]


@pytest.mark.parametrize("name", names())
def test_examples_in_docstrings_hold(name: str) -> None:
    ran = doctest.testmod(import_module(name))
    assert ran.attempted > 0 and ran.failed == 0
