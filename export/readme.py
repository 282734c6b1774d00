"""The model card beside a bundle: what `student.json` knows, and what was measured, as the Markdown with front matter
that model hubs read."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import read_json, write_text
from distill.golden import ANSWERS, PCM, TOLERANCE
from distill.licences import kind
from distill.pretrained import STEP, path_of
from distill.progress import say
from export import measured

#: The name that model hubs look for.
NAME = "README.md"

#: By this line a card is known as ours, and of which student it is.
_MADE = "<!-- written by distill for {} -->"

#: Licences that the hub knows by a name of its own; the others are "other", with theirs beside it.
_HUB_LICENCES = (
    "mit", "apache-2.0", "isc", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-4.0",
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "gpl-3.0", "mpl-2.0",
)  # fmt: skip

_NOT_FOR = """\
- **No decision about a person.** Hiring, grading, policing, credit, insurance, diagnosis: the three numbers are no
  ground for any of it. Inferring emotions at work or in education is forbidden in the European Union (AI Act, article
  5(1)(f)), medical and safety reasons apart.
- **No lie detector, and no window on what somebody feels.** The numbers say how a voice sounds to listeners, as far as
  the teacher knew, not what the speaker feels or means.
- **Nobody unawares.** Ask the people whose voices are heard.
- **No other language, age or microphone on trust.** It has learned from the recordings above, and no others: measure on
  yours first (`distill evaluate --student {student} --truth ratings.csv --audio recordings/`)."""


@dataclass(frozen=True)
class Known:
    """What is known of a student beyond its own description.

    result: what its run's result.json says. evaluations, comparison: of `distill evaluate` and `distill ablate`.
    languages: {code: what was heard of it}. note: what else a reader of the figures has to know.
    """

    result: Mapping[str, Any] | None = None
    evaluations: Sequence[Mapping[str, Any]] = ()
    comparison: Mapping[str, Any] | None = None
    languages: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None


def card(
    student: str | Path, *, evaluations: Sequence[str | Path] = (), training: str | Path | None = None,
    comparison: str | Path | None = None, languages: Mapping[str, str] | None = None, note: str | None = None,
) -> Path:  # fmt: skip
    """Write the card of an exported student anew, with what was measured of it since; gives its path.

    student: its file, beside which its JSON lies, or the name of one that comes with the package. evaluations: of
    `distill evaluate -o`, of this very file, or of a teacher on the same clips. training: the run's result.json.
    comparison: of `distill ablate -o`. languages: {code: what was heard of it}. note: what else is to be known of the
    figures.

    Raises:
        DistillError: no such student, no JSON beside it, an evaluation of another file, or nothing that the card would
            say beyond what the export has written.
    """
    output = path_of(student)
    if not (evaluations or training or comparison or languages or note):
        raise DistillError(f"{student}: nothing was given to write; name what was measured (--evaluation FILE.json)")
    described = read_json(output.with_suffix(".json"))
    known = Known(
        None if training is None else _read_training(Path(training)),
        [measured.read_evaluation(Path(path), described) for path in evaluations],
        None if comparison is None else measured.read_comparison(Path(comparison)),
        dict(languages or {}),
        note,
    )
    return write_readme(output, described, known)


def _read_training(path: Path) -> dict[str, Any]:
    result = read_json(path)
    if not isinstance(result, dict) or "ccc" not in result:
        raise DistillError(f"{path}: no result.json of a training")
    return result


def write_readme(output: Path, described: Mapping[str, Any], known: Known) -> Path:
    """Write the card of the student `output`, described as in its JSON, and give its path.

    The card is README.md, unless there is one already that is somebody's own, or another student's: then it is
    STUDENT.md, named as the student is.
    """
    path = output.with_name(NAME)
    if path.exists() and _MADE.format(output.name) not in path.read_text(encoding="utf-8", errors="replace"):
        path = output.with_suffix(".md")
        say(f"{output.with_name(NAME)} is not this student's: its model card is {path}")
    write_text(path, readme(output.name, described, known))
    return path


def readme(student: str, described: Mapping[str, Any], known: Known) -> str:
    """The card as Markdown; student: the file's name."""
    return "\n".join([_front(described, known), _MADE.format(student), "", *_body(student, described, known), ""])


