"""The runner of mutants tells faults that tests notice from those that they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation import CORE, ROOT, mutants, survivors

pytest.importorskip("cosmic_ray", reason="mutation testing needs cosmic-ray: pip install -e '.[mutation]'")

TOY = """def area(width, *, height):
    return width * height

def unseen():
    return 7
"""


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """A module of two functions, whose tests look at the first."""
    (tmp_path / "toy.py").write_text(TOY)
    (tmp_path / "test_toy.py").write_text("from toy import area\n\ndef test():\n    assert area(3, height=5) == 15\n")
    return tmp_path


def test_faults_that_no_test_sees_are_named_by_line(toy: Path) -> None:
    tried, alive = survivors(toy, "toy.py", ["test_toy.py"], 8)
    assert tried == 8 and {mutant.line for mutant in alive} == {5}
    assert {mutant.operator for mutant in alive} == {"NumberReplacer"}
    assert (toy / "toy.py").read_text() == TOY


def test_tests_that_fail_without_a_fault_say_so(toy: Path) -> None:
    (toy / "test_toy.py").write_text("def test():\n    assert False\n")
    with pytest.raises(SystemExit, match="fails without a fault"):
        survivors(toy, "toy.py", ["test_toy.py"], 1)


def test_what_cosmic_ray_stumbles_over_is_left_out() -> None:
    caught = "try:\n    x = 1\nexcept (a.B, OSError):\n    pass\n"
    assert {mutant.operator for mutant in mutants(caught)} == {"ExceptionReplacer", "NumberReplacer"}


def test_mutants_are_python_differ_and_follow_from_the_seed() -> None:
    found = [mutant.source for mutant in mutants(TOY, seed="a")]
    assert TOY not in found and all(compile(source, "toy", "exec") for source in found)
    assert found == [mutant.source for mutant in mutants(TOY, seed="a")]
    other = [mutant.source for mutant in mutants(TOY, seed="b")]
    assert found != other and sorted(found) == sorted(other)


@pytest.mark.parametrize("module", CORE)
def test_the_core_and_its_tests_are_there(module: str) -> None:
    assert all((ROOT / path.split("::")[0]).is_file() for path in (module, *CORE[module]))
