"""What a student is told beside the answers: from the tables' embeddings, or from a teacher in the loop."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from distill.annotation import Annotator
from distill.errors import DistillError
from distill.learning.clips import Clips
from distill.learning.loss import Loss
from distill.learning.objective import EmbeddingHint, Objective, RelationalHint
from distill.progress import say
from distill.table import EMBEDDING, LabelTable
from students.batches import annotated
from students.network import StudentNetwork

#: Clips of which a teacher in the loop is asked, before the first step, how its embedding varies.
ASKED_BEFORE = 512


def weight_of_embedding(asked: float | None, *, online: bool) -> float:
    """What matching the embedding counts: as it was asked for, else as the ablation says.

    >>> weight_of_embedding(None, online=True), weight_of_embedding(0.0, online=True)
    (1.0, 0.0)
    """
    return float(online) if asked is None else asked


def embeddings_of(
    tables: Sequence[LabelTable], *, match_embedding: float, relational: float
) -> list[np.ndarray] | None:
    """Of each table float16 [rows, dimensions], where a hint (a weight above 0) has a use for them. None: nobody has,
    or the relational hint alone has and must do with the answers.

    Raises:
        DistillError: a table holds none, or they differ in size.
    """
    lacking = [labels for labels in tables if EMBEDDING not in labels.rows.column_names]
    if not match_embedding and (not relational or lacking):
        return None
    embeddings = [labels.embeddings() for labels in tables]
    sizes = [rows.shape[1] for rows in embeddings]
    if len(set(sizes)) > 1:
        told = " and ".join(f"{size} in {labels.folder}" for size, labels in zip(sizes, tables, strict=True))
        raise DistillError(f"the tables' embeddings differ in size, {told}; train on tables of one teacher")
    return embeddings


def objective_of(
    loss: Loss, network: StudentNetwork, clips: Clips, chosen: np.ndarray, annotator: Annotator | None, *,
    match_embedding: float, relational: float, seed: int, asked: bool = True,
) -> Objective:  # fmt: skip
    """The answers' loss with the hints whose weight is above 0. chosen: the training clips. asked: whether somebody
    asked for the embedding; where it is matched by default, a teacher that gives none is one whose answers teach alone.

    Raises:
        DistillError: the annotator gives no embedding, or the same for every clip.
    """
    hints: list[tuple[nn.Module, float]] = []
    if match_embedding:
        known = _known(clips, chosen, annotator, seed, asked=asked)
        if known is not None:
            hints.append((EmbeddingHint(network.head.in_features, known), match_embedding))
    if relational:
        hints.append((RelationalHint(), relational))
    return Objective(loss, hints)


def _known(
    clips: Clips, chosen: np.ndarray, annotator: Annotator | None, seed: int, *, asked: bool
) -> np.ndarray | None:
    """Embeddings of training clips as they are: the tables' of all, or the annotator's of some; [clips, dimensions]."""
    if annotator is None:
        assert clips.embeddings is not None  # tables without were refused
        return np.asarray(clips.embeddings[chosen])
    say(f"asking {annotator.card.name} how its embedding varies, on up to {ASKED_BEFORE} training clips")
    some = np.random.default_rng(seed).permutation(chosen)[:ASKED_BEFORE]
    heard = [annotated([clips.signal(index) * clips.peaks[index]], annotator).embedding for index in some]
    known = [rows for rows in heard if rows is not None]
    if not known and not asked:
        say(f"{annotator.card.name} gives no embedding: its answers alone teach")
        return None
    if not known:
        raise DistillError(f"--match-embedding: the teacher {annotator.card.name} gives no embedding")
    return np.concatenate(known)
