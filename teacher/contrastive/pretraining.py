"""Pre-training of views: unlabelled recordings in, a folder out that is a backbone of `distill train-teacher`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill import runs
from distill.annotation import AXES
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.files import sole_writer, whole, write_json
from distill.learning.batch import Batch
from distill.learning.clips import Clips, Example, cache
from distill.learning.device import choose_device, choose_precision, keep_freed_memory
from distill.learning.loop import METRICS, Parts, Schedule, answers, fit
from distill.learning.objective import Objective
from distill.learning.splits import groups_of, held_out
from distill.licences import UNKNOWN, require, strictest
from distill.progress import Progress, say
from distill.sources.manifest import Cut, Failure, Segment, list_segments
from teacher.contrastive.backbone import ViewsBackbone, find_speech
from teacher.contrastive.contrast import PairwiseContrast, Retrieval, ViewNetwork
from teacher.contrastive.encoders import Encoders, Shape
from teacher.contrastive.folder import write_views
from teacher.contrastive.functionals import KINDS, described, dimensions_of
from teacher.tuning.backbone import Backbone, Origin, open_backbone
from teacher.tuning.batches import TuningBatches, whole_batches
from teacher.tuning.methods import count
from teacher.tuning.saving import SHORTEST_SECONDS, as_written

#: Of the encoders: numbers that each answers, channels of its layers, bands of the log-mel spectrum.
WIDTH, CHANNELS, MELS = 128, 128, 64

#: Clips that the views are compared on where nothing is learned, at most, and clips whose spectrum is measured before.
_COMPARED, _MEASURED = 1024, 512

#: Where the decoded clips lie while it trains, and their functionals.
_CACHE, _FUNCTIONALS = "cache", "functionals.npz"

#: Arguments that do not decide the outcome, or that `config.yaml` tells otherwise.
_NO_PART = ("output", "require_licence", "audio", "backbone", "where", "licence")


def pretrain_views(
    audio: str | Path,
    *,
    output: str | Path,
    backbone: str | None = None,
    functionals: str = "own",
    where: Mapping[str, str] | None = None,
    epochs: int = 60,
    patience: int | None = 10,
    batch_size: int = 128,
    micro_batch: int = 32,
    learning_rate: float = 1e-3,
    longest: float = 4.0,
    temperature: float = 0.1,
    speaker_from: str | None = None,
    licence: str | None = None,
    data_licence: str = UNKNOWN,
    backbone_data_licence: str = UNKNOWN,
    require_licence: str | None = None,
    trained_on: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
) -> dict[str, Any]:
    """Teach an encoder a view, without labels, to agree with the others; called again after an interruption it goes on.

    audio: a folder, a file, tars or a manifest, of which `where` takes rows; recordings are cut into clips of `longest`
    seconds. backbone: a folder, or a hub's owner/name, whose last hidden state is a view, too; it stays as it is.
    functionals: of `teacher.contrastive.functionals.KINDS`. batch_size: clips among which each has to be found;
    micro_batch: clips that go through the network at once. temperature: of `PairwiseContrast`. speaker_from: a regular
    expression whose group is the speaker in a path; held out are whole speakers, else whole files. patience: epochs
    without a better retrieval on what is held out after which it ends; None: never early. licence: of the weights,
    beside those of backbone and functionals; data_licence: of the recordings; backbone_data_licence: of what the
    backbone was trained on.

    Returns what stands in `result.json`: {views, retrieval: {pair: share}, chance, n, train, held_out, parameters,
    licence, data_licence, trained_on, seconds, epochs, output}.

    Raises:
        Refused: a licence is too strict, `output` holds another run, or another process writes there.
        DistillError: backbone, recordings or disk cannot work; said before the first step.
    """
    output, audio = Path(output), str(audio)
    given = {key: value for key, value in locals().items() if key not in _NO_PART}
    _check(given)
    origin = None if backbone is None else find_speech(backbone)
    found = _found(audio, longest, where)
    groups, held = _held(found, speaker_from, seed)
    config = _resolved(given, audio, origin, found.segments, groups, licence)
    require(
        require_licence, {"the views": config["licence"], "what they learn from": config["data_licence"]},
        say_it="--licence says it of the weights, --data-licence of the recordings, --backbone-data-licence of what "
        "the backbone has learned from",
    )  # fmt: skip
    with ExitStack() as writing:
        writing.enter_context(sole_writer(output))
        runs.begin(output, config)
        finished = runs.read_result(output)
        if finished is not None:
            say(f"{output}: already trained")
            return {**finished, "output": str(output)}
        speech = None if origin is None else open_backbone(origin)
        data = _decoded(found, groups, held, output, config)
        network = _network(config, origin, speech, data)
        say(f"views {', '.join(network.backbone.config.views)}: {count(network):,} parameters learn")
        _fit(network, data, output, config)
        return {**_finish(output, config, network, data), "output": str(output)}


def untrained(
    shape: Shape, seed: int, *, stands_on: Mapping[str, Any] | None, speech: Backbone | None
) -> ViewsBackbone:
    """Encoders as a pre-training with this seed begins with, but for the standardisation. stands_on: where `speech`
    comes from, as `as_written` gives it."""
    torch.manual_seed(seed)
    return ViewsBackbone(Encoders(shape, stands_on), speech)


@dataclass(frozen=True)
class _Found:
    """Clips of recordings below a folder, and what could not be listed there."""

    root: Path
    segments: Sequence[Segment]
    failures: Sequence[Failure]


@dataclass(frozen=True)
class _Data:
    """Decoded clips, and which of them are learned from and compared on: indices. described: float32 [clips, n], their
    functionals; longest: seconds of a clip; together: how many go through the network at once."""

    clips: Clips
    train: np.ndarray
    held_out: np.ndarray
    described: np.ndarray
    longest: float
    together: int

    def whole(self, chosen: np.ndarray) -> Iterator[Batch]:
        """Some of the clips, where nothing is learned."""
        return whole_batches(self.clips, chosen, batch_size=self.together, longest=self.longest, beside=self.described)


def _check(given: Mapping[str, Any]) -> None:
    """Before anything is opened: numbers that cannot be."""
    dimensions_of(given["functionals"])
    for option in ("epochs", "patience", "batch_size", "micro_batch", "learning_rate", "longest", "temperature"):
        if given[option] is not None and not given[option] > 0:
            raise DistillError(f"--{option.replace('_', '-')} {given[option]:g}: must be above 0")
    if given["batch_size"] < 2:
        raise DistillError("--batch-size 1: a clip has to be found among others; at least 2")
    if given["longest"] < SHORTEST_SECONDS:
        raise DistillError(f"--longest {given['longest']:g}: clips are at least {SHORTEST_SECONDS:g} s long")


def _found(audio: str, longest: float, where: Mapping[str, str] | None) -> _Found:
    listing = list_segments(audio, cut=Cut(longest, longest), where=where)
    entries = list(listing)
    segments = [entry for entry in entries if isinstance(entry, Segment)]
    failures = [entry for entry in entries if isinstance(entry, Failure)]
    if not segments:
        raise DistillError(
            f"{audio}: none of its {len(failures)} recordings can be read ({failures[0].file}: {failures[0].reason})"
        )
    return _Found(listing.root, segments, failures)


def _held(found: _Found, speaker_from: str | None, seed: int) -> tuple[list[str], np.ndarray]:
    """Who speaks in each clip (or which file it is of), and which clips are held out: boolean [n]."""
    speakers = [str(segment.columns.get("speaker") or "").strip() for segment in found.segments]
    groups = groups_of([segment.file for segment in found.segments], speakers, speaker_from)
    return groups, held_out(groups, seed=seed)


def _resolved(
    given: Mapping[str, Any], audio: str, origin: Origin | None, segments: Sequence[Segment], groups: Sequence[str],
    licence: str | None,
) -> dict[str, Any]:  # fmt: skip
    """Everything that decides the outcome: the run's `config.yaml`."""
    binding = [KINDS[given["functionals"]].licence, None if origin is None else origin.licence, licence]
    known = [one for one in binding if one]
    told = f"{len(segments)} clips of {len(set(groups))} speakers or files, unlabelled"
    return {
        **given,
        "audio": audio,
        "audio_sha256": hashlib.sha256(repr([segment.key for segment in segments]).encode()).hexdigest(),
        "backbone": None if origin is None else as_written(origin),
        "licence": strictest(known) if known else UNKNOWN,
        "data_licence": strictest([given["data_licence"], *([given["backbone_data_licence"]] if origin else [])]),
        "trained_on": given["trained_on"] or f"{Path(audio).name}: {told}",
    }


