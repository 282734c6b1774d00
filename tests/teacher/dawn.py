"""What the tests of "Dawn" find in the bundled teacher and the student: the recipe, as one JSON and one page.

python -m tests.teacher.dawn -o benchmarks/results/teachers
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.evaluation import fairness, implicit
from distill.files import write_json, write_text
from distill.recipe import run_recipe
from teacher.comparison_table import across_as_table

ROOT = Path(__file__).parents[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    stages = run_recipe(ROOT / "benchmarks" / "recipes" / "dawn.yaml", quiet=True)
    write_json(given.output / "dawn.json", stages)
    write_text(given.output / "dawn.md", as_page(stages))


def as_page(stages: Sequence[Mapping[str, Any]]) -> str:
    """The results of the recipe as Markdown."""
    return "\n".join(_lines(stages)) + "\n"


def _lines(stages: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield "# The tests of Dawn, on the train speakers of EMO-DB"
    yield ""
    yield "Both have learned from these speakers: agreement and ranking are better here than on others, how an answer"
    yield "changes is not. docs/evaluation.md says how to read it."
    for stage in stages[:2]:
        asked = stage["result"]["asked"]
        yield ""
        yield f"## {asked.get('teacher') or asked['student']}"
        yield ""
        yield f"    {stage['command']}"
        yield ""
        yield "```"
        yield fairness.as_table(stage["result"]["fairness"])
        yield ""
        yield implicit.as_table(stage["result"]["implicit_text"])
        yield "```"
    yield ""
    yield f"    {stages[2]['command']}"
    yield ""
    yield across_as_table(stages[2]["result"]).rstrip().replace("\n#", "\n##").replace("# ", "## ", 1)


if __name__ == "__main__":
    main()
