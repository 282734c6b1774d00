"""What is said of a clip beside its sound: who speaks (sex) and what (words), as vectors beside what was pooled.

Diatlova et al. (2024), "Adapting WavLM for speech emotion recognition": an embedding of the speaker's sex helped, one
of the text could hurt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from distill.errors import DistillError

#: Widths of the two embeddings, and the share of training clips of which nothing is said: at labelling many have none.
SEX_WIDTH, TEXT_WIDTH, UNSAID = 16, 64, 0.2

#: Values of the column `sex`; anything else is unknown.
_SEXES = {"female": 1, "f": 1, "male": 2, "m": 2}

#: Columns that are read: who, the words, and vectors of words that somebody has computed already.
SEX, TRANSCRIPT, VECTOR = "sex", "transcript", "text_vector"

#: Texts -> float32 [texts, dimensions].
Encode = Callable[[Sequence[str]], np.ndarray]


class Condition(nn.Module):
    """[batch, 1 + dimensions] -> [batch, width]: the sex (0: unknown, 1, 2), then the vector of the words, NaN if there
    are none.

    >>> Condition(sex=True, dimensions=0).width
    16
    """

    def __init__(self, *, sex: bool, dimensions: int) -> None:
        super().__init__()
        self.dimensions = dimensions
        self.sex = nn.Embedding(3, SEX_WIDTH) if sex else None
        self.text = nn.Linear(dimensions, TEXT_WIDTH) if dimensions else None
        self.silent = nn.Parameter(torch.zeros(TEXT_WIDTH)) if dimensions else None
        self.width = SEX_WIDTH * sex + TEXT_WIDTH * bool(dimensions)

    def forward(self, beside: Tensor) -> Tensor:
        parts = []
        if self.sex is not None:
            parts.append(self.sex(torch.where(self._said(beside), beside[:, 0], 0.0).long()))
        if self.text is not None and self.silent is not None:
            words = beside[:, 1:]
            spoken = torch.isfinite(words).all(1) & self._said(beside)
            heard = torch.tanh(self.text(torch.where(spoken[:, None], words, 0.0)))
            parts.append(torch.where(spoken[:, None], heard, self.silent))
        return torch.cat(parts, dim=1)

    def _said(self, beside: Tensor) -> Tensor:
        """Of which clips it is told: of all, but in training."""
        if not self.training:
            return torch.ones(len(beside), dtype=torch.bool, device=beside.device)
        return torch.rand(len(beside), device=beside.device) >= UNSAID

    def unsaid(self, count: int, device: torch.device) -> Tensor:
        """What stands for `count` clips of which nothing is known."""
        nothing = torch.full((count, 1 + self.dimensions), torch.nan, device=device)
        nothing[:, 0] = 0
        return nothing


def beside_of(rows: Sequence[Mapping[str, Any]], *, dimensions: int, encode: Encode | None = None) -> np.ndarray:
    """What the columns of clips say, for a `Condition`: float32 [clips, 1 + dimensions].

    encode: makes vectors of transcripts; None: the column `text_vector` has them.

    >>> beside_of([{"sex": "female"}, {}], dimensions=0).tolist()
    [[1.0], [0.0]]

    Raises:
        DistillError: a vector of another size.
    """
    sexes = np.array([[_SEXES.get(str(row.get(SEX) or "").strip().lower(), 0)] for row in rows], np.float32)
    if not dimensions:
        return sexes
    words = np.full((len(rows), dimensions), np.nan, np.float32)
    if encode is None:
        for place, row in enumerate(rows):
            if (vector := row.get(VECTOR)) is not None:
                words[place] = _vector(vector, dimensions)
    else:
        spoken = [place for place, row in enumerate(rows) if str(row.get(TRANSCRIPT) or "").strip()]
        if spoken:
            words[spoken] = encode([str(rows[place][TRANSCRIPT]).strip() for place in spoken])
    return np.concatenate([sexes, words], axis=1)


def dimensions_of(rows: Sequence[Mapping[str, Any]]) -> int:
    """Of the vectors that the column `text_vector` holds; 0 where there are none."""
    first = next((row[VECTOR] for row in rows if row.get(VECTOR) is not None), None)
    return 0 if first is None else len(_numbers(first))


def _vector(given: Any, dimensions: int) -> np.ndarray:
    vector = _numbers(given)
    if len(vector) != dimensions:
        raise DistillError(f"the column {VECTOR!r} holds {len(vector)} numbers; the teacher takes {dimensions}")
    return vector


def _numbers(given: Any) -> np.ndarray:
    """A list, or one that a table carries as text: what a manifest says of a clip is text on its way to a teacher."""
    try:
        return np.asarray(json.loads(given) if isinstance(given, str) else given, np.float32).reshape(-1)
    except (TypeError, ValueError):
        raise DistillError(f"the column {VECTOR!r} has to hold lists of numbers") from None
