"""What is exported: a run, published weights or a float file of ours, with what is known of it, and its clips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from distill import runs
from distill.audio import read, reject_unusable
from distill.errors import AudioError, DistillError
from distill.licences import UNKNOWN, strictest
from distill.pretrained import SUFFIX, path_of, shipped
from distill.progress import say
from distill.sources.manifest import Cut, Failure, Segment, list_segments
from export.graph.reading import read_float
from export.ladder import Ladder, torch_answer
from export.onnx import Answering
from export.probes import probes, synthetic_probes
from students.loading import load
from students.network import SHORTEST_SECONDS, Quantisation, StudentNetwork
from students.published import is_published, load_published
from students.wav2small import Vgg7

#: What a run's configuration has to say for its student to be exported.
REQUIRED = ("axes", "derived", "range", "licence", "data_licence", "lineage")

#: Clips that the quantiser reads its ranges off.
CALIBRATION_CLIPS = 100

#: Pieces of more audio, at most, and their seconds.
MORE_CLIPS, MORE_SECONDS = 2000, 2.0

#: Where all clips come from more audio: of its recordings so many are held out at most, one in `SHARE`, and there have
#: to be `FEWEST`.
HELD_OUT, SHARE, FEWEST = 50, 5, 10


class Audio(NamedTuple):
    """More recordings: a folder or a manifest, and what they are under."""

    path: Path
    licence: str = UNKNOWN


@dataclass(frozen=True)
class Source:
    """network: the student, answering NaN on the axes that nobody taught it. held_out: what the ladder is climbed on,
    nothing where there are no clips. calibration: what the quantiser sees. more: what it rounds and fits on besides,
    float32 [samples] each. unread: pieces of more audio that could not be used."""

    network: Answering
    student: StudentNetwork
    quantisation: Quantisation
    config: Mapping[str, Any]
    held_out: list[runs.Clip]
    calibration: list[runs.Clip]
    more: list[np.ndarray] = field(default_factory=list)
    unread: list[Failure] = field(default_factory=list)

    def ladder(self) -> Ladder:
        """The ladder from torch on, on the held-out clips, or on synthetic ones where there are none."""
        signals = [clip.signal for clip in self.held_out]
        tried = probes(signals) if signals else synthetic_probes()
        return Ladder(torch_answer(self.network), tried, recordings=len({clip.file for clip in self.held_out}))


def open_source(run: Path, *, int8: bool, audio: Audio | None = None) -> Source:
    """Open a run folder, a folder with published weights, or a float file of ours (by its path, or the name of one that
    comes with the package).

    audio: more to round and fit on; a float file, which brings no clips, gets all of them from there, some held out.

    Raises:
        DistillError: none of these, an unfinished run, one that says too little, no clips to quantise with, or audio
            that cannot be used.
    """
    if not run.exists() and not _is_file(run):
        known = ", ".join(name for name in shipped() if not name.endswith("-int8"))
        raise DistillError(f"{run}: no run there; `distill train-student` makes one; those that come are {known}")
    source = _bundled(run, int8=int8, audio=audio) if _is_file(run) else _run(run, int8=int8)
    return source if audio is None else with_audio(source, audio)


def _run(run: Path, *, int8: bool) -> Source:
    if is_published(run):
        return _published(run, int8=int8)
    model, config = load(run)
    lacking = [key for key in REQUIRED if key not in config]
    if lacking:
        raise DistillError(f"{run / runs.CONFIG}: lacks {', '.join(lacking)}; train again into another folder")
    held_out = runs.read_clips(run, "check")
    calibration = runs.read_clips(run, "calibrate")[:CALIBRATION_CLIPS] if int8 else []
    return replace(_clipless(model, config), held_out=held_out, calibration=calibration)


def _published(folder: Path, *, int8: bool) -> Source:
    if int8:
        raise DistillError(f"{folder}: published weights bring no clips to calibrate with; export them without --int8")
    say(f"{folder}: published weights bring no clips; the ladder is climbed on synthetic ones")
    return _clipless(*load_published(folder))


def _bundled(student: Path, *, int8: bool, audio: Audio | None) -> Source:
    """What `distill export` has written before, in float."""
    source = _clipless(*read_float(path_of(student)))
    if int8 and audio is None:
        raise DistillError(f"{student}: a student's file brings no clips to calibrate with; give recordings (--audio)")
    if audio is None:
        say(f"{student}: a student's file brings no clips; the ladder is climbed on synthetic ones")
    return source


def _is_file(run: Path) -> bool:
    """Whether a student's file is meant; a folder goes before one of the same name that comes with the package."""
    return not run.is_dir() and (run.suffix == SUFFIX or str(run) in shipped())


