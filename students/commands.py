"""The commands of the students' room: train-student, students, benchmark-training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from distill.launched import launched
from distill.licences import UNKNOWN
from distill.options import (
    device_option,
    existing,
    json_option,
    licence_option,
    numbers,
    output_option,
    seed_option,
    show,
    where_option,
)
from distill.progress import say

#: Where in the run's folder lies the table of a command that labels first.
LABELS = "labels"


class LabelsOrTeacher(click.Command):
    """Checks while it is parsed what no option can check alone: a recipe is refused before its first stage runs."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        _check_source(ctx, **ctx.params)
        return rest


def _check_source(
    ctx: click.Context, *, labels: tuple[Path, ...], teacher: str | None, audio: str | None, output: Path,
    online: bool, match_embedding: float | None, **others: Any,
) -> None:  # fmt: skip
    if bool(labels) == (teacher is not None):
        ctx.fail("either --labels is needed, or --teacher with --audio; not both")
    if teacher is None:
        flags = {"--data-licence": "audio_licence", "--window": "window", "--hop": "hop", "--where": "where"}
        beside = [flag for flag, name in flags.items() if others[name] not in (None, {})]
        if beside:
            ctx.fail(f"{beside[0]} goes with --teacher; the tables of --labels are made")
        return
    if launched().count > 1:
        ctx.fail("--teacher labels, which one process does: call `distill label` first, and give its table as --labels")
    if audio is None:
        ctx.fail("--teacher needs --audio: a folder, a manifest or tars to label")
    if output.resolve().is_relative_to(Path(audio).resolve()):
        ctx.fail(f"-o {output} lies in --audio {audio}: the run's own clips would be labelled; choose another folder")
    if others["require_licence"] and others["audio_licence"] is None:
        ctx.fail("--require-licence needs --data-licence: nobody has said what the recordings are under")
    if match_embedding and not online:
        ctx.fail("--match-embedding needs --online, or a table of `distill label --embeddings`")


@click.command("train-student", cls=LabelsOrTeacher)
@click.option("--labels", type=existing, multiple=True, help="Label table; may be given several times.")
@click.option(
    "--teacher",
    metavar="NAME",
    help="Without --labels: first label --audio with this teacher, as `distill label` does (which has more options), "
    "into `labels` in the run's folder.",
)
@click.option(
    "--data-licence", "audio_licence", help="With --teacher: the licence of the recordings [default: unknown]."
)
@click.option("--window", type=float, help="With --teacher: cut longer recordings into windows of this many seconds.")
@click.option("--hop", type=float, help="With --teacher: seconds from one window to the next [default: the window].")
@where_option
@output_option("Folder of the run.")
@click.option(
    "--arch",
    default="wav2small",
    show_default=True,
    help="A name from `distill students`, or a member of their family (docs/sweep.md).",
)
@click.option(
    "--audio",
    help="With --labels: the folder below which the tables' files are. With --teacher: what to label; with "
    "--teacher ratings a table of people's ratings, or the label file of a published corpus.",
)
@click.option("--epochs", type=click.IntRange(1), help="End after this many passes [default: 30].")
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), help="End after this much time.")
@click.option("--noise", type=existing, help="Noise: a folder or a pattern (esc10/*-[1-3]-*) [default: synthesised].")
@click.option("--rir", type=existing, help="Room impulse responses, likewise [default: synthesised].")
@click.option("--speaker-from", metavar="REGEX", help="Its group, searched in a file's path, is the speaker.")
@click.option(
    "--loss", type=click.Choice(["ccc", "mse", "ccc+mse"]), default="ccc", show_default=True, help="What is made small."
)
@click.option("--batch-size", type=click.IntRange(2), default=32, show_default=True, help="Clips a step.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, 1, min_open=True),
    help="Peak learning rate [default: the student's own].",
)
@click.option(
    "--longest",
    type=click.FloatRange(0.25, 60),
    default=6.0,
    show_default=True,
    help="Seconds of a clip that are used.",
)
@click.option(
    "--augment", multiple=True, metavar="NAME=SHARE", callback=lambda _context, _option, given: numbers(given),
    help="Share of clips that are changed so (mixup=0, noise=0.5, silence=0.2 ...; docs/training.md).",
)  # fmt: skip
@click.option("--online", is_flag=True, help="The tables' teacher annotates the audio as training changes it.")
@click.option(
    "--annotated-passes",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="With --online: keep the answers of N passes on disk, and ask no more after them [default: ask always].",
)
@click.option("--weight-by-spread", is_flag=True, help="Clips count the more, the surer the teacher was of them.")
@click.option(
    "--match-embedding",
    type=click.FloatRange(0),
    metavar="WEIGHT",
    help="Also learn to tell the teacher's embedding from what the student pools, with this weight [default: 1 with "
    "--online, where the teacher gives one; else off].",
)
@click.option(
    "--relational",
    type=click.FloatRange(0),
    default=0.0,
    metavar="WEIGHT",
    help="Also keep clips as far apart as they are for the teacher, with this weight [default: off].",
)
@click.option("--calibrate", is_flag=True, help="At the end put the answers on the teacher's scale, a line an axis.")
@licence_option
@seed_option
@device_option
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Of the products; auto takes bfloat16 where the processor has it.",
)
@click.option(
    "--workers", type=click.IntRange(0),
    help="Processes that prepare batches [default: 1; 0 on fewer than four cores].",
)  # fmt: skip
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard logs into the run.")
@json_option
def train_student(
    as_json: bool, teacher: str | None, audio_licence: str | None, window: float | None, hop: float | None,
    where: dict[str, str], **options: Any,
) -> Any:  # fmt: skip
    """Train a student on a teacher's labels; with --teacher label the audio first.

    Held-out speakers (files, where no speaker is known) tell which weights are kept. Interrupted, the same command
    goes on where it was. Started by torchrun, several processes train one student (docs/training.md).

    \b
    Example:
      distill train-student --arch wav2small --labels labels/ -o runs/w2s
      distill train-student --teacher prosody --audio recordings/ --online -o runs/w2s
      distill train-student --teacher ratings --audio MSP-Podcast/ --where split=Train -o runs/human
    """
    from distill.cli import find
    from students.training import train_student as run

    if teacher is not None:
        how = {"teacher": teacher, "audio_licence": audio_licence or UNKNOWN, "window": window, "hop": hop,
               "where": where}  # fmt: skip
        options |= _labelled(find("teacher.labelling:label"), how, **options)
    result = run(
        **options,
        export_check=find("export.check:export_untrained"),
        open_teacher=find("teacher.catalogue:open_teacher"),
    )
    return show(result, as_json, _trained)


