"""The commands of the teachers' room: label, train-teacher, teachers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

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


@click.command()
@click.argument("source")
@output_option("Folder of the label table.")
@click.option(
    "--teacher",
    default="odyssey",
    show_default=True,
    metavar="NAME",
    help="A name from `distill teachers`, mean: of several, a folder, an .onnx file, or a hub's owner/name.",
)
@audio_option
@where_option
@click.option("--window", type=float, help="Cut longer recordings into windows of this many seconds.")
@click.option("--hop", type=float, help="Seconds from one window to the next [default: the window].")
@click.option("--data-licence", "audio_licence", default="unknown", help="The licence of the recordings.")
@licence_option
@click.option("--embeddings", is_flag=True, help="Write what the teacher pooled beside its answers (float16 list).")
@click.option("--relabel", is_flag=True, help="Replace the rows of files that have changed since.")
@click.option("--strict", is_flag=True, help="Exit with an error if any segment failed.")
@click.option("--vad", is_flag=True, help="Label speech alone, found by silero-vad.")
@click.option("--vad-threshold", type=float, default=0.5, show_default=True, help="Probability of speech.")
@click.option("--vad-pause", type=float, default=0.3, show_default=True, help="Seconds; shorter pauses are speech.")
@click.option("--cache", type=existing, help="Where tars from elsewhere are kept [default: ~/.cache/distill].")
@click.option("--cache-gb", type=float, default=20.0, show_default=True, help="How much of them is kept.")
@device_option
@click.option(
    "--jobs", type=click.IntRange(1),
    help="Worker processes [default: one a core; one for a teacher that uses all cores by itself].",
)  # fmt: skip
@json_option
def label(strict: bool, as_json: bool, **options: Any) -> Any:
    """Annotate audio with arousal, dominance, valence.

    SOURCE is a folder, an audio file, a manifest (CSV, JSONL, Parquet with file[,start,end]), or WebDataset tars: one,
    a folder of them, a pattern, an address. Interrupted or called again, it does what is missing.

    \b
    Example:
      distill label recordings/ -o labels/ --teacher prosody
      distill label 's3://bucket/s-{000..499}.tar' -o labels/ --vad
    """
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


@click.command("train-teacher")
@click.option("--method", type=click.Choice(["prosody"]), default="prosody", show_default=True, help="How to train.")
@click.option("--labels", type=existing, required=True, help="CSV with file, speaker, arousal, valence.")
@audio_option
@output_option("Folder for the teacher.")
@click.option("--split", default="train", show_default=True, help="Rows whose column `split` has this value.")
@click.option("--licence", default="unknown", help="The licence that the weights will be under.")
@click.option("--data-licence", default="unknown", help="The licence of the recordings and ratings.")
@click.option("--trained-on", help="A sentence for the card [default: the table's name and counts].")
@seed_option
@json_option
def train_teacher(method: str, labels: Path, audio: Path | None, as_json: bool, **options: Any) -> Any:
    """Train a teacher on human ratings; chosen by leaving one speaker out.

    \b
    Example:
      distill train-teacher --method prosody --labels ratings.csv --audio recordings/ -o teachers/mine
    """
    from teacher.prosody.training import train_prosody

    result = train_prosody(labels=labels, audio=audio or labels.parent, **options)
    return show(result, as_json, _trained)


def _trained(result: dict[str, Any]) -> str:
    left_out = ", ".join(f"{axis} {value:.3f}" for axis, value in result["loso_ccc"].items())
    return f"{result['output']}: {result['n']} clips, CCC on the speaker left out: {left_out}"


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
