"""Compiled for the cores that it is meant for: without a warning, without recursion, with a stack that is known."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections import defaultdict

import pytest

CORES = ("cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")

STRICT = ("-std=c99", "-mthumb", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Wcast-qual", "-Werror")

#: What a function in assembly, or of the compiler's own library, takes at most: nine registers, a pair, a few words.
OUTSIDE = 64


@pytest.fixture(scope="module")
def arm(lacking):
    return shutil.which("arm-none-eabi-gcc") or lacking("arm", "needs gcc-arm-none-eabi")


def compiled_for(arm, core, folder, tmp_path, *flags):
    made = tmp_path / "student.o"
    subprocess.run([arm, *STRICT, f"-mcpu={core}", *flags, "-c", folder / "student.c", "-o", made], check=True)
    return made


@pytest.mark.parametrize("core", CORES)
def test_no_core_is_warned_of_anything(arm, written, tmp_path, core):
    compiled_for(arm, core, written("wav2small").folder, tmp_path, "-O2")


@pytest.mark.parametrize("flags", [("-Os", "-DSTUDENT_PORTABLE"), ("-O0", "-DSTUDENT_MAX_SECONDS=1")])
@pytest.mark.parametrize("arch", ["wav2small-lite", "wav2small-17k"])
def test_no_way_to_compile_is_warned_of(arm, written, tmp_path, arch, flags):
    compiled_for(arm, "cortex-m4", written(arch).folder, tmp_path, *flags)


@pytest.mark.parametrize("core", ["cortex-m3", "cortex-m4"])
def test_flash_and_memory_are_small(arm, written, tmp_path, core):
    built = compiled_for(arm, core, written("wav2small").folder, tmp_path, "-O2")
    said = subprocess.run(["arm-none-eabi-size", built], capture_output=True, text=True, check=True).stdout
    text, data, bss = map(int, said.splitlines()[1].split()[:3])
    assert text < 90_000 and data == bss == 0  # all state is the caller's


@pytest.mark.parametrize("core, optimised", [("cortex-m3", "-O2"), ("cortex-m4", "-Os"), ("cortex-m55", "-O2")])
def test_the_stack_is_known_and_nothing_calls_itself(arm, written, tmp_path, core, optimised):
    folder = written("wav2small").folder
    compiled_for(arm, core, folder, tmp_path, optimised, "-fcallgraph-info=su", "-fstack-usage")
    text = (tmp_path / "student.ci").read_text()
    own = {name: int(size) for name, size in re.findall(r'node: \{ title: "([^"]+)" label: "[^"]*?(\d+) bytes', text)}
    assert "dynamic" not in (tmp_path / "student.su").read_text()
    calls = defaultdict(set)
    for caller, called in re.findall(r'edge: \{ sourcename: "([^"]+)" targetname: "([^"]+)"', text):
        calls[caller].add(called)

    @functools.cache
    def deepest(name, above=()):
        assert name not in above, f"{name} calls itself"
        return own.get(name, OUTSIDE) + max((deepest(called, (*above, name)) for called in calls[name]), default=0)

    assert {"student_push", "student_result"} <= own.keys()
    assert 100 < max(deepest(name) for name in own) < 1200
