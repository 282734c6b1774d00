"""`distill benchmark-peers`: the trunk of Wav2Small as our C and as other generators' C, on the same emulated cores."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.emulated.building import check_tools
from benchmarks.emulated.cores import Core, core
from benchmarks.emulated.devices import clip, on_core, version
from benchmarks.emulated.untrained import settled, write_c
from benchmarks.peers.measuring import Made, best
from benchmarks.peers.trunk import INPUT, write_float, write_integer
from distill.errors import DistillError
from distill.files import plain, read_json, reject_no_json, write_json
from distill.progress import Progress, say
from students.frontend import normalise
from students.wav2small import Wav2Small

#: What stands before the trunk, and is no part of the comparison.
FRONT_END = ("front-end", "level")

#: Of the log-mel that peers hear, and of the clip that ours does (seconds).
SECONDS = 1.0

_TVM = Path(__file__).with_name("tvm_source.py")
_VERSION = "import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))"


def compare(
    *, cores: Sequence[str] = ("cortex-m4", "cortex-m55"), python: str | Path = sys.executable,
    output: str | Path | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Count the trunk's instructions, ours and the peers', each at its best flags; written to `output` (JSON), if any.

    cores: names (`benchmarks.emulated.cores`). python: of the environment that emx-onnx-cgen and apache-tvm are in
    (extra `peers`), which need not be this one.

    Raises:
        DistillError: a tool or a peer is missing or fails, or one answers other than onnxruntime.
    """
    chosen = [core(name) for name in cores]
    check_tools()
    if output:
        reject_no_json(Path(output))
    versions = {name: _version(python, name) for name in ("emx-onnx-cgen", "apache-tvm")}
    with tempfile.TemporaryDirectory(prefix="peers-") as made:
        folder = Path(made)
        network = _network()
        mel = _mel(network)
        peers = _generated(network, mel, folder, Path(python))
        found = {one.name: _on(one, network, peers, mel, folder) for one in chosen}
    record = plain({
        "seconds": SECONDS, "frames": mel.shape[2], "versions": versions, "qemu": version("qemu-system-arm"),
        "compiler": version("arm-none-eabi-gcc"), "cores": found, "cited": read_json(_TVM.with_name("cited.json")),
    })  # fmt: skip
    if output:
        write_json(Path(output), record)
    return dict(record)


def table(record: dict[str, Any]) -> str:
    """Lines for people: who, instructions, times ours, RAM, flash."""
    return "\n".join(
        _line(name, who, one, one["instructions"] / found["distill int8"]["instructions"])
        for name, found in record["cores"].items()
        for who, one in found.items()
    )


def _line(core: str, who: str, one: dict[str, Any], times: float) -> str:
    return (
        f"{core:<11} {who:<13} {one['instructions'] / 1e6:7.1f} M instructions ({times:4.1f} times ours), "
        f"{one['ram_bytes'] / 1e3:7.1f} kB RAM, {one['flash_bytes'] / 1e3:6.1f} kB flash"
    )


def _network() -> Wav2Small:
    torch.manual_seed(0)
    network = settled(Wav2Small(), _signal())
    assert isinstance(network, Wav2Small)
    return network


def _signal() -> np.ndarray:
    return clip(SECONDS).astype(np.float32) / 32768


@torch.no_grad()
def _mel(network: Wav2Small) -> np.ndarray:
    """What the trunk sees of the clip, float32 [1, 1, frames, bands]."""
    return np.asarray(network.frontend(normalise(torch.from_numpy(_signal())[None], None))[:, None].numpy())


def _generated(network: Wav2Small, mel: np.ndarray, folder: Path, python: Path) -> dict[str, Made]:
    """C of every peer, by name, with what onnxruntime answers on the file that it was made of."""
    floats, integers = folder / "trunk.onnx", folder / "trunk-int8.onnx"
    write_float(network, mel, floats)
    write_integer(floats, mel, integers)
    found = {}
    with Progress("generating", total=3, unit="sources") as progress:
        for name, model, make in (
            ("emx int8", integers, _emx),
            ("emx float", floats, _emx),
            ("tvm float", floats, _tvm),
        ):
            source = folder / f"{name.replace(' ', '_')}.c"
            make(python, model, source)
            found[name] = Made(source, source.stem, _answer(model, mel))
            progress.advance()
    return found


def _emx(python: Path, model: Path, source: Path) -> None:
    arguments = ["compile", str(model), str(source), "--model-name", source.stem, "--large-weight-threshold", "0"]
    _run([str(python), "-c", "import sys; from emx_onnx_cgen.cli import main; sys.exit(main())", *arguments])


def _tvm(python: Path, model: Path, source: Path) -> None:
    _run([str(python), str(_TVM), str(model), str(source), source.stem])


def _on(core: Core, network: Wav2Small, peers: dict[str, Made], mel: np.ndarray, folder: Path) -> dict[str, Any]:
    found = {"distill int8": _ours(core, network, folder)}
    with Progress(f"counting on {core.name}", total=len(peers), unit="peers") as progress:
        for name, made in peers.items():
            found[name] = best(core, made, mel, folder)
            progress.advance()
    return found


def _ours(core: Core, network: Wav2Small, folder: Path) -> dict[str, Any]:
    """The whole chain is measured, and what stands before the trunk taken off: of the counts, not of flash and RAM."""
    device = on_core(core, folder / "ours", write_c(network, _signal(), folder / "ours"), clip(SECONDS))
    before = sum(device["breakdown"].get(part, 0) for part in FRONT_END)
    return {
        "instructions": round(device["instructions_per_second"] * SECONDS) - round(before * SECONDS),
        "front_end_instructions": round(before * SECONDS),
        "flash_bytes": device["flash_bytes"],
        "ram_bytes": device["ram_bytes"],
        "flags": device["emulated"]["flags"],
        "largest_difference": device["largest_difference"],
    }


def _answer(model: Path, mel: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {INPUT: mel})[0][0])


def _version(python: str | Path, package: str) -> str:
    done = subprocess.run([str(python), "-c", _VERSION, package], capture_output=True, text=True, errors="replace")
    if done.returncode:
        raise DistillError(
            f"{python}: {package} is not installed there; from the checkout: pip install '.[peers]', in an environment "
            "of its own, which --python names"
        )
    return done.stdout.strip()


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if done.returncode:
        lines = [*done.stdout.splitlines(), *done.stderr.splitlines()] or ["it says nothing"]
        say("\n".join(lines[-5:]))
        raise DistillError(f"{' '.join(map(str, command[:3]))}: fails: {lines[-1][:300]}")