def _decoded(found: _Found, groups: Sequence[str], held: np.ndarray, output: Path, config: Mapping[str, Any]) -> _Data:
    """Decode once, and describe once; what cannot be read is named."""
    unknown = np.full(len(AXES), np.nan, np.float32)
    examples = [
        Example(found.root, segment.file, segment.span, None, unknown, group)
        for segment, group in zip(found.segments, groups, strict=True)
    ]
    places = {id(example): place for place, example in enumerate(examples)}
    clips, kept = cache(examples, output / _CACHE, shortest=SHORTEST_SECONDS, unlisted=found.failures)
    sides = held[[places[id(example)] for example in kept]]
    train, held_clips = np.flatnonzero(~sides), np.flatnonzero(sides)
    if min(len(train), len(held_clips)) < 2:
        raise DistillError(
            f"{len(train)} clips to learn from and {len(held_clips)} to compare on can be read; at least 2 of each are "
            "needed"
        )
    chosen = np.random.default_rng(config["seed"]).permutation(held_clips)[:_COMPARED]
    told = _described(clips, config["functionals"], output / _CACHE / _FUNCTIONALS)
    return _Data(clips, train, chosen, told, config["longest"], config["micro_batch"])


def _described(clips: Clips, functionals: str, path: Path) -> np.ndarray:
    """Of every clip, or as they were found before an interruption: float32 [clips, n]."""
    if path.is_file():
        with np.load(path) as before:
            if np.array_equal(before["offsets"], clips.offsets) and np.array_equal(before["peaks"], clips.peaks):
                return np.asarray(before["values"])
    values = np.empty((len(clips), dimensions_of(functionals)), np.float32)
    with Progress("functionals", len(clips), "clips") as progress:
        for index in range(len(clips)):
            signal = clips.signal(index) * clips.peaks[index]
            values[index] = described(functionals, signal)
            progress.advance(audio_seconds=len(signal) / SAMPLING_RATE)
    with whole(path) as beside, beside.open("wb") as handle:
        np.savez(handle, values=values, offsets=clips.offsets, peaks=clips.peaks)
    return values