def front_matter(described: Mapping[str, Any], known: Known) -> dict[str, Any]:
    """The fields that the model hubs read."""
    fields: dict[str, Any] = {**({"language": list(known.languages)} if known.languages else {})}
    fields |= {
        **_licence(described["licence"]), "library_name": "onnx", "pipeline_tag": "audio-classification",
        "tags": ["speech-emotion-recognition", *described["axes"], "knowledge-distillation", described["name"]],
        "metrics": ["ccc"],
    }  # fmt: skip
    datasets = [entry["name"] for entry in described["lineage"] if entry["role"] == "audio" and "/" in entry["name"]]
    if datasets:  # by the hub's rule an owner and a name; a folder of recordings has no such name
        fields["datasets"] = datasets
    scores = list(_metrics(described, known.result))
    results = [{"task": dict(_TASK), "dataset": dict(_HELD_OUT), "metrics": scores}] if scores else []
    results += measured.hub_results(known.evaluations, _TASK, described["derived"])
    if results:
        fields["model-index"] = [{"name": described["name"], "results": results}]
    return fields


_TASK = {"type": "audio-classification", "name": "Arousal, dominance, valence"}
_HELD_OUT = {"type": "audiofolder", "name": "held-out clips of what it was trained on", "split": "validation"}


def _metrics(described: Mapping[str, Any], result: Mapping[str, Any] | None) -> Iterator[dict[str, Any]]:
    for axis, score in _scores(result):
        name = f"CCC {_named(axis, described)} with the teacher"
        yield {"type": "ccc", "name": name, "value": round(score["value"], 4)}


def _scores(result: Mapping[str, Any] | None) -> list[tuple[str, Mapping[str, float]]]:
    found = (result or {}).get("ccc", {})
    return [(axis, found[axis]) for axis in AXES if found.get(axis) and found[axis]["value"] is not None]


def _licence(licence: str) -> dict[str, str]:
    known = licence.lower().replace(" ", "-")
    return {"license": known} if known in _HUB_LICENCES else {"license": "other", "license_name": licence}


def _front(described: Mapping[str, Any], known: Known) -> str:
    import yaml

    fields = yaml.safe_dump(front_matter(described, known), sort_keys=False, allow_unicode=True)
    return f"---\n{fields}---\n"


def _body(student: str, described: Mapping[str, Any], known: Known) -> Iterator[str]:
    yield from (f"# {described['name']}, {described['precision']}", "", _what(described), "")
    yield from _use(student, described)
    yield from ("## How well", "", *([*textwrap.wrap(known.note, 120), ""] if known.note else []))
    yield from measured.sections(known.evaluations, described["derived"])
    if known.comparison:
        yield from ("### Against other ways to train it", "", *measured.comparison(known.comparison), "")
    yield from ("### Before and after the export", "", *_how_well(described, known.result), "")
    yield from ("## What it was made from", "", *_lineage(described), "", *_licences(described))
    yield from (*_heard(known.languages), "")
    yield from ("## What it must not be used for", "", _NOT_FOR.format(student=student), *_bound(described), "")
    yield from _check(student, described)


def _heard(languages: Mapping[str, str]) -> Iterator[str]:
    if languages:
        yield f"- Languages that it has heard: **{'; '.join(languages.values())}**"


def _what(described: Mapping[str, Any]) -> str:
    low, high = described["range"]
    answered = ", ".join(_named(axis, described) for axis in AXES if axis in described["axes"])
    lacking = [axis for axis in AXES if axis not in described["axes"]]
    told = [
        f"A student of speech emotion: raw PCM in, {answered} out, about {low:g} to {high:g}. "
        f"{described['parameters']:,} parameters, {described['bytes']:,} bytes."
    ]
    known = "nobody measured it, it follows from what the teacher knew."
    told += [f"**{axis.capitalize()} is derived**: {known}" for axis in described["derived"]]
    told += [f"It was not taught {axis}, and answers NaN there." for axis in lacking]
    return "\n".join(told)


def _use(student: str, described: Mapping[str, Any]) -> Iterator[str]:
    yield from ("## Use", "", "```python", "import onnxruntime, soundfile", "")
    yield f'pcm, rate = soundfile.read("clip.wav", dtype="float32")  # mono, {described["sampling_rate"]} Hz'
    yield f'session = onnxruntime.InferenceSession("{student}")'
    yield 'arousal, dominance, valence = session.run(None, {"pcm": pcm[None]})[0][0]'
    yield from ("```", "")
    yield f"Any batch, and any length from {described['shortest_seconds']:g} s on. Operator set {described['opset']}."
    if "oldest_runtime" in described:
        yield f"The oldest runtime that such a file was run on: {described['oldest_runtime']}."
    if "step" in described:
        yield from _step(Path(student).stem, described)
    if "tflite" in described:
        lite = described["tflite"]
        told = f"{lite['bytes']:,} bytes, {lite['precision']}"
        yield f"`{Path(student).stem}.tflite` takes one clip of {lite['seconds']:g} s ({told})."
    yield ""


