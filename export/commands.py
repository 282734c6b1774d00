"""The commands of the exporters' room."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from distill.options import existing, json_option, licence_option, output_option, pairs, show


@click.command()
@click.argument("run", type=existing)
@output_option("The ONNX file; its JSON is written beside it.")
@click.option("--int8", is_flag=True, help="Quantise to int8, calibrated on the run's own clips, or on --audio.")
@click.option("--smallest", is_flag=True, help="Weights of 2 and 4 bits, fitted on the clips (Wav2Small; minutes).")
@click.option(
    "--budget", type=click.IntRange(1), metavar="BYTES",
    help="As many bits as fit into a file of so many bytes (Wav2Small).",
)  # fmt: skip
@click.option(
    "--audio", type=existing,
    help="More recordings to round and fit Wav2Small on, of any speech: what --smallest lacks most. To a student's "
    "file they are all there is.",
)  # fmt: skip
@click.option("--data-licence", "audio_licence", metavar="LICENCE", help="What these recordings are under.")
@click.option(
    "--tflite", metavar="[SECONDS]", type=click.FloatRange(0, min_open=True), is_flag=False, flag_value=2.0,
    help="Also write a .tflite, for clips of so many seconds [2].",
)  # fmt: skip
@click.option("--c", is_flag=True, help="Also write c/: a quantised Wav2Small in C99, for microcontrollers.")
@click.option("--synthetic-golden", is_flag=True, help="Golden vectors of synthesised clips, not of recordings.")
@licence_option
@json_option
def export(as_json: bool, **options: Any) -> Any:
    """Export a run to ONNX, from raw PCM to A/D/V, checked against torch at eight lengths.

    RUN is a folder of `distill train-student`, one with the published weights of audeering/wav2small, or a float
    student: a file exported before, or the name of one that comes with distill. To quantise such a file takes --audio.

    \b
    Example:
      distill export runs/w2s --int8 -o student.onnx
      distill export runs/w2s --smallest --audio recordings/ --data-licence "CC BY 4.0" -o student.onnx
      distill export wav2small --int8 --audio recordings/ --data-licence "CC BY 4.0" -o student.onnx
      distill export runs/w2s --int8 --c -o student.onnx
      distill export runs/w2s --tflite 3 -o student.onnx
    """
    from export.exporting import export as run
    from export.exporting import tell

    return show(run(**options), as_json, tell)


@click.command()
@click.argument("student")
@click.option(
    "--evaluation", "evaluations", type=existing, multiple=True, metavar="FILE.json",
    help="What `distill evaluate -o` wrote of it, or of a teacher on the same clips; may be given several times.",
)  # fmt: skip
@click.option("--training", type=existing, help="The result.json of its run.")
@click.option("--comparison", type=existing, help="What `distill ablate -o` wrote, of ways to train it.")
@click.option(
    "--language", "languages", multiple=True, metavar="CODE=WHAT",
    callback=lambda _context, _option, given: pairs(given),
    help="A language that it has heard, and what of it; may be given several times.",
)  # fmt: skip
@click.option("--note", help="What else a reader of the figures has to know.")
@json_option
def card(as_json: bool, **options: Any) -> Any:
    """Write the model card of STUDENT (.onnx, or a name) again, with what was measured of it since its export.

    The card holds what is given now, all of it: what an earlier one said is not kept. An evaluation of another file is
    refused.

    \b
    Example:
      distill card student.onnx --evaluation people.json --language de=German
      distill card student.onnx --training runs/w2s/result.json --evaluation people.json --language "de=German, acted"
    """
    from export.readme import card as run

    return show({"card": run(**options)}, as_json, _written)


def _written(result: dict[str, Path]) -> str:
    return f"{result['card']}"
