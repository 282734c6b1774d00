"""What stays of a tuning: scores on what was held out, the teacher, its card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill import runs
from distill.files import write_json
from distill.learning.device import choose_device
from distill.learning.loop import METRICS, answers
from distill.metrics import agreement, interval, unweighted_recall
from teacher.tuning import saving
from teacher.tuning.backbone import Origin
from teacher.tuning.card import write_model_card
from teacher.tuning.decoding import CACHE, Decoded
from teacher.tuning.design import columns_of
from teacher.tuning.lessons import Lessons, summary
from teacher.tuning.methods import count
from teacher.tuning.network import TunedNetwork
from teacher.tuning.objective import classes
from teacher.tuning.options import VIEWS


def finish(
    output: Path, config: Mapping[str, Any], network: TunedNetwork, origin: Origin, lessons: Lessons, data: Decoded,
    text: Origin | None,
) -> dict[str, Any]:  # fmt: skip
    """Score what was held out, write the teacher, then the result, which it returns."""
    device = choose_device(config["device"])
    saving.rounded(network)
    predicted, target = answers(network, data.whole(network, config["micro_batch"]), device)
    card = saving.describe(origin, network.backbone, network.design, name=output.resolve().name, said=config)
    saving.write_teacher(output, network, origin, card, text)
    last = json.loads((output / METRICS).read_text(encoding="utf-8").splitlines()[-1])
    result = {
        **scores(predicted, target, columns_of(lessons.classes)), "axes": list(lessons.axes),
        "missing": list(lessons.missing), "classes": {column: list(names) for column, names in lessons.classes},
        "split": {**summary(lessons), "train": len(data.train), "held_out": len(data.held_out)},
        "method": network.design.method, "backbone": origin.name, "trainable": count(network),
        "parameters": size(network), "licence": config["licence"], "data_licence": config["data_licence"],
        "trained_on": config["trained_on"], "seconds": last["seconds"], "epochs": last["epoch"],
    }  # fmt: skip
    write_model_card(output, result, network.design, views=origin.family == VIEWS)
    write_json(output / runs.RESULT, result)
    for folder in (CACHE, "checkpoints"):
        shutil.rmtree(output / folder)
    return {**result, "output": str(output)}


def scores(predicted: np.ndarray, target: np.ndarray, columns: Mapping[str, slice]) -> dict[str, Any]:
    """{n, ccc: {axis: {value, low, high}}, uar: {column: {value, low, high}}}, on what was held out.

    >>> target = np.array([[0.1, 0.2, np.nan, 1, 0], [0.5, 0.1, np.nan, 0, 1]])
    >>> scores(target, target, {"sex": slice(3, 5)})["uar"]["sex"]["value"]
    1.0
    """
    chosen = {column: classes(predicted[:, place], target[:, place]) for column, place in columns.items()}
    return {
        "n": len(target), "ccc": agreement(predicted, target)["ccc"],
        "uar": {column: interval(unweighted_recall, *sides) for column, sides in chosen.items() if len(sides[0])},
    }  # fmt: skip


def size(network: TunedNetwork) -> int:
    """How many numbers it has, the backbone's with them."""
    return sum(parameter.numel() for parameter in network.parameters())
