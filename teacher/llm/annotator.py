"""The language model as an annotator: clips and what is known of them in, mean and spread of its answers out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill.annotation import AXES, Annotation, TeacherCard
from distill.audio import SAMPLING_RATE, digest
from distill.progress import say
from teacher.arrays import clip_of
from teacher.llm.asking import Asking, Unanswered
from teacher.llm.cache import Cache, key_of
from teacher.llm.calibration import Calibration, read_calibration
from teacher.llm.config import Config, read_config
from teacher.llm.cost import CostLog
from teacher.llm.endpoint import Endpoint, Outage, shown
from teacher.llm.examples import SHORTEST_SECONDS, Examples, NoExample, described
from teacher.llm.prompt import Message, messages
from teacher.llm.together import together

#: A longer clip is cut: its figures would be those of no moment in it (seconds).
LONGEST_SECONDS = 30.0

#: What one request came to: numbers, or why there are none.
Got = dict[str, float] | str


class LanguageModel:
    """A teacher over HTTP. What it is told of a clip is measured here; the audio itself never leaves the machine."""

    def __init__(self, config: Config, *, calibrated: bool = True) -> None:
        self.config, self.card = config, _card(config, calibrated=calibrated)
        self._calibration = _calibration(config) if calibrated else Calibration()
        self._examples = Examples.load(config)
        self._cache = Cache(config.cache)
        self._costs = CostLog(config.cache, config.model, config.price, config.max_cost)
        self._endpoint = Endpoint(config.url, config.api_key_env, config.timeout)
        self._asking = Asking(config, self._endpoint, self._cache, self._costs)

    @classmethod
    def load(cls, path: Path, *, calibrated: bool = True) -> LanguageModel:
        """Open what a configuration describes, and look whether the server is there.

        Raises:
            DistillError: the configuration, its examples or its calibration cannot be used, or there is no server and
                nothing that it answered before.
        """
        model = cls(read_config(path), calibrated=calibrated)
        try:
            model._endpoint.probe()
        except Outage as error:
            if not len(model._cache):
                raise
            say(f"{error} Going on with the {len(model._cache)} answers in {model.config.cache}")
        return model

    @classmethod
    def card_of(cls, path: Path) -> TeacherCard:
        """Its card, without asking the server."""
        return _card(read_config(path), calibrated=True)

    def annotate(self, signals: Any, lengths: Sequence[int], sampling_rate: int) -> Annotation:
        """As `annotate_rows`, of clips of which nothing is known: no words, no speaker."""
        return self.annotate_rows(signals, lengths, sampling_rate, [{}] * len(lengths))

    def annotate_rows(
        self, signals: Any, lengths: Sequence[int], sampling_rate: int, columns: Sequence[Mapping[str, Any]]
    ) -> Annotation:
        """adv: mean of the answers [batch, 3]; spread: their standard deviation, None of one answer; reasons.

        columns: of each clip what the manifest says of it, and file.

        Raises:
            ValueError: another sampling rate than 16 kHz.
            Outage, BudgetSpent: nobody can be asked any more; what was answered is kept.
        """
        if sampling_rate != SAMPLING_RATE:
            raise ValueError(f"{self.card.name} hears {SAMPLING_RATE} Hz, not {sampling_rate}")
        prompts = [
            self._prompt(clip_of(signal, length), said)
            for signal, length, said in zip(signals, lengths, columns, strict=True)
        ]
        self._cache.catch_up()
        try:
            got = self._ask([prompt for prompt in prompts if not isinstance(prompt, str)])
        finally:
            self._costs.write()
        return self._annotation([[prompt] if isinstance(prompt, str) else next(got) for prompt in prompts])

    def _prompt(self, signal: np.ndarray, columns: Mapping[str, Any]) -> list[Message] | str:
        """The conversation about a clip, or why there can be none."""
        clip = described(signal, columns, self.config.columns)
        if self.config.columns.codes and not clip.codes:
            return f"has no audio codes (column {self.config.columns.codes!r})"
        try:
            shown_ = self._examples.shown_to(columns, digest(signal)) if self._examples else []
        except NoExample as error:
            return str(error)
        return messages(self.config.prompt, self.config.range, clip, shown_)

    def _ask(self, prompts: Sequence[list[Message]]) -> Any:
        """An iterator over what each prompt came to, one entry an answer; the same question is asked once."""
        stop = threading.Event()
        bodies: dict[str, dict[str, Any]] = {}
        wanted: list[list[str]] = []
        for prompt in prompts:
            body = self._body(prompt)
            keys = [key_of({**body, "prompt": self.config.prompt, "answer": n}) for n in range(self.config.answers)]
            bodies |= dict.fromkeys(keys, body)
            wanted.append(keys)
        work: list[Callable[[], Got]] = [partial(self._one, body, key, stop) for key, body in bodies.items()]
        got = dict(zip(bodies, together(work, self.config.concurrency, stop), strict=True))
        return iter([[got[key] for key in keys] for keys in wanted])

    def _body(self, prompt: list[Message]) -> dict[str, Any]:
        given = {} if self.config.temperature is None else {"temperature": self.config.temperature}
        return {"model": self.config.model, "messages": prompt, **given, **self.config.request}

    def _one(self, body: dict[str, Any], key: str, stop: threading.Event) -> Got:
        try:
            return self._asking.answer(body, key, stop)
        except Unanswered as error:
            return str(error)

    def _annotation(self, got: Sequence[Sequence[Got]]) -> Annotation:
        adv = np.full((len(got), len(AXES)), np.nan, np.float32)
        spread = np.full_like(adv, np.nan)
        reasons = [next((one for one in answers if isinstance(one, str)), None) for answers in got]
        for row, answers in enumerate(got):
            if reasons[row] is None:
                numbers = self._on_unit_scale(answers)
                adv[row] = self._calibration(numbers.mean(0))
                spread[row] = self._calibration.spread(numbers.std(0))
        return Annotation(adv, spread if self.config.answers > 1 else None, reasons=reasons)

    def _on_unit_scale(self, answers: Sequence[Any]) -> np.ndarray:
        """Answers [n, 3] from the scale that was asked for to 0..1."""
        low, high = self.config.range
        return (np.array([[answer[axis] for axis in AXES] for answer in answers]) - low) / (high - low)


def answers_of(config: Config) -> str:
    """The digest of what decides a configuration's answers before they are calibrated."""
    return key_of(config.decides())[:12]


def _calibration(config: Config) -> Calibration:
    return Calibration() if config.calibration is None else read_calibration(config.calibration, answers_of(config))


def _card(config: Config, *, calibrated: bool) -> TeacherCard:
    lines = _calibration(config).as_dict() if calibrated else {}
    shown_ = f", shown up to {config.max_examples} clips of {config.examples.name}" if config.examples else ""
    return TeacherCard(
        name=f"llm:{config.model}", source=shown(config.url), revision=key_of({**config.decides(), **lines})[:12],
        licence=config.licence, data_licence=config.data_licence, parameters=0, axes=AXES, derived=(),
        range=(0.0, 1.0), trained_on=f"not known{shown_}", bundled=False,
        normalisation="told words, level and pitch; hears nothing", gain_invariant=False,
        sampling_rate=SAMPLING_RATE, shortest_seconds=SHORTEST_SECONDS, longest_seconds=LONGEST_SECONDS,
        proven_on="a server of the tests; no real model was asked", own_threads=True,
    )  # fmt: skip
