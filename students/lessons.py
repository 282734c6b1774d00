"""What a student is taught from: label tables, and what training takes of them beside the answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill import table
from distill.learning.clips import Example, examples
from distill.learning.splits import groups_of
from students.hints import embeddings_of
from students.weighting import weights_by_spread


@dataclass(frozen=True)
class Lessons:
    """Label tables, and of each, row by row, how much its clips count and what the teacher pooled.

    weights: float32 [rows, 3] a table; None: all clips count alike. embeddings: float16 [rows, dimensions] a table;
    None: training does without.
    """

    tables: Sequence[table.LabelTable]
    weights: Sequence[np.ndarray] | None = None
    embeddings: Sequence[np.ndarray] | None = None

    def examples(self, audio: Path | None, speaker_from: str | None) -> list[Example]:
        """Every row of every table. audio: in place of the tables' root; speaker_from: as of `groups_of`."""
        return list(self._examples(audio, speaker_from))

    def _examples(self, audio: Path | None, speaker_from: str | None) -> Iterator[Example]:
        for number, labels in enumerate(self.tables):
            groups = groups_of(labels.column("file"), labels.column("speaker"), speaker_from)
            beside = (None if rows is None else rows[number] for rows in (self.weights, self.embeddings))
            yield from examples(labels, audio, groups, *beside)


def read_lessons(
    folders: str | Path | Sequence[str | Path], *, by_spread: bool = False, hints: Mapping[str, float] | None = None
) -> Lessons:
    """Read finished label tables that say what a student has to know of its teacher.

    by_spread: whether clips count by how sure the teacher was of them. hints: weights of those hints that would take
    the tables' embeddings.

    Raises:
        DistillError: a table is missing, unfinished or damaged, or lacks what is asked for.
    """
    tables = [table.read(Path(folder)) for folder in ([folders] if isinstance(folders, (str, Path)) else folders)]
    for labels in tables:
        table.check_info(labels.folder, labels.info, table.REQUIRED_TO_TEACH)
    weights = weights_by_spread(tables) if by_spread else None
    return Lessons(tables, weights, embeddings_of(tables, **hints) if hints else None)
