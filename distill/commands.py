"""The commands that need only an exported file, and those that chain the others: predict, check, evaluate, run,
ablate, demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from distill.options import (
    audio_option,
    existing,
    json_option,
    output_option,
    seed_option,
    show,
    student_option,
    where_option,
)
from distill.pretrained import DEFAULT


@click.command()
@click.argument("clips", metavar="CLIP...", nargs=-1, required=True)
@student_option
@click.option("--window", type=click.FloatRange(0, min_open=True), help="Answer windows of this many seconds.")
@click.option(
    "--hop",
    type=click.FloatRange(0, min_open=True),
    help="Seconds from one window to the next; a causal student needs no windows.",
)
@click.option(
    "--rate", "sampling_rate", type=click.IntRange(1000), default=16000, show_default=True,
    help="Sampling rate of raw PCM in Hz.",
)  # fmt: skip
@click.option("--words", is_flag=True, help="Add the nearest emotion words: a mapping of the numbers, no classifier.")
@click.option("--plot", type=existing, metavar="FILE.html", help="Page to write, with the curves over time.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def predict(
    clips: tuple[str, ...], student: str | None, words: bool, plot: Path | None, as_json: bool, **options: Any
) -> None:
    """Answer arousal, dominance, valence of each CLIP: a recording, a folder of them, or '-' for raw 16-bit mono PCM
    on standard input.

    By default the student `wav2small` answers, which comes with distill; standard error says what it is. The exit code
    is 1 where a recording has no answer. docs/predicting.md says how words and plot come about.

    \b
    Example:
      distill predict clip.wav
      distill predict recordings/ --student student.onnx --json
      distill predict meeting.wav --window 5 --hop 1 --words --plot meeting.html
      arecord -f S16_LE -r 16000 -c 1 | distill predict - --window 3 --hop 0.5
    """
    from distill.answers import Answers
    from distill.curves import reject_no_page, write_curves
    from distill.prediction import STREAM, predict_each, recordings
    from distill.student import Student

    sources = recordings(clips)
    if plot is not None:
        reject_no_page(plot)
    answers = Answers(sources, Student(student or DEFAULT), words=words, as_json=as_json)
    stopped = False
    try:
        for found in predict_each(sources, sys.stdin.buffer, student=answers.student, **options):
            answers.add(found)
    except KeyboardInterrupt:  # how one ends a stream
        stopped = True
    if plot is not None and answers.rows:
        write_curves(plot, answers.rows, answers.student.card)
    if stopped:
        raise SystemExit(130 if STREAM not in sources else 0 if answers.rows else 1)
    answers.reject_lacking()


@click.command()
@click.argument("student")
@click.option("--golden", type=existing, help="Golden vectors (.json) [default: STUDENT.golden.json beside it].")
@json_option
def check(as_json: bool, **options: Any) -> Any:
    """Answer the golden vectors beside STUDENT (.onnx, or a name) again: the exit code is 1 where the answers are not
    the same.

    \b
    Example:
      distill check student.onnx
    """
    from distill.golden import check as run

    result = run(**options)
    show(result, as_json, _checked)
    if not result["passed"]:
        raise SystemExit(1)
    return result


def _checked(result: dict[str, Any]) -> str:
    off = "other axes are answered" if result["max_abs"] is None else f"largest difference {result['max_abs']:.2g}"
    same = "" if result["same_file"] else "; another file than the one whose answers they are"
    held = "the same answers" if result["passed"] else "OTHER ANSWERS"
    return f"{held} to {result['n']} clips: {off} (at most {result['tolerance']:g}){same}"


@click.command()
@click.option(
    "--truth", type=existing, required=True,
    help="CSV with file and axes, a label table, or the label file of a published corpus.",
)  # fmt: skip
@student_option
@click.option("--teacher", metavar="NAME", help="A teacher instead, as `distill label` takes it.")
@click.option("--predictions", type=existing, help="Written answers instead: a CSV or a label table.")
@audio_option
@where_option
@click.option("--split", metavar="NAME", help="Only rows whose column split is this, such as Test1 of MSP-Podcast.")
@click.option(
    "--slices", "by", default="", metavar="A,B",
    help="Columns of the truth to slice by; snr is estimated if the truth has no such column.",
)  # fmt: skip
@click.option("--against", type=existing, help="Other answers to the same clips: how these compare with them.")
@click.option("--loudness", is_flag=True, help="Compare with what a line from each clip's level would answer, too.")
@click.option("--robustness", is_flag=True, help="Answer every clip in noise, rooms, codecs and so on, too.")
@click.option(
    "--fairness", is_flag=True,
    help="CCC by sex and by pitch, ranking of speakers, answers under slight changes: whether limits are kept.",
)  # fmt: skip
@click.option(
    "--implicit-text", "implicit", is_flag=True,
    help="Answer sentences of known sentiment read without emotion, too: whether the words move it. Needs espeak-ng.",
)  # fmt: skip
@click.option("--noise", type=existing, help="Noise for --robustness: a folder or a pattern [default: synthesised].")
@click.option("--rir", type=existing, help="Room impulse responses for it, likewise [default: synthesised].")
@click.option("-o", "--output", type=existing, help="JSON to write; answers per clip are saved beside it.")
@seed_option
@json_option
def evaluate(by: str, split: str | None, as_json: bool, **options: Any) -> Any:
    """Compare a student's or a teacher's answers with human ratings or a teacher's labels: CCC with 95 % intervals.
    Where nobody is named it is the student `wav2small`, which comes with distill.

    \b
    Example:
      distill evaluate --student student.onnx --truth ratings.csv --audio recordings/ -o evaluation.json
      distill evaluate --student student.onnx --truth ratings.csv --audio recordings/ --against labels/
      distill evaluate --teacher prosody --truth ratings.csv --audio recordings/ --slices sex,snr
      distill evaluate --student student.onnx --truth labels/ --robustness --noise noise/ --rir rooms/
      distill evaluate --teacher prosody --truth ratings.csv --audio recordings/ --fairness --implicit-text
    """
    from distill.cli import find
    from distill.evaluation import evaluate as run

    if split is not None:
        options["where"] = {**options["where"], "split": split}
    if options["teacher"] is not None:
        options["open_teacher"] = find("teacher.catalogue:open_teacher")
    if options["fairness"]:
        options["find_pitch"] = find("teacher.prosody.analysis:mean_pitch")
    return show(run(by=[column for column in by.split(",") if column], **options), as_json, _compared)


def _compared(result: dict[str, Any]) -> str:
    lines = [f"{result['n']} clips, {result['failed']} failed", *_scores(result)]
    for column, groups in result["slices"].items():
        for value, group in groups.items():
            lines += ["", f"{column} {value}: {group['n']} clips", *_scores(group)]
    if "against" in result:
        lines += ["", f"against {result['against']['answers']} on {result['against']['n']} clips", *_shares(result)]
    if "loudness" in result:
        lines += ["", f"against loudness alone on {result['loudness']['n']} clips", *_louder(result)]
    if "robustness" in result:
        from distill.evaluation import robustness

        lines += ["", robustness.as_table(result["robustness"])]
    if "fairness" in result:
        from distill.evaluation import fairness

        lines += ["", fairness.as_table(result["fairness"])]
    if "implicit_text" in result:
        from distill.evaluation import implicit

        lines += ["", implicit.as_table(result["implicit_text"])]
    return "\n".join(lines)


def _scores(result: dict[str, Any]) -> list[str]:
    return [
        f"{axis:<10} CCC {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]  "
        f"Pearson {result['pearson'][axis]:.3f}  mean absolute error {result['mae'][axis]:.3f}"
        for axis, score in result["ccc"].items()
    ]


def _shares(result: dict[str, Any]) -> list[str]:
    return [
        f"{axis:<10} {share['value']:.1%} [{share['low']:.1%}, {share['high']:.1%}] of its CCC "
        f"{result['against']['ccc'][axis]:.3f}"
        for axis, share in result["against"]["ratio"].items()
    ]


def _louder(result: dict[str, Any]) -> list[str]:
    return [
        f"{axis:<10} CCC of loudness {score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]  "
        f"better by {gain['value']:.3f} [{gain['low']:.3f}, {gain['high']:.3f}]"
        for axis, score in result["loudness"]["ccc"].items()
        for gain in [result["loudness"]["difference"][axis]]
    ]


@click.command()
@click.argument("recipe", type=existing)
@json_option
def run(recipe: Path, as_json: bool) -> Any:
    """Run the stages that RECIPE (YAML) lists, in its order; the keys are the commands' own options.

    \b
    Example:
      distill run recipe.yaml
    """
    from distill.recipe import run_recipe

    return show(run_recipe(recipe, quiet=as_json), as_json, _chained)


def _chained(stages: list[dict[str, Any]]) -> str:
    return f"{len(stages)} stages done"


@click.command()
@click.argument("recipe", type=existing)
@output_option("JSON to write; the table is written beside it as Markdown.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this variant; may be given several times.")
@json_option
def ablate(as_json: bool, **options: Any) -> Any:
    """Train a student several times, each time with one ingredient changed, over several seeds, and compare.

    RECIPE (YAML) says what is prepared, what all runs have in common, the variants, the seeds and the truths
    (docs/ablation.md). Interrupted, the same command goes on. A variant that fails is named and does not stop the
    others; the exit code is then 1.

    \b
    Example:
      distill ablate ablation.yaml -o ablation.json
      distill ablate ablation.yaml -o ablation.json --only "the recipe" --only "without mixup"
    """
    from distill.ablation import ablate as run
    from distill.comparison import as_table

    result = run(**options)
    show(result, as_json, as_table)
    if result["failed"]:
        raise SystemExit(1)
    return result


@click.command()
@click.option("-o", "--output", type=existing, default=Path("demo"), show_default=True, help="Folder for everything.")
@click.option("--audio", type=existing, help="Your folder or manifest of recordings [default: synthesised speech].")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=1.2, show_default=True, help="Of training.")
@seed_option
@json_option
def demo(as_json: bool, **options: Any) -> Any:
    """Run the whole chain: label, train, export, benchmark; on synthesised speech, or on your folder with --audio.

    \b
    Example:
      distill demo -o demo/
    """
    from distill.demo import demo as run

    return show(run(**options, quiet=as_json), as_json, _chained)
