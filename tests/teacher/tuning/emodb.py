"""Every method on EMO-DB's ratings, on small backbones that are trained here, and the table of them side by side.

    python -m tests.teacher.tuning.emodb WORK -o benchmarks/results/teachers [--data ../shared/data]

No published backbone is at hand here, so the figures show how the methods are compared, not how good they are: the
backbones have learned from two and a half hours of speech (`tests.teacher.tuning.pretraining`). Learned from: the train
speakers, of which some are held out; compared on the dev speakers. A fusion of four variants that learned from two
of the train speakers is fitted on two others, and scored on the last two.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from distill.cli import find
from distill.files import write_text
from teacher.comparing import compare_teachers
from teacher.comparison_table import as_table
from teacher.fusing import as_table as fusion_table
from teacher.fusing import fuse_teachers
from teacher.training import train_teacher
from tests.teacher.tuning.pretraining import pretrained

#: What all backbones have in common, and their layers and widths, by name.
LAYOUT: dict[str, Any] = {
    "model_type": "wavlm", "num_attention_heads": 4, "conv_dim": [32] * 7, "num_conv_pos_embeddings": 32,
    "num_conv_pos_embedding_groups": 4, "feat_extract_norm": "layer", "do_stable_layer_norm": True, "layerdrop": 0.0,
    "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
    "mask_time_prob": 0.0,
}  # fmt: skip
SIZES: dict[str, dict[str, Any]] = {
    "wavlm-2x64": {"hidden_size": 64, "num_hidden_layers": 2, "intermediate_size": 128},
    "wavlm-4x128": {"hidden_size": 128, "num_hidden_layers": 4, "intermediate_size": 256},
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
    "adapter-larger": {"method": "adapter", "backbone": "wavlm-4x128"},
    "merge-larger": {"method": "head", "layers": "attentive-merge", "backbone": "wavlm-4x128"},
    "merge-first-2": {"method": "head", "layers": "attentive-merge:2", "backbone": "wavlm-4x128"},
    "stacked": {"tasks": ["adv", "category", "sex"]},
    "fused": {"tasks": ["adv", "category", "sex"], "fuse": True},
}

#: What is compared beside the variants: the tasks by themselves, of which the stacked and the fused are made.
PARTS = ("fused/tasks/adv", "fused/tasks/category", "fused/tasks/sex")


#: Of the train speakers, those whom the members of a fusion learn from; the others fit its weights and score it.
MEMBERS_HEAR, FUSION_HEARS = "03|08", "09|10|11|13"

#: Its members, of the variants.
MEMBERS = ("lora", "adapter", "prompt", "gender")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--pre-training-epochs", type=int, default=6)
    given = parser.parse_args()
    written = {
        name: pretrained(LAYOUT | sizes, given.work / name, speech=given.data / "speech", work=given.work / "speech",
                         epochs=given.pre_training_epochs)
        for name, sizes in SIZES.items()
    }  # fmt: skip
    ratings, audio = given.data / "emodb" / "ratings.csv", given.data / "emodb" / "two-seconds"

    def tuned(name: str, folder: Path, where: dict[str, str], task: str = "both") -> str:
        options = {"backbone": "wavlm-2x64", "learning_rate": 2e-3, **VARIANTS[name]}
        if "tasks" not in options:
            options["task"] = task
        options["backbone"] = str(written[options["backbone"]])
        train_teacher(
            ratings, output=folder, where=where, epochs=given.epochs, patience=3, longest=2.0, batch_size=16,
            micro_batch=16, device="cpu", licence="MIT", data_licence="CC0-1.0; BSD-3-Clause", audio=audio, **options,
        )  # fmt: skip
        return str(folder)

    members = [tuned(name, given.work / "members" / name, {"speaker": MEMBERS_HEAR}, "adv") for name in MEMBERS]
    fusion = fuse_teachers(
        members, truth=ratings, output=given.work / "fusion", audio=audio, where={"speaker": FUSION_HEARS}, device="cpu"
    )
    write_text(given.output / "fusion.md", fusion_table(fusion))
    compared = compare_teachers(
        [*(tuned(name, given.work / name, {"split": "train"}) for name in VARIANTS),
         *(str(given.work / part) for part in PARTS), "prosody"],
        truth=ratings, output=given.output, where={"split": "dev"}, device="cpu", audio=audio,
        describe=find("benchmarks.machine:describe"),
    )  # fmt: skip
    print(fusion_table(fusion), as_table(compared), sep="\n")


if __name__ == "__main__":
    main()
