"""`distill benchmark-engine`: the C engine of every layout, untrained, on every emulated core."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.emulated.building import check_tools
from benchmarks.emulated.cores import CORES, core
from benchmarks.emulated.devices import SECONDS, clip, on_core
from benchmarks.emulated.untrained import settled, write_c
from distill.files import plain, reject_no_json, write_json
from distill.progress import Progress
from students.catalogue import STUDENTS, build
from students.wav2small import Vgg7


def benchmark_engine(
    *, layouts: Sequence[str] = (), cores: Sequence[str] = tuple(CORES), seconds: float = SECONDS,
    output: str | Path | None = None,
) -> dict[str, dict[str, Any]]:  # fmt: skip
    """{layout: {core: what `benchmark.json` holds of a device}}, also written to `output` (JSON), if any.

    layouts: names of students that there is a C engine for; without any, all of them. seconds: of the clip.

    Raises:
        DistillError: no such core, a tool is missing, or the C answers other than the ONNX file.
    """
    chosen, names = [core(name) for name in cores], list(layouts) or in_c()
    check_tools()
    if output:
        reject_no_json(Path(output))
    found: dict[str, dict[str, Any]] = {}
    with Progress("counting", total=len(names) * len(chosen), unit="cores") as progress:
        for name in names:
            with tempfile.TemporaryDirectory(prefix="engine-") as made:
                answer = _written(name, Path(made) / "c")
                for one in chosen:
                    found.setdefault(name, {})[one.name] = on_core(one, Path(made) / "c", answer, clip(seconds))
                    progress.advance()
    if output:
        write_json(Path(output), found)
    return dict(plain(found))


def in_c() -> list[str]:
    """The layouts that there is a C engine for.

    >>> in_c()[0]
    'wav2small'
    """
    return [name for name in STUDENTS if name.startswith("wav2small")]


def table(record: dict[str, dict[str, Any]]) -> str:
    """Lines for people."""
    return "\n".join(_line(layout, name, device) for layout, cores in record.items() for name, device in cores.items())


def _line(layout: str, name: str, device: dict[str, Any]) -> str:
    cycles = device["cycles_per_second"]
    taken = f"{cycles['low'] / 1e6:.1f} to {cycles['high'] / 1e6:.1f} M cycles" if cycles else ""
    return (
        f"{layout:<16} {name:<11} {device['instructions_per_second'] / 1e6:6.1f} M instructions {taken:<24} "
        f"{device['flash_bytes']:>7,} B flash {device['ram_bytes']:>7,} B RAM"
    )


def _written(name: str, folder: Path) -> Any:
    torch.manual_seed(0)
    network = build(name)
    assert isinstance(network, Vgg7)
    signal = clip(1.0).astype(np.float32) / 32768
    return write_c(settled(network, signal), signal, folder)
