"""Tuning a teacher: rated recordings and a backbone in, a folder out that is at once a teacher."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill import runs
from distill.errors import DistillError
from distill.files import check_disk, read_json, sole_writer
from distill.learning.device import choose_device, choose_precision
from distill.learning.loop import Parts, Schedule, fit
from distill.learning.objective import Objective
from distill.learning.processes import Processes, meet
from distill.licences import UNKNOWN, require, strictest
from distill.progress import say
from teacher.contrastive.backbone import suited
from teacher.published.folder import read_config
from teacher.tuning import saving
from teacher.tuning.backbone import Origin, find_backbone, open_backbone
from teacher.tuning.batches import TuningBatches
from teacher.tuning.composing import PARTS, adapters_kept, begin_with
from teacher.tuning.conditioning import SEX, TRANSCRIPT, VECTOR, beside_of, dimensions_of
from teacher.tuning.decoding import Decoded, decode
from teacher.tuning.design import Design, answering, columns_of, design_of
from teacher.tuning.finishing import finish, size
from teacher.tuning.lessons import Lessons, read_lessons
from teacher.tuning.methods import count
from teacher.tuning.network import TunedNetwork
from teacher.tuning.objective import loss_for, score
from teacher.tuning.options import CCC_OVER, TASKS, VIEWS, method_of
from teacher.tuning.text import TextEncoder, find_text_encoder, open_text_encoder

#: Bytes that each number that learns takes while it does: the weights, their average, the best, two moments, each in
#: the checkpoint as well as in its copy that is being written.
_BYTES_A_NUMBER = 4 * 5 * 2

#: Arguments that do not decide the outcome, or that `config.yaml` tells otherwise: at the door, and of what is left.
_NO_PART = ("output", "labels", "audio", "backbone", "layers", "pooling", "head", "top_layers", "method", "condition",
            "text_encoder")  # fmt: skip
_TOLD = ("require_licence", "licence", "where", "task", "tasks", "fuse")


def tune_teacher(
    labels: str | Path,
    *,
    backbone: str,
    output: str | Path,
    method: str = "lora",
    audio: str | Path | None = None,
    where: Mapping[str, str] | None = None,
    task: str = "adv",
    tasks: Sequence[str] = (),
    fuse: bool = False,
    layers: str | None = None,
    pooling: str | None = None,
    head: str | None = None,
    top_layers: int | None = None,
    condition: str = "none",
    text_encoder: str | None = None,
    epochs: int | None = None,
    patience: int | None = 5,
    batch_size: int = 32,
    micro_batch: int = 8,
    ccc_over: str = "batch",
    learning_rate: float | None = None,
    longest: float | None = None,
    speaker_from: str | None = None,
    checkpointing: bool = False,
    licence: str | None = None,
    data_licence: str = UNKNOWN,
    backbone_data_licence: str = UNKNOWN,
    require_licence: str | None = None,
    trained_on: str | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: str = "auto",
) -> dict[str, Any]:
    """Tune a backbone on ratings; called again after an interruption it goes on.

    labels, audio, where, speaker_from: as of `read_lessons`. task: of `teacher.tuning.options.TASKS`, by one head.
    tasks: two or more in its place, "adv" and columns whose values are told apart, each with adapters and a head of its
    own: each is learned by itself first (a teacher in `output`/tasks), then all together, their adapters stacked or,
    with fuse, fused. backbone: a folder, or a hub's owner/name. method, layers, pooling, head, top_layers, condition:
    as of `teacher.tuning.design`; by default as the method was published.
    text_encoder: a folder, or a hub's owner/name, that makes vectors of the column `transcript`; without it the column
    `text_vector` has to hold them.
    epochs, learning_rate, longest: the method's own, if not given. patience: epochs without a better score on held-out
    speakers after which it ends; None: never early. batch_size: clips an update; micro_batch: clips that go through the
    network at once; ccc_over: of `CCC_OVER`. checkpointing: compute anew for the gradients what is between the layers.
    licence: of the weights, beside that of the backbone; the strictest is the teacher's. data_licence: of recordings
    and ratings; backbone_data_licence: of what the backbone was trained on. Several processes that torchrun started
    tune one teacher together, batch_size clips each a step.

    Returns what stands in `result.json`: {ccc: {axis: {value, low, high}}, uar: {column: {value, low, high}}, axes,
    missing, classes: {column: values}, split, n, trainable, parameters, method, backbone, licence, data_licence,
    seconds, epochs, output}, on held-out speakers.

    Raises:
        Refused: a licence is too strict, `output` holds another run, or another process writes there.
        DistillError: backbone, labels, audio, disk or saving cannot work; said before the first step.
    """
    output, labels = Path(output), Path(labels)
    given = {key: value for key, value in locals().items() if key not in _NO_PART}
    _check(given)
    asked = tuple(tasks) or TASKS[task]
    composition = "none" if not tasks else "fuse" if fuse else "stack"
    if top_layers and method != "partial":
        raise DistillError(f"--top-layers goes with --method partial, not with {method}")
    chosen = {"top": top_layers} if top_layers else {}
    design = design_of(
        method, layers=layers, pooling=pooling, head=head, condition=condition, composition=composition, **chosen
    )
    with meet() as processes:
        with processes.in_turn():  # what is downloaded or decoded the others find there
            origin, words = find_backbone(backbone), _words(design, text_encoder)
            design = suited(design, layers=layers) if origin.family == VIEWS else design
            lessons = read_lessons(
                labels, audio=None if audio is None else Path(audio), where=where, tasks=asked,
                speaker_from=speaker_from, seed=seed,
            )  # fmt: skip
        return _tuned(_Job(given, labels, design, origin, words, lessons), output, processes)


@dataclass(frozen=True)
class _Job:
    """What is tuned on what. given: the arguments that decide the outcome; words: what makes vectors of transcripts."""

    given: Mapping[str, Any]
    labels: Path
    design: Design
    origin: Origin
    words: TextEncoder | None
    lessons: Lessons

    @property
    def text(self) -> Origin | None:
        return None if self.words is None else self.words.origin

    def only(self, task: str) -> _Job:
        """One of several tasks by itself, on the same speakers."""
        return replace(self, design=replace(self.design, composition="none"), lessons=self.lessons.only(task))


def _tuned(job: _Job, output: Path, processes: Processes) -> dict[str, Any]:
    """Tune into a folder, or go on with it; the result."""
    lessons, origin = job.lessons, job.origin
    with ExitStack() as held:
        with processes.in_turn():
            told = _told(job)
            design = answering(job.design, lessons.axes, lessons.classes, 0 if told is None else told.shape[1] - 1)
            config = _resolved(job, design, told, processes)
            require(
                job.given["require_licence"],
                {"the teacher": config["licence"], "what it learns from": config["data_licence"]},
                say_it="--licence says it of the weights, --data-licence of recordings and ratings, "
                "--backbone-data-licence of what the backbone has learned from",
            )  # fmt: skip
            if processes.first:
                held.enter_context(sole_writer(output))
            finished = _begin(output, config, processes)
            if finished is not None:
                return {**finished, "output": str(output)}
            if lessons.missing:
                say(f"{job.labels}: no ratings of {', '.join(lessons.missing)}; the teacher will not answer them")
            torch.manual_seed(config["seed"])
            network = _network(design, origin, checkpointing=config["checkpointing"])
            if processes.first:
                _check_before(output, network)
            data = decode(lessons, output, told, labels=job.labels, by_another=not processes.first)
        if design.composition == "none":
            network.start_near(torch.from_numpy(data.clips.targets[data.train]))
        else:
            begin_with(network, [_part(job, task, output, processes) for task in design.tasks])
            torch.manual_seed(config["seed"])  # whatever the parts drew, if they were not there already
        with adapters_kept(network):
            say(f"{design.method} on {origin.name}: {count(network):,} of {size(network):,} parameters learn")
            _fit(network, data, output, config, processes)
        with processes.in_turn():
            if processes.first:
                return finish(output, config, network, origin, lessons, data, job.text)
            return {**dict(read_json(output / runs.RESULT)), "output": str(output)}


def _part(job: _Job, task: str, output: Path, processes: Processes) -> Path:
    """What one of several tasks learns by itself: a folder, and a teacher."""
    folder = output / PARTS / task
    say(f"the task {task}, by itself: {folder}")
    _tuned(job.only(task), folder, processes)
    return folder


def _begin(output: Path, config: Mapping[str, Any], processes: Processes) -> dict[str, Any] | None:
    """Begin the run, or go on with it; the result of one that is finished already."""
    if processes.first:
        runs.begin(output, config)
    else:
        runs.reject_other(output, config)
    finished = runs.read_result(output)
    if finished is not None:
        say(f"{output}: already trained")
    return finished


def _check(given: Mapping[str, Any]) -> None:
    """Before anything is opened: numbers that cannot be."""
    tasks = given["tasks"]
    if tasks and (len(tasks) < 2 or len(set(tasks)) < len(tasks)):
        raise DistillError(f"--tasks {','.join(tasks)}: takes two different tasks or more; --task learns one")
    if given["fuse"] and not tasks:
        raise DistillError("--fuse goes with --tasks, whose adapters it fuses")
    for option in ("batch_size", *(["micro_batch"] if given["ccc_over"] == "micro-batch" else [])):
        if given[option] == 1:
            raise DistillError(f"--{option.replace('_', '-')} 1: CCC is taken over the clips of one; at least 2")
    for option, known in (("task", tuple(TASKS)), ("ccc_over", CCC_OVER)):
        if given[option] not in known:
            raise DistillError(f"--{option.replace('_', '-')} {given[option]}: there are {', '.join(known)}")
    for option in ("batch_size", "micro_batch", "epochs", "patience", "learning_rate", "longest"):
        if given[option] is not None and not given[option] > 0:
            raise DistillError(f"--{option.replace('_', '-')} {given[option]:g}: must be above 0")


def _words(design: Design, text_encoder: str | None) -> TextEncoder | None:
    if text_encoder is None:
        return None
    if "text" not in design.conditions:
        raise DistillError("--text-encoder goes with --condition text or gender+text")
    return open_text_encoder(find_text_encoder(text_encoder))


def _told(job: _Job) -> np.ndarray | None:
    """What is said of the clips beside their sound: float32 [n, 1 + dimensions], or None where that plays no part."""
    labels, design, words = job.labels, job.design, job.words
    if not design.conditions:
        return None
    rows = [segment.columns for segment in job.lessons.segments]
    text = "text" in design.conditions
    dimensions = (dimensions_of(rows) if words is None else words.dimensions) if text else 0
    if text and not dimensions:
        raise DistillError(
            f"{labels}: --condition {design.condition} needs a column {VECTOR!r}, or transcripts and --text-encoder"
        )
    told = beside_of(rows, dimensions=dimensions, encode=words)
    if "gender" in design.conditions and not told[:, 0].any():
        raise DistillError(f"{labels}: --condition {design.condition} needs a column {SEX!r} (female, male)")
    if text and np.isnan(told[:, 1:]).any(1).all():
        raise DistillError(f"{labels}: --condition {design.condition} needs a column {TRANSCRIPT!r}")
    return told


def _resolved(job: _Job, design: Design, told: np.ndarray | None, processes: Processes) -> dict[str, Any]:
    """Everything that decides the outcome: the run's `config.yaml`."""
    given, labels, origin, lessons, text = job.given, job.labels, job.origin, job.lessons, job.text
    method = method_of(design.method, views=origin.family == VIEWS)
    config = {key: value for key, value in given.items() if key not in _TOLD}
    for key in ("epochs", "learning_rate", "longest"):
        config[key] = getattr(method, key) if config[key] is None else config[key]
    config["design"] = design.as_dict()
    config["backbone"] = saving.as_written(origin)
    if not processes.alone:
        config["processes"] = processes.count
    config["text_encoder"] = None if text is None else saving.as_written(text)
    config["labels"], config["labels_sha256"] = labels.resolve().as_posix(), lessons.digest()
    config["told_sha256"] = None if told is None else hashlib.sha256(told.tobytes()).hexdigest()
    config["audio"] = lessons.root.resolve().as_posix()
    parents = [origin] if text is None else [origin, text]
    licence = [*(parent.licence for parent in parents), *([given["licence"]] if given["licence"] else [])]
    of_data = [_learned_from(origin, given["backbone_data_licence"]), given["data_licence"]]
    learned = [group for group, held in zip(lessons.groups, lessons.held, strict=True) if not held]
    speakers = f" of {len(set(learned))} speakers" if lessons.by == "speaker" else ""
    config["trained_on"] = given["trained_on"] or f"{labels.name}: {len(learned)} clips{speakers}"
    return {**config, "licence": strictest(licence), "data_licence": strictest(of_data)}


