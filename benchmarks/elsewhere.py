"""The shipped students on processors that are not at hand, by QEMU's emulation of one process: answers, and no times.

    python -m benchmarks.elsewhere -o benchmarks/results/elsewhere.json

onnxruntime chooses its kernels by what the emulated processor says that it can. Every student answers its golden
vectors there (`distill check`); and one convolution whose products do not fit shows that this would be seen.
Debian's qemu-user is needed, and for Arm its `apt-get download` and pip.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from distill.errors import DistillError, first_line
from distill.files import reject_no_json, write_json
from distill.pretrained import shipped

#: Where Python for Arm is put together; ignored by git.
ARM = Path("build") / "elsewhere" / "arm64"

#: Packages of Debian that Python and onnxruntime need.
_DEBIAN = ("python3.11-minimal", "libpython3.11-minimal", "libpython3.11-stdlib", "libc6", "libgcc-s1", "libstdc++6",
           "zlib1g", "libexpat1", "libffi8", "libbz2-1.0", "liblzma5", "libssl3", "libuuid1")  # fmt: skip

#: Those of Python that an answer needs.
_PYTHON = ("numpy", "onnxruntime", "click", "soundfile", "soxr", "rich")

#: Weights of the convolution that may saturate: ours at most (`students.quantised.LARGEST`), and all of 8 bits.
LEVELS = (63, 127)


class Processor(NamedTuple):
    """emulator: the program and its model of a processor; () is the machine itself. part: Arm's number of the core,
    which a kernel tells in /proc/cpuinfo."""

    emulator: tuple[str, ...]
    part: str | None = None


PROCESSORS = {
    "here": Processor(()),
    "x86-64 with AVX2 alone (Haswell)": Processor(("qemu-x86_64", "-cpu", "Haswell")),
    "Arm (Cortex-A72)": Processor(("qemu-aarch64", "-cpu", "cortex-a72"), "0xd08"),
    "Arm with dot products (Neoverse N1)": Processor(("qemu-aarch64", "-cpu", "neoverse-n1"), "0xd0c"),
}


def elsewhere(processors: Mapping[str, Processor] = PROCESSORS) -> dict[str, Any]:
    """Let every shipped student check itself on every processor.

    Returns {emulator, onnxruntime, processors: {name: {students: {name: {max_abs, passed, n}}, saturation: {largest
    weight: what a convolution answers of 255}}}}.

    Raises:
        DistillError: an emulator is missing, or what runs in it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        convolutions = {level: _convolution(level, Path(folder) / f"{level}.onnx") for level in LEVELS}
        found = {name: _measured(processor, convolutions) for name, processor in processors.items()}
    return {"emulator": _emulator(processors), "onnxruntime": version("onnxruntime"), "processors": found}


def _measured(processor: Processor, convolutions: Mapping[int, Path]) -> dict[str, Any]:
    command, environment = _python(processor)

    def run(*arguments: str) -> str:
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, env=environment)
        if done.returncode:
            raise DistillError(f"{' '.join(command)}: {first_line(RuntimeError(done.stderr or str(done.returncode)))}")
        return done.stdout

    checked = {name: json.loads(run("-m", "distill", "check", name, "--json")) for name in shipped()}
    return {
        "students": {name: {key: told[key] for key in ("max_abs", "passed", "n")} for name, told in checked.items()},
        "saturation": {level: int(run("-c", _ANSWER, str(path))) for level, path in convolutions.items()},
    }


#: Runs in the emulated Python, which has no onnx.
_ANSWER = """
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
print(session.run(None, {"x": numpy.full((1, 16, 8, 8), 255, numpy.uint8)})[0][0, 0, 4, 4])
"""


