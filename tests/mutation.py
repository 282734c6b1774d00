"""Faults planted in the core by cosmic-ray, one at a time: do the tests notice?

    python -m tests.mutation [--each 80] [MODULE ...] -o benchmarks/results/mutation.json

Of every module so many mutants are drawn (seeded); the tests that stand beside it run once for each, in a fork of this
process that has the libraries loaded already. What no test noticed is listed with its line. Mutants that change nothing
a test could see are left in: the share is a lower bound. Faults are planted in a copy of the code; this one stays.
"""

from __future__ import annotations

import argparse
import importlib
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from distill.files import write_json
from distill.progress import Progress, say

ROOT = Path(__file__).parents[1]

_EXAMPLES = "tests/test_examples.py::test_the_examples_hold"

#: The core, and the tests beside it: those of its own examples come first, for they are quick.
CORE = {
    "distill/table.py": [f"{_EXAMPLES}[distill/table]", "tests/distill/test_table.py"],
    "distill/parts.py": [f"{_EXAMPLES}[distill/parts]", "tests/distill/test_parts.py"],
    "distill/metrics.py": [f"{_EXAMPLES}[distill/metrics]", "tests/distill/test_metrics.py"],
    "students/wav2small.py": [f"{_EXAMPLES}[students/wav2small]", "tests/students/test_wav2small.py"],
    "students/frontend.py": [f"{_EXAMPLES}[students/frontend]", "tests/students/test_frontend.py"],
    "students/split.py": ["tests/students/test_split.py"],
    "distill/learning/splits.py": [f"{_EXAMPLES}[distill/learning/splits]", "tests/distill/test_learning.py"],
    "distill/learning/loss.py": [f"{_EXAMPLES}[distill/learning/loss]", "tests/distill/test_learning.py"],
    "export/ladder.py": [f"{_EXAMPLES}[export/ladder]", "tests/export/test_ladder.py"],
}

#: What those tests need to run: folders and files of this project.
_NEEDED = ("distill", "teacher", "students", "export", "benchmarks", "tests", "pyproject.toml")

#: Third-party modules that every fork has at hand.
_LOADED_ONCE = (
    "numpy", "torch", "torch._dynamo", "pyarrow.parquet", "pyarrow.compute", "onnx", "onnxruntime", "soundfile", "soxr",
    "librosa", "audmetric", "pytest",
)  # fmt: skip

#: Annotations are text here (`from __future__ import annotations`), and `|` stands in nothing else; the operators on
#: variables have to be told which.
_NO_FAULT = re.compile(r"core/(ReplaceBinaryOperator_BitOr_|Variable)")

#: A mutant that runs so many times as long as the tests without it never ends.
_PATIENCE = 10.0


class Mutant(NamedTuple):
    """A file with one fault. line: of the fault, from 1."""

    operator: str
    line: int
    source: str


def mutants(source: str, *, seed: str = "") -> Iterator[Mutant]:
    """What cosmic-ray's operators make of some source, in an order that follows from the seed. Those that change
    annotations, or are no Python any more, are left out."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator, operator_names

    nodes = list(ast_nodes(get_ast(source)))
    operators = {name: get_operator(name)() for name in sorted(operator_names()) if not _NO_FAULT.match(name)}
    places = []
    for name, operator in operators.items():
        found = [(node, line) for node in nodes for (line, _), _ in operator.mutation_positions(node)]
        # cosmic-ray takes the `*` before keyword-only parameters for a product
        places += [(name, n, line) for n, (node, line) in enumerate(found) if node.parent.type != "parameters"]
    random.Random(seed).shuffle(places)
    for name, occurrence, line in places:
        try:
            changed = mutate_code(source, operators[name], occurrence)
            compile(changed, name, "exec", dont_inherit=True)
        except (AttributeError, SyntaxError):
            continue  # it also stumbles over `except (module.Name, ...)`
        if changed != source:
            yield Mutant(name.removeprefix("core/"), line, changed)


def survivors(
    root: Path, module: str, tests: Sequence[str], each: int, progress: Progress | None = None
) -> tuple[int, list[Mutant]]:
    """How many mutants of a module were tried, and those that its tests did not notice.

    root: the folder that module and tests are in; the module there is changed, and put back.

    Raises:
        SystemExit: the tests fail without any fault.
    """
    seconds = _seconds_without_fault(root, tests)
    original = (root / module).read_text(encoding="utf-8")
    drawn, alive = list(islice(mutants(original, seed=module), each)), []
    try:
        for mutant in drawn:
            (root / module).write_text(mutant.source, encoding="utf-8")
            if _passes(root, tests, _PATIENCE * seconds + 10):
                alive.append(mutant)
            if progress:
                progress.advance()
    finally:
        (root / module).write_text(original, encoding="utf-8")
    return len(drawn), sorted(alive, key=lambda mutant: mutant.line)


def _seconds_without_fault(root: Path, tests: Sequence[str]) -> float:
    began = time.monotonic()
    if not _passes(root, tests, 600):
        raise SystemExit(f"{' '.join(tests)}: fails without a fault; mend that first")
    return time.monotonic() - began


def _passes(root: Path, tests: Sequence[str], seconds: float) -> bool:
    """Whether the tests pass, in a fork that is given so many seconds."""
    child = os.fork()
    if child == 0:
        _run(root, tests)
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status) == 0
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return False


def _run(root: Path, tests: Sequence[str]) -> None:
    """The tests, in this process, which ends with them. What is imported from here is imported anew from `root`."""
    code = 1
    try:
        import pytest

        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        sys.stdout = sys.stderr = os.fdopen(quiet, "w")
        for name in [name for name in sys.modules if name.split(".")[0] in _NEEDED]:
            del sys.modules[name]
        os.chdir(root)
        sys.path.insert(0, str(root))
        sys.dont_write_bytecode = True  # a mutant of the same size and second would be taken for the last one
        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", "-m", "not long", *tests]))
    finally:
        os._exit(code)


def _copy(to: Path) -> Path:
    for name in _NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, to / name, ignore=shutil.ignore_patterns("__pycache__", "results"))
        else:
            shutil.copy(ROOT / name, to)
    return to


def _summary(told: Mapping[str, Any]) -> dict[str, Any]:
    tried, killed = (sum(module[key] for module in told.values()) for key in ("tried", "killed"))
    return {"tried": tried, "killed": killed, "share": killed / tried, "modules": told}


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 1 where fewer than 85 % of a module's mutants were noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="*", metavar="MODULE", default=list(CORE))
    parser.add_argument("--each", type=int, default=80, help="mutants drawn of a module [80]")
    parser.add_argument("-o", "--output", type=Path, help="JSON to write")
    given = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # the copy is taken away then, too
    for name in _LOADED_ONCE:
        importlib.import_module(name)
    told: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="mutation-") as folder,
        Progress("mutants", given.each * len(given.modules), "mutants") as progress,
    ):
        root = _copy(Path(folder))
        for name in given.modules:
            tried, alive = survivors(root, name, CORE[name], given.each, progress)
            listed = [{"line": mutant.line, "operator": mutant.operator} for mutant in alive]
            told[name] = {"tried": tried, "killed": tried - len(alive), "survived": listed}
            say(f"{name}: {tried - len(alive)} of {tried} noticed")
            if given.output:
                write_json(given.output, _summary(told))
    summary = _summary(told)
    say(f"{summary['killed']} of {summary['tried']} mutants noticed, {summary['share']:.1%}")
    return int(any(module["killed"] < 0.85 * module["tried"] for module in told.values()))


if __name__ == "__main__":
    sys.exit(main())
