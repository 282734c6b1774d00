"""What labelling costs besides the teacher: a constant one, over FLAC, through the whole of `label`."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from teacher.labelling import label

#: Of the made recordings: how many, and how long (seconds); an hour and a half in all.
RECORDINGS, SECONDS = 540, 10.0


def overhead(*, jobs: int | None = None, recordings: int = RECORDINGS) -> dict[str, Any]:
    """Label made recordings with a teacher that returns a constant.

    jobs: processes, by default one a core. Returns {audio_seconds, wall_seconds, times_real_time, jobs}; starting the
    processes is in the time, listing is not.
    """
    jobs = jobs or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        audio, teacher = Path(folder) / "audio", Path(folder) / "constant.onnx"
        _write_recordings(audio, recordings)
        write_constant(teacher)
        done = label(audio, output=Path(folder) / "labels", teacher=str(teacher), jobs=jobs)
    audio_seconds, wall = done["audio_seconds"], done["wall_seconds"]
    return {"audio_seconds": audio_seconds, "wall_seconds": wall, "times_real_time": audio_seconds / wall, "jobs": jobs}


def write_constant(path: Path) -> None:
    """An ONNX teacher [batch, time] -> [batch, 3] that answers 0.5 to everything."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = {"axes": np.array([1]), "nothing": np.zeros((1, 3), np.float32), "half": np.full(3, 0.5, np.float32)}
    nodes = [
        helper.make_node("ReduceMax", ["signal", "axes"], ["largest"], keepdims=1),
        helper.make_node("MatMul", ["largest", "nothing"], ["zeros"]),
        helper.make_node("Add", ["zeros", "half"], ["answers"]),
    ]
    given = helper.make_tensor_value_info("signal", TensorProto.FLOAT, ["batch", "time"])
    answered = helper.make_tensor_value_info("answers", TensorProto.FLOAT, ["batch", 3])
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "constant", [given], [answered], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(path))
    path.with_suffix(".json").write_text(json.dumps({"order": AXES, "normalisation": "none"}))


def _write_recordings(folder: Path, count: int) -> None:
    """Noise that swells and fades as speech does, so that FLAC has as much to say as usual."""
    folder.mkdir()
    samples = round(SECONDS * SAMPLING_RATE)
    swell = np.sin(np.arange(samples) / 3000) ** 2
    for number in range(count):
        noise = np.random.default_rng(number).standard_normal(samples)
        soundfile.write(
            folder / f"{number:04d}.flac", 0.1 * swell * np.convolve(noise, np.ones(8) / 8, "same"), SAMPLING_RATE
        )