def _convolution(level: int, path: Path) -> Path:
    """16 by 16 channels of one weight, scaled so that 255 everywhere answers 255 in the middle."""
    constants = {
        "w": np.full((16, 16, 3, 3), level, np.int8), "one": np.float32(1), "zero": np.uint8(0),
        "steps": np.ones(16, np.float32), "zeros": np.zeros(16, np.int8), "out": np.float32(16 * 9 * level),
    }  # fmt: skip
    inputs = ["x", "one", "zero", "w", "steps", "zeros", "out", "zero"]
    node = helper.make_node("QLinearConv", inputs, ["y"], pads=[1, 1, 1, 1])
    x, y = (helper.make_tensor_value_info(name, TensorProto.UINT8, [1, 16, 8, 8]) for name in "xy")
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    graph = helper.make_graph([node], "g", [x], [y], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def _python(processor: Processor) -> tuple[list[str], dict[str, str]]:
    """How Python is started there, and in what environment."""
    here = str(Path(__file__).parents[1])
    if processor.emulator and shutil.which(processor.emulator[0]) is None:
        raise DistillError(f"{processor.emulator[0]}: not found; on Debian: apt-get install qemu-user")
    if processor.part is None:
        return [*processor.emulator, sys.executable], {**os.environ, "PYTHONPATH": here}
    root = _arm_root() / "root"
    _tell_processor(root, processor.part)
    paths = {"PYTHONHOME": str(root / "usr"), "PYTHONPATH": f"{root.with_name('site')}:{here}"}
    return [*processor.emulator, "-L", str(root), str(root / "usr/bin/python3.11")], {**os.environ, **paths}


def _tell_processor(root: Path, part: str) -> None:
    """The emulator shows the host's /proc/cpuinfo and /sys, on which onnxruntime trips; its root goes first."""
    (root / "sys/devices/system/cpu").mkdir(parents=True, exist_ok=True)
    (root / "proc").mkdir(exist_ok=True)
    told = {"processor": "0", "CPU implementer": "0x41", "CPU architecture": "8", "CPU variant": "0x0",
            "CPU part": part, "CPU revision": "3"}  # fmt: skip
    (root / "proc/cpuinfo").write_text("".join(f"{key}\t: {value}\n" for key, value in told.items()) + "\n")


def _arm_root() -> Path:
    """The folder `ARM`: `root`, Debian's Python, and `site`, its packages; fetched where they are not there."""
    if not (ARM / "site").is_dir():
        ARM.mkdir(parents=True, exist_ok=True)
        _fetch_debian(ARM.resolve())
        _fetch_python(ARM)
    return ARM.resolve()


def _fetch_debian(folder: Path) -> None:
    """Without a change to the machine: apt keeps its lists for another architecture below the folder."""
    for name in ("lists/partial", "archives/partial", "debs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    where = {"Dir::State::lists": "lists", "Dir::Cache::archives": "archives", "Dir::State::status": "status"}
    options = ["-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64", "-o", "Dir::Cache::pkgcache=",
               "-o", "Dir::Cache::srcpkgcache=", *(part for key, name in where.items()
                                                   for part in ("-o", f"{key}={folder / name}"))]  # fmt: skip
    _run(["apt-get", *options, "update"], folder)
    _run(["apt-get", *options, "download", *_DEBIAN], folder / "debs")
    for package in sorted((folder / "debs").glob("*.deb")):
        _run(["dpkg", "-x", str(package), str(folder / "root")], folder)


def _fetch_python(folder: Path) -> None:
    """The wheels of the versions that are installed here, unpacked into one folder."""
    platforms = [part for name in ("2_28", "2_27", "2_17") for part in ("--platform", f"manylinux_{name}_aarch64")]
    wanted = [f"{name}=={version(name)}" for name in _PYTHON]
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder / "unpacked"), *platforms,
          "--python-version", "3.11", "--only-binary=:all:", *wanted], Path())  # fmt: skip
    (folder / "unpacked").rename(folder / "site")


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise DistillError(f"{' '.join(command[:3])} ...: {first_line(RuntimeError(done.stderr))}")


def _emulator(processors: Mapping[str, Processor]) -> str | None:
    """What the first emulator calls itself."""
    names = [processor.emulator[0] for processor in processors.values() if processor.emulator]
    told = subprocess.run([names[0], "--version"], capture_output=True, text=True).stdout if names else ""
    return told.splitlines()[0] if told else None


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elsewhere", description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--output", type=Path, required=True, help="The JSON that is written.")
    output = parser.parse_args().output
    try:
        reject_no_json(output)
        result = elsewhere()
    except DistillError as error:
        raise SystemExit(f"error: {error}") from None
    write_json(output, result)
    for name, found in result["processors"].items():
        worst = max(told["max_abs"] for told in found["students"].values())
        print(f"{name}: off by at most {worst:.2g}; of 255 a convolution answers {found['saturation']}")


if __name__ == "__main__":
    main()
