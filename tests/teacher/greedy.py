"""Teachers that answer with the threads that their process may take: one that would use all cores, and one that uses
one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from distill.annotation import Annotation
from teacher.prosody import Prosody
from teacher.threads import VARIABLE


class Modest:
    """Answers the number that the environment names; 0 where it names none."""

    def __init__(self) -> None:
        self.card = replace(Prosody.load().card, own_threads=False)

    @classmethod
    def load(cls) -> Modest:
        return cls()

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        return Annotation(np.full((len(lengths), 3), float(os.environ.get(VARIABLE, 0)), np.float32))


class Greedy(Modest):
    """The same, and says that it would take all cores."""

    def __init__(self) -> None:
        self.card = replace(Prosody.load().card, own_threads=True)
