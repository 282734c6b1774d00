"""Every method on EMO-DB's ratings, on a small backbone of random weights, and the table of them side by side.

    python -m tests.teacher.tuning.emodb WORK -o benchmarks/results/teachers [--data ../shared/data]

No published backbone is at hand here, so the figures show how the methods are compared, not how good they are: a
backbone of two layers that nobody has trained knows nothing of speech but what its convolutions let through.
Learned from: the train speakers, of which some are held out; compared on the dev speakers.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from distill.cli import find
from teacher.comparing import compare_teachers
from teacher.comparison_table import as_table
from teacher.training import train_teacher
from tests.teacher.tuning import backbones

#: Name -> options of each variant.
VARIANTS = {
    "head": {"method": "head"},
    "lora": {"method": "lora"},
    "adapter": {"method": "adapter"},
    "adapter-sequential": {"method": "adapter-sequential"},
    "prompt": {"method": "prompt"},
    "partial": {"method": "partial", "top_layers": 1, "learning_rate": 1e-3},
    "full": {"method": "full", "learning_rate": 1e-3},
    "attentive-merge": {"method": "head", "layers": "attentive-merge", "pooling": "attentive-stats"},
    "gender": {"method": "head", "pooling": "std", "condition": "gender"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    backbone = backbones.write("wavlm", given.work / "random-wavlm-2x64")
    emodb = {"audio": given.data / "emodb" / "two-seconds"}
    for name, options in VARIANTS.items():
        train_teacher(
            given.data / "emodb" / "ratings.csv", backbone=str(backbone), output=given.work / name, task="both",
            where={"split": "train"}, epochs=given.epochs, patience=3, longest=2.0, batch_size=16, micro_batch=16,
            device="cpu", licence="MIT", data_licence="CC0-1.0; BSD-3-Clause", **emodb,
            **{"learning_rate": 2e-3, **options},
        )  # fmt: skip
    compared = compare_teachers(
        [*(str(given.work / name) for name in VARIANTS), "prosody"], truth=given.data / "emodb" / "ratings.csv",
        output=given.output, where={"split": "dev"}, device="cpu", describe=find("benchmarks.machine:describe"),
        **emodb,
    )  # fmt: skip
    print(as_table(compared))


if __name__ == "__main__":
    main()
