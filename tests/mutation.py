"""Faults planted in the core by cosmic-ray, one at a time: do the tests notice?

    python -m tests.mutation [--each 80] [MODULE ...] -o benchmarks/results/mutation.json

Of every module so many mutants are drawn (seeded); the tests that stand beside it run once for each, in a fork of this
process that has the libraries loaded already. What no test noticed is listed with its line. Mutants that change nothing
a test could see are left in: the share is a lower bound. Run it where nobody edits: the module's file is changed and put
back.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import re
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from distill.files import write_json
from distill.progress import Progress, say

#: The core, and the tests beside it.
CORE = {
    "distill/table.py": ["tests/distill/test_table.py"],
    "distill/metrics.py": ["tests/distill/test_metrics.py"],
    "students/wav2small.py": ["tests/students/test_wav2small.py"],
    "students/frontend.py": ["tests/students/test_wav2small.py"],
    "students/split.py": ["tests/students/test_split.py"],
    "distill/learning/splits.py": ["tests/students/test_split.py", "tests/distill/test_learning.py"],
    "distill/learning/loss.py": ["tests/distill/test_learning.py"],
    "export/ladder.py": ["tests/export/test_ladder.py"],
}

#: Third-party modules that every fork has at hand.
_LOADED_ONCE = ("numpy", "torch", "pyarrow.parquet", "onnx", "onnxruntime", "soundfile", "soxr", "pytest")

#: Annotations are text here (`from __future__ import annotations`), and `|` stands in nothing else; the operators on
#: variables have to be told which.
_NO_FAULT = re.compile(r"core/(ReplaceBinaryOperator_BitOr_|RemoveDecorator|Variable)")

#: A mutant that runs so many times as long as the tests without it never ends.
_PATIENCE = 10.0


class Mutant(NamedTuple):
    """A file with one fault. line: of the fault, from 1."""

    operator: str
    line: int
    source: str


def mutants(module: Path) -> Iterator[Mutant]:
    """All that cosmic-ray's operators make of a module, the ones that change annotations left out."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    source = module.read_text(encoding="utf-8")
    tree = get_ast(source)
    for name in operator_names():
        if _NO_FAULT.match(name):
            continue
        operator = get_operator(name)()
        places = [place for node in ast_nodes(tree) for place in operator.mutation_positions(node)]
        for occurrence, ((line, _), _) in enumerate(places):
            changed = mutate_code(source, operator, occurrence)
            if changed is not None and changed != source:
                yield Mutant(name.removeprefix("core/"), line, changed)


def survivors(module: Path, tests: Sequence[str], each: int, progress: Progress) -> tuple[int, list[Mutant]]:
    """How many mutants of the module were tried, and those that its tests did not notice.

    Raises:
        SystemExit: the tests fail without any fault.
    """
    seconds = _seconds_without_fault(tests)
    drawn = list(mutants(module))
    random.Random(str(module)).shuffle(drawn)
    original = module.read_text(encoding="utf-8")
    alive = []
    try:
        for mutant in drawn[:each]:
            module.write_text(mutant.source, encoding="utf-8")
            if _passes(tests, _PATIENCE * seconds + 10):
                alive.append(mutant)
            progress.advance()
    finally:
        module.write_text(original, encoding="utf-8")
    return min(each, len(drawn)), sorted(alive, key=lambda mutant: mutant.line)


def _seconds_without_fault(tests: Sequence[str]) -> float:
    began = time.monotonic()
    if not _passes(tests, 600):
        raise SystemExit(f"{' '.join(tests)}: fails without a fault; mend that first")
    return time.monotonic() - began


def _passes(tests: Sequence[str], seconds: float) -> bool:
    """Whether the tests pass, in a fork that is given so many seconds."""
    child = os.fork()
    if child == 0:
        _run(tests)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run(tests: Sequence[str]) -> None:
    """The tests, in this process, which ends with them. Nothing of ours may be loaded yet but this file's own needs."""
    import pytest

    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    for name in [name for name in sys.modules if name.split(".")[0] in ("distill", "students", "export", "teacher")]:
        del sys.modules[name]
    sys.dont_write_bytecode = True  # a mutant of the same size and second would be taken for the last one
    code = 1
    try:
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    finally:
        os._exit(code)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where fewer than 85 % of all mutants were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=list(CORE))
    parser.add_argument("--each", type=int, default=80, help="mutants drawn of a module [80]")
    parser.add_argument("-o", "--output", type=Path, help="JSON to write")
    given = parser.parse_args(arguments)
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the module is put back then, too
    for name in _LOADED_ONCE:
        importlib.import_module(name)
    told: dict[str, Any] = {}
    with Progress("mutants", given.each * len(given.modules), "mutants") as progress:
        for name in given.modules:
            tried, alive = survivors(Path(name), CORE[name], given.each, progress)
            listed = [{"line": mutant.line, "operator": mutant.operator} for mutant in alive]
            told[name] = {"tried": tried, "killed": tried - len(alive), "survived": listed}
            say(f"{name}: {tried - len(alive)} of {tried} noticed")
    tried, killed = (sum(module[key] for module in told.values()) for key in ("tried", "killed"))
    say(f"{killed} of {tried} mutants noticed, {killed / tried:.1%}")
    if given.output:
        write_json(given.output, {"tried": tried, "killed": killed, "share": killed / tried, "modules": told})
    return int(killed < 0.85 * tried)


if __name__ == "__main__":
    sys.exit(main())
