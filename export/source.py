"""What is exported: a run, or published weights, opened with what is known of them and the clips they bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill import runs
from distill.errors import DistillError
from distill.progress import say
from export.ladder import Ladder, torch_answer
from export.onnx import Answering
from export.probes import probes, synthetic_probes
from students.loading import load
from students.network import Quantisation, StudentNetwork
from students.published import is_published, load_published

#: What a run's configuration has to say for its student to be exported.
REQUIRED = ("axes", "derived", "range", "licence", "data_licence", "lineage")

#: Clips that the quantiser reads its ranges off.
CALIBRATION_CLIPS = 100


@dataclass(frozen=True)
class Source:
    """network: the student, answering NaN on the axes that nobody taught it. held_out: what the ladder is climbed on,
    nothing where published weights bring none. calibration: what the quantiser sees."""

    network: Answering
    student: StudentNetwork
    quantisation: Quantisation
    config: Mapping[str, Any]
    held_out: list[runs.Clip]
    calibration: list[runs.Clip]

    def ladder(self) -> Ladder:
        """The ladder from torch on, on the run's own clips, or on synthetic ones where there are none."""
        signals = [clip.signal for clip in self.held_out]
        tried = probes(signals) if signals else synthetic_probes()
        return Ladder(torch_answer(self.network), tried, recordings=len({clip.file for clip in self.held_out}))


def open_source(run: Path, *, int8: bool) -> Source:
    """Open a run folder, or a folder with published weights.

    Raises:
        DistillError: neither, an unfinished run, one that says too little, or no clips to quantise with.
    """
    if is_published(run):
        return _published(run, int8=int8)
    model, config = load(run)
    lacking = [key for key in REQUIRED if key not in config]
    if lacking:
        raise DistillError(f"{run / runs.CONFIG}: lacks {', '.join(lacking)}; train again into another folder")
    held_out = runs.read_clips(run, "check")
    calibration = runs.read_clips(run, "calibrate")[:CALIBRATION_CLIPS] if int8 else []
    return Source(Answering(model, config["axes"]), model, model.quantisation, config, held_out, calibration)


def _published(folder: Path, *, int8: bool) -> Source:
    if int8:
        raise DistillError(f"{folder}: published weights bring no clips to calibrate with; export them without --int8")
    model, config = load_published(folder)
    say(f"{folder}: published weights bring no clips; the ladder is climbed on synthetic ones")
    return Source(Answering(model, config["axes"]), model, model.quantisation, config, [], [])
