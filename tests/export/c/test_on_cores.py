"""The generated folder runs on the cores that it is meant for, emulated, and answers there as it does here."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from benchmarks.emulated.building import tool
from benchmarks.emulated.cores import COMMON, CORES
from benchmarks.emulated.devices import c_answer
from export.c.compiled import compiled

#: As the compiler is told to be of the generated folder.
STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


@pytest.fixture(scope="module", autouse=True)
def arm(lacking):
    missing = [name for name in ("arm-none-eabi-gcc", "qemu-system-arm", "gcc") if shutil.which(name) is None]
    if missing:
        lacking("arm", f"needs {', '.join(missing)}")


@pytest.fixture(scope="module")
def heard(clips):
    """Half a second of what may come: speech, then a square wave as loud as can be, then silence, then a step."""
    square = np.where(np.arange(2000) // 40 % 2, 32767, -32768)
    return np.concatenate([clips[3][:3200], square, np.zeros(1500), np.full(1300, 20000)]).astype(np.int16)


@pytest.mark.parametrize("arch", ["wav2small", "wav2small-lite", "wav2small-17k", "wav2small-stream"])
def test_every_core_answers_as_this_machine_does_to_the_last_bit(written, heard, arch, tmp_path):
    folder = written(arch).folder
    expected = compiled(shutil.copytree(folder, tmp_path / "here"), flags=("-DSTUDENT_PORTABLE",)).hear([heard])
    found = {name: c_answer(core, folder, heard, tmp_path).tolist() for name, core in CORES.items()}
    assert found == dict.fromkeys(CORES, expected.tolist())


@pytest.mark.parametrize("flags", [("-O2",), ("-O0",), ("-Os", "-DSTUDENT_MAX_SECONDS=1")])
@pytest.mark.parametrize("arch", ["wav2small", "wav2small-17k"])
def test_the_vectors_of_helium_compile_without_a_warning(written, arch, flags, tmp_path):
    command = [tool("arm-none-eabi-gcc"), *COMMON, *CORES["cortex-m55"].flags, *STRICT, *flags]
    subprocess.run(
        [*command, "-c", str(written(arch).folder / "student.c"), "-o", str(tmp_path / "student.o")], check=True
    )