def _learned_from(origin: Origin, said: str) -> str:
    """The licence of what a backbone was trained on: views know it themselves. said: by whoever tunes."""
    if origin.family != VIEWS:
        return said
    own = str(read_config(origin.folder).get("data_licence", UNKNOWN))
    return own if said == UNKNOWN else strictest([own, said])


def _network(design: Design, origin: Origin, *, checkpointing: bool) -> TunedNetwork:
    network = TunedNetwork(design, open_backbone(origin))
    network.backbone.checkpointing = checkpointing
    return network


def _check_before(output: Path, network: TunedNetwork) -> None:
    """Fail before spending: is there disk, is what learns saved and read back?"""
    check_disk(output, bytes_needed=_BYTES_A_NUMBER * count(network))
    saving.try_saving(output, network)


def _fit(network: TunedNetwork, data: Decoded, output: Path, config: Mapping[str, Any], processes: Processes) -> None:
    """Train; the network of the first process has the best weights then."""
    device = choose_device(config["device"])
    method = method_of(network.design.method, views=config["backbone"]["family"] == VIEWS)
    micro_batch = config["micro_batch"]
    columns = columns_of(network.design.classes)
    schedule = Schedule(
        config["epochs"], None, config["learning_rate"], weight_decay=method.weight_decay, patience=config["patience"]
    )
    batches = TuningBatches(
        data.clips, data.train, batch_size=config["batch_size"], seed=config["seed"],
        longest=min(config["longest"], network.backbone.longest_seconds), beside=data.beside,
        processes=processes,
    )  # fmt: skip
    weights = fit(
        network, batches, lambda: data.whole(network, micro_batch),
        objective=Objective(loss_for(data.clips.targets[data.train], list(columns.values()))), schedule=schedule,
        folder=output, device=device,
        precision=choose_precision(config["precision"], device, reduced_on_cpu=False),
        parts=Parts(micro_batch, exact=config["ccc_over"] == "batch"), score=partial(score, columns=columns),
        processes=processes,
    )  # fmt: skip
    if processes.first:
        network.load_state_dict(weights)
