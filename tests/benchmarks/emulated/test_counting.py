"""Counts are exact: the same every time, and one more instruction is one more."""

import shutil

import pytest

from benchmarks.emulated import building
from benchmarks.emulated.building import build, check_tools
from benchmarks.emulated.cores import CORES
from benchmarks.emulated.counting import count, total
from benchmarks.emulated.cycles import bracket
from benchmarks.emulated.parts import breakdown, mnemonics
from distill.errors import DistillError

#: A loop of a thousand turns, and a function that takes as much of the stack as it is told.
PROGRAM = r"""
#include "harness.h"
static uint32_t kept;
__attribute__((noinline)) void kernel(uint32_t turns)
{
    __asm volatile("1: subs %0, #1\n" EXTRA "bne 1b" : "+r"(turns) : : "cc");
}
__attribute__((noinline)) void deep(void)
{
    volatile char taken[STACK];
    for (unsigned i = 0; i < STACK; i++) taken[i] = 1;
    kept += taken[STACK - 1];
}
HARNESS int main(void)
{
    char *words[2];
    if (harness_arguments(words, 2) != 2) harness_fail("one word is wanted");
    kernel(77);
    harness_paint();
    harness_begin();
    kernel(1000);
    deep();
    harness_end();
    kernel(99);
    uint32_t stack = harness_stack();
    harness_write(words[1], &stack, sizeof stack);
    return 0;
}
"""

_MEASURED = '#include "harness.h"\n__attribute__((noinline)) int work(void) { __asm volatile(""); return 0; }'


@pytest.fixture(scope="module")
def program(arm, tmp_path_factory):
    """program(core, extra="", stack=16): compiled, once for each."""
    made = {}

    def make(core, extra="", stack=16):
        if (core, extra, stack) not in made:
            folder = tmp_path_factory.mktemp("program")
            (folder / "main.c").write_text(PROGRAM)
            flags = ["-g", f'-DEXTRA="{extra}"', f"-DSTACK={stack}"]
            made[core, extra, stack] = build(CORES[core], [folder / "main.c"], folder / "main.elf", flags=flags)
        return made[core, extra, stack]

    return make


@pytest.fixture(scope="module")
def counted(program, tmp_path_factory):
    """counted(core, ...): what `count` finds, and the bytes of stack that the program says were used."""

    def run(core, **how):
        folder = tmp_path_factory.mktemp("counted")
        counts = count(CORES[core], program(core, **how), ["stack.bin"], folder=folder)
        return counts, int.from_bytes((folder / "stack.bin").read_bytes(), "little")

    return run


def test_five_runs_count_alike(counted):
    runs = [counted("cortex-m4")[0] for _ in range(5)]
    assert all(run == runs[0] for run in runs)


@pytest.mark.parametrize("core", CORES)
def test_one_more_instruction_is_one_more(counted, core):
    plain, more = (total(counted(core, extra=extra)[0]) for extra in ("", r"nop\n"))
    assert more - plain == 1000


def test_branches_taken(counted, program):
    counts, _ = counted("cortex-m3")
    loop = [one for one in counts.values() if one.executed == 1000]
    assert sorted((one.executed, one.left) for one in loop) == [(1000, 0), (1000, 999)]


def test_only_between_the_marks(counted, program):
    """Of the three calls of the kernel the middle one is counted, and nothing of the harness."""
    made = program("cortex-m4")
    counts, _ = counted("cortex-m4")
    assert breakdown(made.path, counts, {"kernel": "kernel"})["kernel"] == 2 * 1000 + 1
    assert set(breakdown(made.path, counts, {"kernel": "kernel", "deep": "deep"})) == {"kernel", "deep"}


def test_stack_is_what_was_written(counted):
    small, large = (counted("cortex-m4", stack=stack)[1] for stack in (16, 2016))
    assert large - small == 2000
    assert 16 <= small < 64


def test_cycles_of_a_loop(counted, program):
    counts, _ = counted("cortex-m4", extra=r"nop\n")
    names = mnemonics(program("cortex-m4", extra=r"nop\n").path)
    loop = {at: one for at, one in counts.items() if one.executed == 1000}
    assert [names[at][0].split(".")[0] for at in sorted(loop)] == ["subs", "nop", "bne"]
    assert bracket(loop, names, "m4") == {"low": 3 * 1000 + 999, "high": 3 * 1000 + 3 * 999}


def test_flash_and_memory_are_without_the_harness(program):
    made = program("cortex-m3")
    assert 30 < made.flash < 200
    assert made.static_ram == 8  # `kept`, in steps of eight


def test_a_program_that_stops_says_why(program, tmp_path):
    with pytest.raises(DistillError, match="it fails on Cortex-M4: one word is wanted"):
        count(CORES["cortex-m4"], program("cortex-m4"), folder=tmp_path)


def test_a_fault_is_told(arm, tmp_path):
    (tmp_path / "main.c").write_text(f'{_MEASURED} HARNESS int main(void) {{ __asm volatile("udf"); return work(); }}')
    made = build(CORES["cortex-m55"], [tmp_path / "main.c"], tmp_path / "main.elf")
    with pytest.raises(DistillError, match="the core took a fault"):
        count(CORES["cortex-m55"], made, folder=tmp_path)


def test_a_program_without_an_end_mark(arm, tmp_path):
    (tmp_path / "main.c").write_text(f"{_MEASURED} HARNESS int main(void) {{ harness_begin(); return work(); }}")
    made = build(
        CORES["cortex-m3"], [tmp_path / "main.c"], tmp_path / "main.elf", flags=["-Wl,--undefined=harness_end"]
    )
    with pytest.raises(DistillError, match="without reaching the end mark"):
        count(CORES["cortex-m3"], made, folder=tmp_path)


def test_what_does_not_compile(arm, tmp_path):
    (tmp_path / "main.c").write_text("int main(void) { return nothing; }")
    with pytest.raises(DistillError, match=r"arm-none-eabi-gcc fails: .*nothing"):
        build(CORES["cortex-m3"], [tmp_path / "main.c"], tmp_path / "main.elf")


def test_a_tool_that_is_missing(monkeypatch):
    there = shutil.which
    monkeypatch.setattr(building.shutil, "which", lambda name: None if name == "qemu-system-arm" else there("sh"))
    with pytest.raises(DistillError, match="qemu-system-arm is needed; on Debian: apt-get install"):
        check_tools()
