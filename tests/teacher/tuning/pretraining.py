"""Small backbones that know something of speech, trained here: WavLM's layout, by what the bundled teacher hears.

No published backbone is at hand. A network of WavLM's layout, convolutions and all, learns from the bundled teacher's
labels of speech that nobody rated: its answers (CCC) and its functionals (`EmbeddingHint`); the heads are dropped, and
the rest is saved in the published format. It is weak beside a published one, which has heard far more.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import WavLMConfig, WavLMModel

from distill import table
from distill.learning.batch import Batch
from distill.learning.clips import Clips, cache, examples
from distill.learning.loop import Schedule, fit
from distill.learning.loss import ccc_loss
from distill.learning.network import PooledNetwork
from distill.learning.objective import EmbeddingHint, Objective
from distill.learning.splits import groups_of, held_out
from teacher.labelling import label
from teacher.published.network import normalised
from teacher.tuning.batches import TuningBatches, whole_batches

#: Seconds that are heard of a clip; shorter ones are left out, and so no clip is padded.
LONGEST = 2.0

BATCH = 16


class Heard(PooledNetwork):
    """WavLM, the mean of its last state, and a linear layer to arousal, dominance, valence."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__()
        self.model = WavLMModel(WavLMConfig(**config))
        self.head = nn.Linear(config["hidden_size"], 3)

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        known = torch.full((len(pcm),), pcm.shape[1]) if lengths is None else lengths
        states: Tensor = self.model(normalised(pcm, known)).last_hidden_state
        return states.mean(1)


class WithEmbeddings:
    """Batches of tuning, and what the teacher heard in each clip."""

    def __init__(self, batches: TuningBatches, clips: Clips) -> None:
        self.batches = batches
        assert clips.embeddings is not None
        self.by_target = {row.tobytes(): own for row, own in zip(clips.targets, clips.embeddings, strict=True)}

    def __len__(self) -> int:
        return len(self.batches)

    def __call__(self, epoch: int) -> Any:
        for batch in self.batches(epoch):
            rows = [self.by_target[row.numpy().tobytes()] for row in batch.target]
            yield batch._replace(embedding=torch.from_numpy(np.stack(rows).astype(np.float32)))


def pretrained(config: dict[str, Any], folder: Path, *, speech: Path, work: Path, epochs: int) -> Path:
    """Train a backbone of that configuration into `folder`, unless it is there. speech: unlabelled recordings."""
    if (folder / "config.json").is_file():
        return folder
    label(speech, output=work / "labels", teacher="prosody", embeddings=True, window=4.0, jobs=1)
    labels = table.read(work / "labels")
    groups = groups_of(labels.column("file"), [None] * len(labels), r"librispeech/(\d+)")
    clips, kept = cache(
        examples(labels, None, groups, embeddings=labels.embeddings()), work / "cache", shortest=LONGEST
    )
    held = held_out([example.group for example in kept])
    torch.manual_seed(0)
    network = Heard(config)
    batches = TuningBatches(clips, np.flatnonzero(~held), batch_size=BATCH, longest=LONGEST, seed=0)
    hint = EmbeddingHint(config["hidden_size"], np.asarray(clips.embeddings, np.float32))

    def scored() -> Any:
        return (_cut(batch) for batch in whole_batches(clips, np.flatnonzero(held), batch_size=BATCH, longest=LONGEST))

    weights = fit(
        network, WithEmbeddings(batches, clips), scored, objective=Objective(ccc_loss, [(hint, 1.0)]),
        schedule=Schedule(epochs, None, 1e-3), folder=work / folder.name, device=torch.device("cpu"),
    )  # fmt: skip
    network.load_state_dict(weights)
    network.model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"do_normalize": True}))
    (folder / "README.md").write_text("---\nlicense: mit\n---\nA small backbone, trained by the tests.\n")
    return folder


def _cut(batch: Batch) -> Batch:
    return batch._replace(pcm=batch.pcm[:, : int(LONGEST * 16_000)])
