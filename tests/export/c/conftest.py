"""Students in C, of networks that nobody trained: their integers are as good as any."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnx
import pytest
import torch

from export.c.compiled import Engine, compiled, compiler
from export.c.description import describe
from export.c.writing import sources
from export.calibration import observe
from export.check import _settle
from export.golden import synthesised
from export.graph.integer import integer_graph
from export.ladder import session_answer
from export.precision import usual_bits
from students.catalogue import build
from students.quantised import QuantisedVgg

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Written:
    """A student's folder in C, the integers it is made of, and the ONNX file of the same: f(float32 [1, samples])."""

    folder: Path
    network: QuantisedVgg
    onnx: Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def cc(lacking: Callable[[str, str], NoReturn]) -> str:
    """A C compiler of this machine."""
    return compiler() or lacking("cc", "needs a C compiler")


@pytest.fixture(scope="session")
def clips() -> list[np.ndarray]:
    """Speech-like sound, int16 [samples] each."""
    return [clip.pcm for clip in synthesised()]


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory, clips: list[np.ndarray]) -> Callable[..., Written]:
    """written(arch, untaught=(), attention=None): a student of that layout in C, lin and sof of so many bits; not to be
    changed."""

    @functools.cache
    def write(arch: str, untaught: tuple[int, ...] = (), attention: tuple[int, int] | None = None) -> Written:
        return _write(tmp_path_factory.mktemp(arch), arch, clips, untaught, attention)

    return write


@pytest.fixture(scope="session")
def engine(written: Callable[..., Written], cc: str) -> Callable[..., Engine]:
    """engine(arch, *flags): that student compiled for this machine."""

    @functools.cache
    def made(arch: str, *flags: str) -> Engine:
        return compiled(written(arch).folder, flags=("-march=native", *flags))

    return made


@pytest.fixture(scope="session")
def program(written: Callable[..., Written], cc: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """program(arch, source, *flags): one of the C files here, with that student."""

    @functools.cache
    def made(arch: str, source: str, *flags: str) -> Path:
        folder, output = written(arch).folder, tmp_path_factory.mktemp("program") / "program"
        with_engine = [] if source == "inside.c" else [str(folder / "student.c")]
        command = [cc, "-std=c99", "-Wall", "-Wextra", f"-I{folder}", *flags, str(HERE / source), *with_engine]
        subprocess.run([*command, "-o", str(output)], check=True)
        return output

    return made


def _write(
    folder: Path, arch: str, clips: list[np.ndarray], untaught: tuple[int, ...], attention: tuple[int, int] | None
) -> Written:
    torch.manual_seed(7)
    student = build(arch)
    signals = [clip / np.float32(32768) for clip in clips]
    _settle(student, signals[3])
    student.eval()
    bits = usual_bits(student) | ({} if attention is None else dict(zip(("lin", "sof"), attention, strict=True)))
    network = QuantisedVgg(student, bits, observe(student, signals[:10])).eval()
    lacking = np.zeros(3, np.float32)
    lacking[list(untaught)] = np.nan
    for name, text in sources(describe(network, lacking)).items():
        (folder / name).write_text(text)
    onnx.save(integer_graph(network, lacking if untaught else None), folder / "student.onnx")
    return Written(folder, network, session_answer(folder / "student.onnx"))
