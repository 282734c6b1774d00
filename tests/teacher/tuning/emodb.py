"""Every method on EMO-DB's ratings, on small backbones of random weights, and the table of them side by side.

    python -m tests.teacher.tuning.emodb WORK -o benchmarks/results/teachers [--data ../shared/data]

No published backbone is at hand here, so the figures show how the methods are compared, not how good they are: a
backbone of few layers that nobody has trained knows nothing of speech but what its convolutions let through.
Learned from: the train speakers, of which some are held out; compared on the dev speakers.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from distill.cli import find
from teacher.comparing import compare_teachers
from teacher.comparison_table import as_table
from teacher.training import train_teacher
from tests.teacher.tuning import backbones

#: The backbones, by name; the second has eight times the first one's layers' parameters.
SIZES: dict[str, dict[str, Any]] = {
    "random-wavlm-2x64": {},
    "random-wavlm-4x128": {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 192},
}

#: Name -> options of each variant.
VARIANTS: dict[str, dict[str, Any]] = {
    "head": {"method": "head"},
    "lora": {"method": "lora"},
    "adapter": {"method": "adapter"},
    "adapter-sequential": {"method": "adapter-sequential"},
    "prompt": {"method": "prompt"},
    "partial": {"method": "partial", "top_layers": 1, "learning_rate": 1e-3},
    "full": {"method": "full", "learning_rate": 1e-3},
    "attentive-merge": {"method": "head", "layers": "attentive-merge", "pooling": "attentive-stats"},
    "gender": {"method": "head", "pooling": "std", "condition": "gender"},
    "adapter-larger": {"method": "adapter", "backbone": "random-wavlm-4x128"},
    "stacked": {"tasks": ["adv", "category", "sex"]},
    "fused": {"tasks": ["adv", "category", "sex"], "fuse": True},
}

#: What is compared beside the variants: the tasks by themselves, of which the stacked and the fused are made.
PARTS = ("fused/tasks/adv", "fused/tasks/category", "fused/tasks/sex")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    written = {name: backbones.write("wavlm", given.work / name, sizes=sizes) for name, sizes in SIZES.items()}
    emodb = {"audio": given.data / "emodb" / "two-seconds"}
    for name, variant in VARIANTS.items():
        options = {"backbone": "random-wavlm-2x64", "learning_rate": 2e-3, **variant}
        if "tasks" not in options:
            options["task"] = "both"
        train_teacher(
            given.data / "emodb" / "ratings.csv", output=given.work / name, where={"split": "train"},
            epochs=given.epochs, patience=3, longest=2.0, batch_size=16, micro_batch=16, device="cpu", licence="MIT",
            data_licence="CC0-1.0; BSD-3-Clause", **emodb,
            **{**options, "backbone": str(written[options["backbone"]])},
        )  # fmt: skip
    compared = compare_teachers(
        [*(str(given.work / name) for name in (*VARIANTS, *PARTS)), "prosody"],
        truth=given.data / "emodb" / "ratings.csv", output=given.output, where={"split": "dev"}, device="cpu",
        describe=find("benchmarks.machine:describe"), **emodb,
    )  # fmt: skip
    print(as_table(compared))


if __name__ == "__main__":
    main()
