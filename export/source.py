"""What is exported: a run, or published weights, opened with what is known of them and the clips they bring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill import runs
from distill.audio import read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.licences import strictest
from distill.progress import say
from distill.sources.manifest import Cut, Segment, list_segments
from export.ladder import Ladder, torch_answer
from export.onnx import Answering
from export.probes import probes, synthetic_probes
from students.loading import load
from students.network import SHORTEST_SECONDS, Quantisation, StudentNetwork
from students.published import is_published, load_published

#: What a run's configuration has to say for its student to be exported.
REQUIRED = ("axes", "derived", "range", "licence", "data_licence", "lineage")

#: Clips that the quantiser reads its ranges off.
CALIBRATION_CLIPS = 100

#: Pieces of more audio, at most, and their seconds.
MORE_CLIPS, MORE_SECONDS = 2000, 2.0


@dataclass(frozen=True)
class Source:
    """network: the student, answering NaN on the axes that nobody taught it. held_out: what the ladder is climbed on,
    nothing where published weights bring none. calibration: what the quantiser sees. more: what it rounds and tunes on
    besides, float32 [samples] each."""

    network: Answering
    student: StudentNetwork
    quantisation: Quantisation
    config: Mapping[str, Any]
    held_out: list[runs.Clip]
    calibration: list[runs.Clip]
    more: list[np.ndarray] = field(default_factory=list)

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


def with_audio(source: Source, audio: Path, licence: str) -> Source:
    """The same, with more to round and tune on: up to `MORE_CLIPS` pieces, drawn. licence: of the recordings.

    Raises:
        DistillError: no such audio, or none of it can be read.
    """
    listing = list_segments(audio, cut=Cut(MORE_SECONDS, MORE_SECONDS))
    segments = [entry for entry in listing if isinstance(entry, Segment)]
    order = np.random.default_rng(0).permutation(len(segments))  # they often go by speaker
    chosen = [segments[place] for place in order[:MORE_CLIPS]]
    clips = [clip for segment in chosen if (clip := _read(listing.root, segment)) is not None]
    if not clips:
        raise DistillError(f"{audio}: none of its {len(segments)} pieces can be used")
    say(f"{len(clips)} pieces of {audio} to round and tune on")
    heard = {"role": "audio", "name": audio.stem, "revision": None, "licence": None, "data_licence": licence}
    config = {
        **source.config, "lineage": [*source.config["lineage"], heard],
        "data_licence": strictest([source.config["data_licence"], licence]),
    }  # fmt: skip
    return replace(source, config=config, more=clips)


def _read(root: Path, segment: Segment) -> np.ndarray | None:
    try:
        signal = read(root / segment.file, segment.span)
        reject_unusable(signal, SHORTEST_SECONDS)
    except AudioError:
        return None
    return signal


def _published(folder: Path, *, int8: bool) -> Source:
    if int8:
        raise DistillError(f"{folder}: published weights bring no clips to calibrate with; export them without --int8")
    model, config = load_published(folder)
    say(f"{folder}: published weights bring no clips; the ladder is climbed on synthetic ones")
    return Source(Answering(model, config["axes"]), model, model.quantisation, config, [], [])
