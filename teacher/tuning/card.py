"""The model card of a tuned teacher: what it is, from what, under which licences, how well it did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.files import write_text
from teacher.tuning.design import Design
from teacher.tuning.folder import MODEL_CARD
from teacher.tuning.options import method_of


def write_model_card(folder: Path, result: Mapping[str, Any], design: Design, *, views: bool) -> None:
    """Write `README.md`, with the front matter that model hubs read. views: whether the backbone is of those."""
    write_text(folder / MODEL_CARD, model_card(folder.resolve().name, result, design, views=views))


def model_card(name: str, result: Mapping[str, Any], design: Design, *, views: bool = False) -> str:
    """The card as Markdown. result: as of `tune_teacher`.

    >>> from teacher.tuning.design import design_of
    >>> result = {"licence": "MIT", "data_licence": "CC0-1.0", "backbone": "owner/b", "trained_on": "r.csv: 9 clips",
    ...           "trainable": 5, "parameters": 50, "ccc": {"valence": {"value": 0.5, "low": 0.4, "high": 0.6}},
    ...           "uar": {}, "missing": [], "n": 3, "split": {"by": "speaker"}}
    >>> print(model_card("mine", result, design_of("lora")).splitlines()[12])
    | valence CCC | 0.500 | 0.400 to 0.600 |
    """
    answers = ", ".join([*design.axes, *(f"{column} (one of {', '.join(names)})" for column, names in design.classes)])
    rows = [f"| {axis} CCC | {_cells(score)} |" for axis, score in result["ccc"].items()]
    rows += [f"| {column} UAR | {_cells(recall)} |" for column, recall in result["uar"].items()]
    lacking = f" Nobody rated {', '.join(result['missing'])}." if result["missing"] else ""
    what = method_of(design.method, views=views).what
    return "\n".join([
        "---", f"license: {_quoted(result['licence'])}", f"base_model: {_quoted(result['backbone'])}",
        "tags: [speech-emotion-recognition]", "---", f"# {name}", "",
        f"Answers {answers} of a clip of speech: {result['backbone']}, of which {what} "
        f"({result['trainable']:,} of {result['parameters']:,} parameters) learned from {result['trained_on']}."
        + lacking,
        "", f"On {result['n']} clips held out by {result['split']['by']}:", "| | | 95 % interval |", "|---|---|---|",
        *rows, "",
        f"Layers {design.layers}, pooling {design.pooling}, head {design.head}. "
        f"Weights: {result['licence']}; what they learned from: {result['data_licence']}.",
        "", f"    distill label recordings/ -o labels/ --teacher {name}/", "",
    ])  # fmt: skip


def _cells(score: Mapping[str, float]) -> str:
    return f"{score['value']:.3f} | {score['low']:.3f} to {score['high']:.3f}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "/").replace('"', "'") + '"'