def _network(config: Mapping[str, Any], origin: Origin | None, speech: Backbone | None, data: _Data) -> ViewNetwork:
    """All that learns, with its views standardised over the clips that are learned from."""
    functionals = config["functionals"]
    shape = Shape(
        WIDTH, CHANNELS, MELS, functionals, dimensions_of(functionals), 0 if speech is None else speech.width
    )  # fmt: skip
    views = untrained(
        shape, config["seed"], stands_on=None if origin is None else as_written(origin), speech=speech
    )  # fmt: skip
    network = ViewNetwork(views)
    views.encoders.described.scale.fit(torch.from_numpy(data.described[data.train]))
    chosen = np.random.default_rng(config["seed"]).permutation(data.train)[:_MEASURED]
    scale: Any = views.encoders.frames["log-mel"].scale
    spectra = [views.encoders.spectrum(batch.pcm, batch.lengths) for batch in data.whole(chosen)]
    scale.fit(torch.cat([bands[mask] for bands, mask in spectra]))
    return network


def _fit(network: ViewNetwork, data: _Data, output: Path, config: Mapping[str, Any]) -> None:
    """Train; the network has the best weights then."""
    keep_freed_memory()
    device, views = choose_device(config["device"]), network.backbone.config.views
    schedule = Schedule(config["epochs"], None, config["learning_rate"], weight_decay=1e-4, patience=config["patience"])
    batches = TuningBatches(
        data.clips, data.train, batch_size=config["batch_size"], longest=config["longest"], seed=config["seed"],
        beside=data.described,
    )  # fmt: skip
    weights = fit(
        network, batches, lambda: data.whole(data.held_out),
        objective=Objective(PairwiseContrast(len(views), config["temperature"])), schedule=schedule, folder=output,
        device=device, precision=choose_precision(config["precision"], device, reduced_on_cpu=False),
        parts=Parts(config["micro_batch"]), score=Retrieval(views),
    )  # fmt: skip
    network.load_state_dict(weights)


def _finish(output: Path, config: Mapping[str, Any], network: ViewNetwork, data: _Data) -> dict[str, Any]:
    """Compare what was held out, write the views, then the result."""
    views = network.backbone.config.views
    found = Retrieval(views)(*answers(network, data.whole(data.held_out), choose_device(config["device"])))
    kept = {name: config[name] for name in ("trained_on", "licence", "data_licence", "seed")}
    write_views(output, network.backbone, kept)
    last = json.loads((output / METRICS).read_text(encoding="utf-8").splitlines()[-1])
    result = {
        "views": list(views), **found, "chance": 1 / len(data.held_out), "n": len(data.held_out),
        "train": len(data.train), "parameters": sum(x.numel() for x in network.backbone.encoders.parameters()),
        **{name: config[name] for name in ("licence", "data_licence", "trained_on")}, "seconds": last["seconds"],
        "epochs": last["epoch"],
    }  # fmt: skip
    write_json(output / runs.RESULT, result)
    for folder in (_CACHE, "checkpoints"):
        shutil.rmtree(output / folder)
    return result
