"""The examples in the documentation of the code hold, and the command lines in the documents can be given."""

from __future__ import annotations

import doctest
import importlib
import re
import shlex
from pathlib import Path

import click
import pytest

from distill import cli

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


COMMAND_LINES = sorted(
    {
        (path.relative_to(ROOT).as_posix(), line)
        for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md"))
        for line in re.findall(
            r"^(?: {4}|\$ )?(?:.*-m )?(distill [a-z][^|\n]*)$", path.read_text(encoding="utf-8"), re.M
        )
    }
)


@pytest.mark.parametrize(("document", "line"), COMMAND_LINES)
def test_every_command_line_in_the_documents_can_be_given(document: str, line: str) -> None:
    """Options, choices and what is required are checked as on the command line; nothing is run."""
    name, *arguments = shlex.split(line, comments=True)[1:]
    command: click.Command = cli.find(cli.COMMANDS[name])
    while isinstance(command, click.Group):
        name, *arguments = arguments
        command = command.commands[name]
    command.make_context(name, arguments)
