"""The end of a training: the best weights are scored, and written with all that export needs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill import runs
from distill.annotation import AXES
from distill.files import whole, write_json
from distill.learning.loop import METRICS, answers
from distill.metrics import agreement
from distill.progress import say
from students import catalogue, passes, split
from students.batches import clean_batches
from students.calibration import calibrate
from students.network import StudentNetwork
from students.split import Split

#: Clips that are answered at once when nothing is learned.
_TOGETHER = 32


def finish(
    output: Path, config: Mapping[str, Any], weights: Mapping[str, Tensor], data: Split, computed: Mapping[str, Any]
) -> dict[str, Any]:
    """Score the best weights on the held-out clips, write them with the clips that export needs, then the result.

    computed: what the result says of where it was computed. Returns what stands in `result.json`.
    """
    model = catalogue.build(config["arch"])
    model.load_state_dict(weights)
    lines = _calibrated(model, data) if config.get("calibrate") else {}
    predicted, target = answers(model, clean_batches(data.clips, data.held_out, _TOGETHER), torch.device("cpu"))
    runs.write_clips(output, split.travelling(data))
    _write_weights(output / runs.WEIGHTS, model)
    result = {**_result(output, config, data, agreement(predicted, target)), **computed, **lines}
    write_json(output / runs.RESULT, result)
    _clear(output)
    return result


def _calibrated(model: StudentNetwork, data: Split) -> dict[str, Any]:
    lines = calibrate(model, clean_batches(data.clips, data.train, _TOGETHER))
    told = ", ".join(f"{axis} {line['slope']:.2f} x {line['offset']:+.2f}" for axis, line in lines.items())
    say(f"calibrated on {len(data.train)} training clips: {told}")
    return {"calibration": lines}


def _write_weights(path: Path, model: StudentNetwork) -> None:
    from safetensors.torch import save_file

    with whole(path) as beside:
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, beside)


def _result(output: Path, config: Mapping[str, Any], data: Split, scores: Mapping[str, Any]) -> dict[str, Any]:
    last = _last_epoch(output)
    return {
        "ccc": {axis: scores["ccc"].get(axis) for axis in AXES}, "axes": config["axes"], "derived": config["derived"],
        "split": split.write_split(output, data), "n": scores["n"], "teacher": config["teacher"],
        "licence": config["licence"], "data_licence": config["data_licence"],
        "seconds": last["seconds"], "epochs": last["epoch"],
        "figures": catalogue.figures(config["arch"]).as_dict(),
    }  # fmt: skip


def _last_epoch(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / METRICS).read_text(encoding="utf-8").splitlines()[-1]))


def _clear(output: Path) -> None:
    """Take away what was made for training alone."""
    for folder in (output / split.FOLDER, output / passes.FOLDER):
        if folder.exists():
            shutil.rmtree(folder)
