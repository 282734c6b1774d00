"""The bracket against Arm's tables, an instruction at a time."""

import pytest

from benchmarks.emulated.counting import Count
from benchmarks.emulated.cycles import bracket
from distill.errors import DistillError


def taken(name, operands="r0, r1", timings="m4", left=0):
    found = bracket({0: Count(1, left)}, {0: (name, operands)}, timings)
    return found["low"], found["high"]


@pytest.mark.parametrize(
    ("name", "operands", "expected"),
    [
        ("adds", "r0, r1", (1, 1)),
        ("lsls", "r0, r1", (1, 1)),
        ("muls", "r0, r1", (1, 1)),
        ("mls", "r0, r1, r2, r3", (1, 1)),
        ("ldrsh.w", "r0, [r1], #2", (1, 2)),
        ("str", "r0, [r1]", (1, 2)),
        ("ldrd", "r0, r1, [r2]", (3, 3)),
        ("push", "{r4, r5, r6, lr}", (5, 5)),
        ("ldmia.w", "r1!, {r3, r4, r5, r8}", (5, 5)),
        ("vpush", "{d8-d9}", (5, 5)),
        ("sdiv", "r0, r1, r2", (2, 12)),
        ("smlad", "r0, r1, r2, r3", (1, 1)),
        ("smmulr", "r0, r1, r2", (1, 1)),
        ("smlabb", "r0, r1, r2, r3", (1, 1)),
        ("smlal", "r0, r1, r2, r3", (1, 1)),
        ("uxtb16", "r0, r1, ror #8", (1, 1)),
        ("usat", "r0, #8, r1", (1, 1)),
        ("ite", "ne", (0, 1)),
        ("ldrne", "r0, [r1]", (1, 2)),
        ("bls.n", "10", (1, 1)),
        ("vmla.f32", "s0, s1, s2", (3, 3)),
        ("vdiv.f32", "s0, s1, s2", (14, 14)),
    ],
)
def test_on_a_cortex_m4(name, operands, expected):
    assert taken(name, operands) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("mla", (2, 2)), ("mul", (1, 1)), ("smull", (3, 5)), ("umlal", (4, 7)), ("udiv", (2, 12)), ("ldrb", (1, 2))],
)
def test_on_a_cortex_m3(name, expected):
    assert taken(name, timings="m3") == expected


def test_a_branch_taken_fills_the_pipeline_anew():
    assert taken("beq.n", "10", left=1) == (2, 4)
    assert taken("pop", "{r4, pc}", left=1) == (4, 6)


def test_an_instruction_whose_condition_may_fail_is_one_at_least():
    assert taken("udivne", "r0, r1, r2") == (1, 12)
    assert taken("popeq", "{r4, r5}") == (1, 3)


@pytest.mark.parametrize(("name", "timings"), [("smlad", "m3"), ("vmladav.s8", "m4"), ("wonder", "m4")])
def test_what_is_not_in_the_table_is_told(name, timings):
    with pytest.raises(DistillError, match=f"{name} r0, r1: what this instruction takes is not in the table"):
        taken(name, timings=timings)
