"""The commands of the teachers' room: from label to teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distill.licences import KINDS
from distill.options import (
    audio_option,
    device_option,
    existing,
    json_option,
    licence_option,
    output_option,
    seed_option,
    show,
    where_option,
)
from distill.progress import duration
from teacher.tuning.options import CCC_OVER, CONDITIONS, HEADS, METHODS, POOLINGS, PROSODY, TASKS, TOP

_teacher_option = click.option(
    "--teacher",
    default="odyssey",
    show_default=True,
    metavar="NAME",
    help="A name from `distill teachers`, mean: of several, llm:CONFIG, a folder, an .onnx file, a hub's owner/name.",
)


@click.command()
@click.argument("source")
@output_option("Folder of the label table.")
@_teacher_option
@audio_option
@where_option
@click.option("--window", type=float, help="Cut longer recordings into windows of this many seconds.")
@click.option("--hop", type=float, help="Seconds from one window to the next [default: the window].")
@click.option("--data-licence", "audio_licence", default="unknown", help="The licence of the recordings.")
@licence_option
@click.option("--embeddings", is_flag=True, help="Write what the teacher pooled beside its answers (float16 list).")
@click.option(
    "--views",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Answer each clip so many times, slightly changed; the spread says how sure the teacher is.",
)
@click.option("--relabel", is_flag=True, help="Replace the rows of files that have changed since.")
@click.option("--strict", is_flag=True, help="Exit with an error if any segment failed.")
@click.option("--vad", is_flag=True, help="Label speech alone, found by silero-vad.")
@click.option("--vad-threshold", type=float, default=0.5, show_default=True, help="Probability of speech.")
@click.option("--vad-pause", type=float, default=0.3, show_default=True, help="Seconds; shorter pauses are speech.")
@click.option("--cache", type=existing, help="Where tars from elsewhere are kept [default: ~/.cache/distill].")
@click.option("--cache-gb", type=float, default=20.0, show_default=True, help="How much of them is kept.")
@device_option
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    show_default=True,
    help="Of a large teacher's products; bfloat16 is first compared with float32 on 200 clips.",
)
@click.option(
    "--precision-check", type=existing, help="What `distill check-precision` wrote, so as not to compare again."
)
@click.option(
    "--jobs", type=click.IntRange(1),
    help="Worker processes [default: one a core; one for a teacher that uses all cores by itself; several share them].",
)  # fmt: skip
@click.option(
    "--engine", type=click.Choice(["local", "ray"]), default="local", show_default=True,
    help="What computes: this machine, or a Ray cluster, one process a GPU (or a CPU, or --jobs in all). Every node "
    "has to see recordings and the teacher's files under the same path, and to have this distill installed.",
)  # fmt: skip
@click.option(
    "--address", metavar="ADDRESS",
    help="The Ray cluster: auto (the one this machine belongs to) or HOST:PORT [default: one on this "
    "machine, for as long as it takes].",
)  # fmt: skip
@click.option(
    "--estimate", is_flag=True,
    help="Time the teacher on a sample, say what all would take, and touch no table. A language model is asked about "
    "the sample, at its price; its cache keeps the answers.",
)  # fmt: skip
@click.option("--price-per-hour", type=click.FloatRange(0), help="What an hour of this machine costs, for --estimate.")
@json_option
def label(strict: bool, as_json: bool, estimate: bool, price_per_hour: float | None, **options: Any) -> Any:
    """Annotate audio with arousal, dominance, valence.

    SOURCE is a folder, an audio file, a manifest (CSV, JSONL, Parquet with file[,start,end]), or WebDataset tars: one,
    a folder of them, a pattern, an address. Interrupted or called again, it does what is missing.

    \b
    Example:
      distill label recordings/ -o labels/ --teacher prosody
      distill label 's3://bucket/s-{000..499}.tar' -o labels/ --vad
    """
    if estimate:
        from teacher.estimating import estimate as try_out

        if options.pop("engine") != "local" or options.pop("address") or options.pop("precision_check"):
            raise click.UsageError("--estimate times this machine in one precision: no --engine, no --precision-check")
        return show(try_out(**options, price_per_hour=price_per_hour), as_json, _estimated)
    if price_per_hour is not None:
        raise click.UsageError("--price-per-hour goes with --estimate")
    from teacher.labelling import label as run

    result = run(**options)
    show(result, as_json, _labelled)
    if strict and result["failed"]:
        raise SystemExit(1)
    return result


def _labelled(result: dict[str, Any]) -> str:
    return (
        f"{result['labelled']} segments labelled ({result['audio_seconds'] / 60:.1f} minutes of audio), "
        f"{result['skipped']} already done, {result['failed']} failed: {result['output']}"
    )


def _estimated(found: dict[str, Any]) -> str:
    wall, sample = found["wall_seconds"], found["sample"]
    at = f"{found['machine']}, {found['jobs']} {'job' if found['jobs'] == 1 else 'jobs'}"
    lines = [
        f"{found['missing']} segments to label, {found['audio_hours']:.2f} hours of audio "
        f"({found['skipped']} already done, {found['unlisted']} cannot be listed)",
        f"about {duration(wall['value'])} ({duration(wall['low'])} to {duration(wall['high'])}) on {at}",
        f"{found['real_time_factor']:.2g} seconds of work a second of audio",
        f"{_bytes(found['disk_bytes'])} on disk"
        + (f", {_bytes(found['disk_bytes_with_embeddings'])} with embeddings"
           if found["disk_bytes_with_embeddings"] else ""),
        f"timed on {sample['segments']} segments ({sample['audio_seconds']:.1f} s of audio in "
        f"{sample['wall_seconds']:.1f} s), {sample['failed']} of them failed; the table is not touched",
    ]  # fmt: skip
    if found["cost"] is not None:
        cost = found["cost"]
        lines.insert(3, f"cost about {cost['value']:.2f} ({cost['low']:.2f} to {cost['high']:.2f})")
    return "\n".join(lines)


def _bytes(size: float) -> str:
    unit, name = (1e9, "GB") if size >= 1e9 else (1e6, "MB") if size >= 1e6 else (1e3, "kB")
    return f"{size / unit:.1f} {name}"


@click.command("check-precision")
@_teacher_option
@click.option("--audio", type=existing, required=True, help="Folder or manifest; 200 clips of it are heard.")
@click.option("-o", "--output", type=existing, help="JSON, for `distill label --precision-check`.")
@click.option("--precision", type=click.Choice(["bfloat16"]), default="bfloat16", show_default=True, help="To try.")
@device_option
@json_option
def check_precision(as_json: bool, **options: Any) -> Any:
    """Compare a teacher's answers in reduced precision with those in float32.

    Passes, with exit code 0, where the CCC of every axis is at least 0.999 and no clip is off by more than 0.01.

    \b
    Example:
      distill check-precision --teacher odyssey --audio recordings/ -o check.json
    """
    from teacher.precision import check_precision as run

    result = run(**options)
    show(result, as_json, _compared)
    if not result["passed"]:
        raise SystemExit(1)
    return result


def _compared(result: dict[str, Any]) -> str:
    agreement = ", ".join(f"{axis} {value:.5f}" for axis, value in result["ccc"].items())
    verdict = "passed" if result["passed"] else f"failed: {'; '.join(result['why'])}"
    return (
        f"{result['teacher']} in {result['precision']} against float32 on {result['clips']} clips "
        f"({result['wanted']} wanted): CCC {agreement or '-'}; largest difference {result['largest_difference']:.5f}; "
        f"{verdict}"
    )


@click.command("benchmark-labelling")
@click.option("--seconds", type=click.FloatRange(0.1), default=5.0, show_default=True, help="Length of the clips.")
@click.option("--rounds", type=click.IntRange(1), default=7, show_default=True, help="In each, everything has a turn.")
@click.option("--threads", type=click.IntRange(1), help="Of each process [default: torch's own choice].")
@click.option("--processes", is_flag=True, help="Try a one-thread process for every core, too (memory for each).")
@device_option
@click.option("-o", "--output", type=existing, help="JSON to write.")
@json_option
def benchmark_labelling(as_json: bool, **options: Any) -> Any:
    """Time the encoder of the large teachers against a plain loop over transformers.

    WavLM-large with random weights, a new process for each way, all taking turns; nothing is downloaded. Then the whole
    of labelling with a teacher that returns a constant.

    \b
    Example:
      distill benchmark-labelling --rounds 7 -o labelling.json
    """
    from distill.cli import find
    from teacher.speed import benchmark_labelling as run

    result = run(**options, describe=find("benchmarks.machine:describe"))
    return show(result, as_json, _timed)


def _timed(result: dict[str, Any]) -> str:
    rows = [
        f"{name}: {row['median']:.1f} ms a clip ({row['p10']:.1f} to {row['p90']:.1f}), "
        f"{row['ratio']:.2f} times the plain loop ({row['ratio_p10']:.2f} to {row['ratio_p90']:.2f}; "
        f"{row['processor_ratio']:.2f} by processor time)"
        + (f", {100 * row['share']:.0f} % of the product rate" if row["share"] is not None else "")
        for name, row in result["ways"].items()
    ]
    rest = result["overhead"]
    return "\n".join([
        f"clips of {result['seconds']:g} s, {result['rounds']} rounds, {result['device']}", *rows,
        f"all but the teacher: {rest['times_real_time']:.0f} times real time, FLAC, {rest['jobs']} processes",
    ])  # fmt: skip


def _listed(context: click.Context, option: click.Parameter, value: str | None) -> list[str] | None:
    return None if value is None else [task.strip() for task in value.split(",") if task.strip()]


@click.command("train-teacher")
@click.option(
    "--method", type=click.Choice([PROSODY, *METHODS]),
    help="How to train [default: lora of the backbone that is given, else prosody].",
)  # fmt: skip
@click.option(
    "--backbone", metavar="NAME", help="To tune: a folder, or a hub's owner/name; docs/teachers.md says more."
)
@click.option(
    "--labels", type=existing, required=True,
    help="CSV with file and any of arousal, dominance, valence (0..1), category, speaker, split.",
)  # fmt: skip
@audio_option
@output_option("Folder for the teacher.")
@where_option
@click.option("--task", type=click.Choice(list(TASKS)), help="What is learned [default: adv].")
@click.option("--tasks", metavar="adv,COLUMN,...", callback=_listed, help="Several tasks in its place, each with "
              "adapters of its own, stacked: adv, and columns whose values are told apart.")  # fmt: skip
@click.option("--fuse", is_flag=True, default=None, help="Let each frame attend to the adapters of all --tasks.")
@click.option("--layers", metavar="last|weighted|attentive-merge|first:N", help="What is heard of the layers; "
              "NAME:N goes without those behind the first N [default: the method's].")  # fmt: skip
@click.option("--pooling", type=click.Choice(POOLINGS), help="Over time [default: mean].")
@click.option("--head", type=click.Choice(HEADS), help="What answers [default: the method's].")
@click.option("--top-layers", type=click.IntRange(1), help=f"Layers that --method partial trains [default: {TOP}].")
@click.option("--condition", type=click.Choice(CONDITIONS), help="What the teacher is told beside the sound, by the "
              "columns sex, transcript, text_vector [default: none].")  # fmt: skip
@click.option("--text-encoder", metavar="NAME", help="Makes vectors of transcripts: a folder, or a hub's owner/name.")
@click.option("--epochs", type=click.IntRange(1), help="At most [default: the method's].")
@click.option("--patience", type=click.IntRange(1), help="Epochs without a better score until it ends [default: 5].")
@click.option("--batch-size", type=click.IntRange(1), help="Clips an update [default: 32].")
@click.option("--micro-batch", type=click.IntRange(1), help="Clips in the network at once [default: 8].")
@click.option("--ccc-over", type=click.Choice(CCC_OVER),
              help="What each CCC is taken over [default: batch, by a second pass].")  # fmt: skip
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), help="Its peak [default: the method's].")
@click.option("--longest", type=click.FloatRange(0, min_open=True), help="Seconds of a clip [default: the method's].")
@click.option("--speaker-from", metavar="REGEX", help="Finds the speaker in a path, where there is no such column.")
@click.option("--checkpointing", is_flag=True, default=None, help="Less memory: layers are computed twice.")
@click.option("--licence", help="Of the weights [default: unknown; of a tuned one that of its backbone].")
@click.option("--data-licence", default="unknown", help="The licence of the recordings and ratings.")
@click.option("--backbone-data-licence", help="The licence of what the backbone was trained on [default: unknown].")
@click.option("--require-licence", type=click.Choice(KINDS), help="Refuse what is under a stricter licence.")
@click.option("--trained-on", help="A sentence for the card [default: the table's name and counts].")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where to tune [default: auto].")
@click.option("--precision", type=click.Choice(["auto", "float32", "bfloat16"]), help="Of products [default: auto].")
@seed_option
@json_option
def train_teacher(as_json: bool, **options: Any) -> Any:
    """Train a teacher on human ratings: prosody, or a backbone by one of the methods of the papers.

    Without a backbone prosody is trained, chosen by leaving one speaker out. A backbone (wav2vec 2.0, HuBERT, WavLM,
    Whisper's encoder) is tuned, and scored on speakers held out. A tuning that was interrupted goes on by the same
    command.

    \b
    Example:
      distill train-teacher --labels ratings.csv --audio recordings/ -o teachers/mine
      distill train-teacher --backbone microsoft/wavlm-base-plus --method lora --labels ratings.csv -o teachers/mine
      distill train-teacher --backbone microsoft/wavlm-large --tasks adv,category,sex --fuse --labels ratings.csv -o all
    """
    from teacher.training import train_teacher as run

    if options["task"] is not None and options["tasks"] is not None:
        raise click.UsageError("--tasks takes the place of --task")
    # What was not asked for is left to the method: the two kinds take different options.
    asked = {key: value for key, value in options.items() if value is not None}
    result = run(**asked)
    return show(result, as_json, _trained if "loso_ccc" in result else _tuned)


def _trained(result: dict[str, Any]) -> str:
    left_out = ", ".join(f"{axis} {value:.3f}" for axis, value in result["loso_ccc"].items())
    return f"{result['output']}: {result['n']} clips, CCC on the speaker left out: {left_out}"


def _tuned(result: dict[str, Any]) -> str:
    scores = [f"{axis} CCC {_in_interval(score)}" for axis, score in result["ccc"].items()]
    scores += [f"{column} UAR {_in_interval(recall)}" for column, recall in result["uar"].items()]
    lacking = [f"not rated, not answered: {', '.join(result['missing'])}"] if result["missing"] else []
    return "\n  ".join([
        f"{result['output']}: {result['method']} on {result['backbone']}, {result['trainable']:,} of "
        f"{result['parameters']:,} parameters, {result['epochs']} epochs",
        *scores, *lacking,
        f"on {result['n']} clips held out by {result['split']['by']}; weights {result['licence']}; "
        f"trained on {result['data_licence']}",
    ])  # fmt: skip


def _in_interval(score: dict[str, float]) -> str:
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]"


@click.command("compare-teachers")
@click.argument("teachers", nargs=-1, required=True)
@click.option(
    "--truth", "truths", type=existing, required=True, multiple=True,
    help="People's ratings and categories: a CSV, or the label file of a published corpus; may be given several times.",
)  # fmt: skip
@click.option(
    "--audio", type=existing, multiple=True, help="Root folder below which the files are: one for all, or one a truth."
)
@where_option
@output_option("Folder for comparison.json and comparison.md, or corpora.json, corpora.md and a folder a truth.")
@device_option
@seed_option
@json_option
def compare_teachers(as_json: bool, truths: tuple[Path, ...], audio: tuple[Path, ...], **options: Any) -> Any:
    """Compare TEACHERS on the same clips: CCC and UAR with 95 % intervals, what learned, seconds a clip.

    All answer every clip in turn. Beside them stand the numbers of the papers, marked as published. Of several truths
    there is a comparison each, and a table of all teachers on all corpora.

    \b
    Example:
      distill compare-teachers teachers/lora teachers/head prosody --truth ratings.csv --audio recordings/ -o report/
      distill compare-teachers teachers/msp prosody --truth msp.csv --audio msp/ --truth emodb.csv --audio emodb/ -o x/
    """
    from distill.cli import find
    from teacher.across import compare_across, roots
    from teacher.comparing import compare_teachers as on_one
    from teacher.comparison_table import across_as_table, as_table

    options["describe"] = find("benchmarks.machine:describe")
    if len(truths) > 1:
        return show(compare_across(truths=truths, audio=audio, **options), as_json, across_as_table)
    return show(on_one(truth=truths[0], audio=roots(audio, 1)[0], **options), as_json, as_table)


@click.command("fuse-teachers")
@click.argument("teachers", nargs=-1, required=True)
@click.option(
    "--truth", type=existing, required=True, help="People's ratings with a column speaker: a CSV, or a corpus's labels."
)  # fmt: skip
@audio_option
@where_option
@output_option("Folder for the fusion, which is a teacher.")
@device_option
@seed_option
@json_option
def fuse_teachers(as_json: bool, **options: Any) -> Any:
    """Fuse TEACHERS into one: a weighted mean, its weights fitted on half of the speakers, scored on the others.

    \b
    Example:
      distill fuse-teachers teachers/lora teachers/head --truth dev.csv --audio recordings/ -o teachers/fused
    """
    from teacher.fusing import as_table
    from teacher.fusing import fuse_teachers as run

    return show(run(**options), as_json, as_table)


@click.command()
@click.option("--teacher", required=True, metavar="llm:CONFIG", help="The language model: llm: and its configuration.")
@click.option("--labels", type=existing, required=True, help="CSV with file, speaker and ratings (0..1) of some axes.")
@audio_option
@where_option
@output_option("The file of the calibration (JSON); name it in the configuration: calibration: FILE.")
@json_option
def calibrate(as_json: bool, **options: Any) -> Any:
    """Bring a language model's answers to the scale of human ratings; told on the speakers left out.

    \b
    Example:
      distill calibrate --teacher llm:config.yaml --labels ratings.csv --audio recordings/ -o calibration.json
    """
    from teacher.llm.calibrating import calibrate as run

    return show(run(**options), as_json, _calibrated)


def _calibrated(result: dict[str, Any]) -> str:
    lines = [
        f"  {axis}: {one['note'] or _improved(one)} ({one['n']} clips of {one['speakers']} speakers)"
        for axis, one in result["axes"].items()
    ]
    return "\n".join([f"{result['output']}: {result['clips']} clips answered, {result['failed']} failed", *lines])


def _improved(axis: dict[str, Any]) -> str:
    line = f"{axis['gain']:.3f} x answer {axis['offset']:+.3f}"
    return f"{line}, CCC {axis['ccc_before']:.3f} -> {axis['ccc_after']:.3f} on speakers left out"


@click.command()
@json_option
def teachers(as_json: bool) -> Any:
    """List the teachers: axes and their order, range, normalisation, gain, licences of weights and data, proof.

    \b
    Example:
      distill teachers --json
    """
    from teacher.catalogue import cards

    return show([card.as_dict() for card in cards()], as_json, lambda rows: "\n".join(map(_lines, rows)))


def _lines(card: dict[str, Any]) -> str:
    derived = f" ({', '.join(card['derived'])} derived)" if card["derived"] else ""
    return "\n  ".join([
        f"{card['name']}: {card['source']}, {card['parameters']:,} parameters",
        f"answers {', '.join(card['order'])}{derived}, about {card['range'][0]:g} to {card['range'][1]:g}, "
        f"to clips of {card['shortest_seconds']:g} to {card['longest_seconds']:g} s",
        f"normalisation: {card['normalisation']}; {'gain-invariant' if card['gain_invariant'] else 'gain moves it'}",
        f"weights {card['licence']}; trained on {card['data_licence']}",
        f"loader proven on {card['proven_on']}",
    ])  # fmt: skip