def _step(stem: str, described: Mapping[str, Any]) -> Iterator[str]:
    """The file that answers token by token."""
    step, rate = described["step"], described["sampling_rate"]
    samples, state = step["token_samples"], step["state"]
    yield from ("", f"`{stem}{STEP}` ({step['bytes']:,} bytes) answers while somebody speaks, every {samples} samples")
    yield f"({1000 * samples / rate:g} ms), from what was said until then, of which it keeps {state:,} numbers:"
    yield from ("", "```python", "import numpy, onnxruntime", "")
    yield f'session = onnxruntime.InferenceSession("{stem}{STEP}")'
    yield f'state = numpy.zeros((1, {state}), "float32")'
    yield f"for pcm in microphone:  # float32 [1, {samples}], or a multiple"
    yield '    adv, state = session.run(None, {"pcm": pcm, "state": state})  # [1, tokens, 3]'
    yield "```"


def _how_well(described: Mapping[str, Any], result: Mapping[str, Any] | None) -> Iterator[str]:
    scores = _scores(result)
    if result is None or not scores:
        yield "Not measured here."
    else:
        yield f"With the **teacher's** answers, not with people's, on {result['n']} held-out clips, before the export:"
        yield from ("", "| axis | CCC | 95 % |", "|---|---|---|")
        for axis, score in scores:
            # of fewer than three clips there is no interval
            interval = "-" if score["low"] is None else f"{score['low']:.3f} to {score['high']:.3f}"
            yield f"| {_named(axis, described)} | {score['value']:.3f} | {interval} |"
    yield ""
    for rung in described["ladder"]:
        yield f"- {rung['rung']}: at most {rung['max_abs']:.2g} from {against(rung)} on {rung['n']} clips of 1 to 30 s"
    told = [rung for rung in described["ladder"] if against(rung) == "torch"]
    yield from _by_condition(told[-1], described)


def against(rung: Mapping[str, Any]) -> str:
    """What a rung was compared with; files of before there was a choice do not say.

    >>> against({"rung": "onnx float"}), against({"rung": "c", "against": "onnx int8"})
    ('torch', 'onnx int8')
    """
    return str(rung.get("against", "torch"))


def _by_condition(rung: Mapping[str, Any], described: Mapping[str, Any]) -> Iterator[str]:
    """A rung by length, level and noise of the clips."""
    axes = [axis for axis in AXES if axis in described["axes"]]
    yield from ("", f"{rung['rung']} against torch, by what the clips are:", "")
    yield f"| clips | n | largest difference | CCC, {' / '.join(axes)} |"
    yield "|---|---|---|---|"
    for trait, values in rung["by"].items():
        for value, found in values.items():
            scores = ("-" if (score := found["ccc"][axis]) is None else f"{score:.4f}" for axis in axes)
            yield f"| {trait} {value} | {found['n']} | {found['max_abs']:.2g} | {' / '.join(scores)} |"


def _lineage(described: Mapping[str, Any]) -> Iterator[str]:
    yield from ("| | name | revision | weights | data |", "|---|---|---|---|---|")
    for entry in described["lineage"]:
        cells = [entry.get(key) or "-" for key in ("role", "name", "revision", "licence", "data_licence")]
        yield "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _licences(described: Mapping[str, Any]) -> Sequence[str]:
    return (
        f"- The weights are under: **{described['licence']}**",
        f"- What they were trained on is under: **{described['data_licence']}**",
    )


def _bound(described: Mapping[str, Any]) -> Iterator[str]:
    for what, licence in (("weights", described["licence"]), ("data", described["data_licence"])):
        if kind(licence) not in ("permissive", "share-alike"):
            yield f"- **Not beyond the licence of the {what}**: {licence} ({kind(licence)})."


def _check(student: str, described: Mapping[str, Any]) -> Iterator[str]:
    stem = Path(student).stem
    yield from ("## Is it still the same?", "", f"SHA-256 of `{student}`: `{described['sha256']}`", "")
    yield f"`{stem}{PCM}` holds short clips (raw int16), `{stem}{ANSWERS}` what the file answers to each. On any other"
    yield f"runtime the answers must be the same within {TOLERANCE:g}; `distill check {student}` compares them here."


def _named(axis: str, described: Mapping[str, Any]) -> str:
    return f"{axis} (derived)" if axis in described["derived"] else axis