def _labelled(
    label: Callable[..., dict[str, Any]], how: dict[str, Any], *, audio: str, output: Path, arch: str,
    require_licence: str | None, device: str, **_: Any,
) -> dict[str, Any]:  # fmt: skip
    """Label what is missing in the run's own table; returns what training then takes instead of the audio."""
    from students.catalogue import build

    build(arch)  # an unknown one is refused before the hours of labelling
    say(f"labelling {audio} with {how['teacher']} into {output / LABELS}")
    done = label(audio, output=output / LABELS, require_licence=require_licence, device=device, **how)
    say(f"{done['labelled']} segments labelled, {done['skipped']} already done, {done['failed']} failed")
    return {"labels": [output / LABELS], "audio": None}


def _trained(result: dict[str, Any]) -> str:
    scores = "  ".join(f"{axis} {_interval(score)}" for axis, score in result["ccc"].items() if score)
    return f"CCC with {result['teacher']} on {result['n']} held-out clips: {scores}"


def _interval(score: dict[str, float | None]) -> str:
    """Few clips have no interval: NaN, which `result.json` writes as null."""
    value, low, high = (float("nan") if score[key] is None else score[key] for key in ("value", "low", "high"))
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


@click.command()
@json_option
def students(as_json: bool) -> Any:
    """List the students: parameters, operations, tokens, hop.

    \b
    Example:
      distill students --json
    """
    from students.catalogue import STUDENTS, figures

    return show([figures(name).as_dict() for name in STUDENTS], as_json, lambda rows: "\n".join(map(_line, rows)))


def _line(row: dict[str, Any]) -> str:
    return (
        f"{row['name']}: {row['parameters']} parameters ({row['trainable']} train), "
        f"{row['macs_per_second'] / 1e6:.1f} M MAC and {row['tokens_per_second']:g} tokens per second of audio, "
        f"hop {row['hop_ms']:g} ms"
    )


@click.command("benchmark-training")
@click.option("--seconds", type=click.FloatRange(0.25, 60), default=5.0, show_default=True, help="Length of a clip.")
@click.option("--batch-size", type=click.IntRange(2), default=32, show_default=True, help="Clips a step.")
@click.option("--steps", type=click.IntRange(1), default=2, show_default=True, help="Steps a turn.")
@click.option("--rounds", type=click.IntRange(1), default=9, show_default=True, help="How often each has its turn.")
@click.option("--threads", type=click.IntRange(1), help="Threads of each [default: one a core].")
@click.option("-o", "--output", type=existing, help="JSON to write the result to.")
@json_option
def benchmark_training(as_json: bool, **options: Any) -> Any:
    """Time training of Wav2Small on this processor against a plain loop.

    A plain PyTorch loop (students/plain.py), the same told to keep freed memory, and the step of `train-student`, each
    a new process, all taking turns, on noise. Then how fast batches are loaded, with and without training.

    \b
    Example:
      distill benchmark-training --rounds 9 -o training.json
    """
    from distill.cli import find
    from students.speed import benchmark_training as run

    return show(run(**options, describe=find("benchmarks.machine:describe")), as_json, _timed)


def _timed(result: dict[str, Any]) -> str:
    machine, loading = result["machine"], result["loading"]
    rows = [
        f"{name}: {row['median']:.1f} clips/s ({row['p10']:.1f} to {row['p90']:.1f}), "
        f"{1000 * row['processor']:.1f} ms of processor time a clip"
        for name, row in result["ways"].items()
    ]
    ratios = [
        f"ours to {name}: {row['median']:.2f} times as fast ({row['low']:.2f} to {row['high']:.2f} in "
        f"{result['rounds']} rounds; {row['processor']:.2f} by processor time)"
        for name, row in result["ratios"].items()
    ]
    loaded = [
        f"loading by {workers} processes: {alone:.0f} clips/s alone, {loading['with_training'][workers]:.1f} clips/s "
        "with training"
        for workers, alone in loading["alone"].items()
    ]
    return "\n".join([
        f"{machine.get('cpu', 'cpu')}, {machine['threads']} threads, torch {machine['torch']}: clips of "
        f"{result['seconds']:g} s, {result['batch_size']} a batch", *rows, *ratios, *loaded,
    ])  # fmt: skip