def _clipless(model: StudentNetwork, config: Mapping[str, Any]) -> Source:
    return Source(Answering(model, config["axes"]), model, model.quantisation, config, [], [])


def with_audio(source: Source, audio: Audio) -> Source:
    """The same, with more to round and fit on: up to `MORE_CLIPS` pieces, drawn. A source without clips of its own
    gets them from there as well: of some recordings, which nothing is rounded for, the held-out ones.

    Raises:
        DistillError: another student than Wav2Small, no such audio, none of it can be read, or too few recordings to
            hold some out.
    """
    if not isinstance(source.student, Vgg7):
        raise DistillError(f"{source.config['arch']}: only Wav2Small is rounded and fitted on --audio")
    listing = list_segments(audio.path, cut=Cut(MORE_SECONDS, MORE_SECONDS))
    unread = [entry for entry in listing if isinstance(entry, Failure)]
    segments = _drawn([entry for entry in listing if isinstance(entry, Segment)])
    held_out: list[runs.Clip] = []
    if not source.held_out:
        kept = _set_apart(segments, audio.path)
        held_out = [*_clips(listing.root, _one_each(segments, kept), "check", unread)]
        segments = [segment for segment in segments if segment.file not in kept]
    clips = [*_clips(listing.root, segments, "calibrate", unread)]
    if not clips or not (source.held_out or held_out):
        why = f" ({unread[0].reason})" if unread else ""
        raise DistillError(f"{audio.path}: none of its {len(segments)} pieces can be used{why}")
    say(f"{len(clips)} pieces of {audio.path} to round and fit on")
    heard = {"role": "audio", "name": audio.path.stem, "revision": None, "licence": None, "data_licence": audio.licence}
    config = {
        **source.config, "lineage": [*source.config["lineage"], heard],
        "data_licence": strictest([source.config["data_licence"], audio.licence]),
    }  # fmt: skip
    own = [] if source.held_out else clips[:CALIBRATION_CLIPS]
    return replace(
        source, config=config, held_out=source.held_out or held_out, calibration=source.calibration or own,
        more=[clip.signal for clip in clips[len(own) :]], unread=unread,
    )  # fmt: skip


def _drawn(segments: Sequence[Segment]) -> list[Segment]:
    """In an order that is drawn: they often go by speaker."""
    return [segments[place] for place in np.random.default_rng(0).permutation(len(segments))]


def _set_apart(segments: Sequence[Segment], audio: Path) -> set[str]:
    """The recordings of which nothing is fitted on."""
    files = list(dict.fromkeys(segment.file for segment in segments))
    if len(files) < FEWEST:
        raise DistillError(f"{audio}: {len(files)} recordings; at least {FEWEST} are needed, for some are held out")
    return set(files[: min(HELD_OUT, len(files) // SHARE)])


def _one_each(segments: Sequence[Segment], files: set[str]) -> list[Segment]:
    """A piece of every one of the files."""
    return list({segment.file: segment for segment in segments if segment.file in files}.values())


def _clips(root: Path, segments: Sequence[Segment], use: str, unread: list[Failure]) -> Iterator[runs.Clip]:
    """Up to `MORE_CLIPS` of the pieces; those that cannot be used are told in `unread`."""
    found = 0
    for segment in segments:
        if found == MORE_CLIPS:
            return
        try:
            signal = read(root / segment.file, segment.span)
            reject_unusable(signal, SHORTEST_SECONDS)
        except AudioError as error:
            unread.append(Failure(segment.file, str(error), segment.start, segment.end))
        else:
            found += 1
            yield runs.Clip(segment.file, use, signal)
