"""The examples in the documentation of the code hold."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

WITH_EXAMPLES = [
    path.relative_to(ROOT).with_suffix("")
    for room in ("distill", "teacher", "students", "export", "benchmarks")
    for path in sorted((ROOT / room).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", WITH_EXAMPLES, ids=str)
def test_the_examples_hold(module: Path) -> None:
    found = doctest.testmod(importlib.import_module(".".join(module.parts).removesuffix(".__init__")))
    assert found.attempted and not found.failed
