"""The engine on real recordings, and pushed for long: what no made-up clip would show."""

from __future__ import annotations

import json
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from distill.audio import read
from distill.errors import AudioError
from distill.files import write_json
from distill.metrics import ccc
from export.c.compiled import as_float, to_samples
from export.ladder import LIMITS
from tests.export.c.test_engine import ARCHS, EXTREMES, SANITIZED, heard_by

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "engine-pushes.json"

CLIPS, LONGEST = 200, 5.0

#: Pushes in all, and what they are of: random pieces of so many samples at most.
PUSHES, MOST = 10_000_000, (6, 40, 400)


@pytest.fixture(scope="module")
def recordings(shared) -> list[np.ndarray]:
    """Recordings of several collections, int16 [samples] each, up to `LONGEST` seconds."""
    files = sorted(path for path in shared.rglob("*") if path.suffix in (".wav", ".flac"))
    found = []
    for path in files[:: max(1, len(files) // (2 * CLIPS))]:
        try:
            signal = read(path)[: int(LONGEST * 16_000)]
        except AudioError:
            continue
        if len(signal) >= 4_000 and len(found) < CLIPS:
            found.append(to_samples(signal))
    return found


@pytest.mark.parametrize("arch", ARCHS)
def test_two_hundred_clips_answer_as_the_onnx_file_does(engine, written, recordings, arch):
    assert len(recordings) == CLIPS
    found = np.stack([as_float(engine(arch).hear([clip])) for clip in recordings])
    expected = np.stack([heard_by(written(arch).onnx, clip) for clip in recordings])
    assert np.abs(found - expected).max() < LIMITS["c"].max_abs
    assert min(ccc(found[:, axis], expected[:, axis]) for axis in range(3)) > LIMITS["c"].ccc


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_ten_million_pushes(program, clips, tmp_path):
    """Random pieces of random contents, again and again, under the sanitizers: the same answers every time. The plain C
    kernels, which every target's are compared with, of the layout that hears fastest and of that which streams."""
    rng, pushed = np.random.default_rng(0), 0
    contents = [*EXTREMES.values(), *clips, *(rng.integers(-level, level, 16_000) for level in (2, 300, 32_768))]
    for number, clip in enumerate(contents):
        (tmp_path / f"{number}.pcm").write_bytes(clip.astype("<i2").tobytes())
    drivers = [
        program(arch, "driver.c", *SANITIZED[1:], "-O2", "-DSTUDENT_PORTABLE")
        for arch in ("wav2small-lite", "wav2small-stream")
    ]

    def pushes(task: tuple[Path, int, int, int]) -> int:
        driver, number, seed, most = task
        done = subprocess.run([driver, f"{number}.pcm", "4", str(seed), str(most)], cwd=tmp_path, capture_output=True)
        assert done.returncode == 0, (number, seed, most, done.stderr)
        return int(done.stdout.split()[3])

    seed, answered = 0, 0
    with ThreadPoolExecutor(2) as pool:
        while pushed < PUSHES:
            tasks = [(driver, number, seed := seed + 1, MOST[seed % len(MOST)])
                     for driver in drivers for number in range(len(contents))]  # fmt: skip
            pushed += sum(pool.map(pushes, tasks))
            answered += 4 * len(tasks)
    write_json(RESULTS, {
        "pushes": pushed, "answers": answered, "contents": len(contents), "longest_piece": max(MOST),
        "layouts": ["wav2small-lite", "wav2small-stream"], "sanitizers": ["undefined", "address"], "failures": 0,
        "machine": platform.machine(), "compiler": compiler_version(),
    })  # fmt: skip
    assert json.loads(RESULTS.read_text())["pushes"] >= PUSHES


def compiler_version() -> str:
    return subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
