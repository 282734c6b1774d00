"""The commands of the benchmarks' room."""

from __future__ import annotations

from typing import Any

import click

from distill.options import audio_option, existing, json_option, output_option, seed_option, show


@click.command()
@click.argument("models", type=existing, nargs=-1, required=True)
@output_option("Folder of the report.")
@click.option("--truth", type=existing, help="Ratings, or a teacher's label table, to compare the answers with.")
@audio_option
@click.option("--rounds", type=click.IntRange(3), default=30, show_default=True, help="Timed rounds, interleaved.")
@seed_option
@json_option
def benchmark(as_json: bool, **options: Any) -> Any:
    """Measure students on this host: bytes, parameters, operations, latency, memory, CCC; JSON, HTML, Markdown.

    \b
    Example:
      distill benchmark student.onnx -o report/
    """
    from benchmarks.benchmark import benchmark as run

    return show(run(**options), as_json, lambda result: "\n".join(map(_line, result["models"])))


@click.command("benchmark-quantisation")
@click.argument("run", type=existing)
@click.option("--seconds", type=click.FloatRange(0.25, 60), default=5.0, show_default=True, help="Length of a clip.")
@click.option("--rounds", type=click.IntRange(3), default=30, show_default=True, help="Timed rounds, interleaved.")
@click.option("--tune/--no-tune", default=True, show_default=True, help="Also the smallest file, which takes minutes.")
@click.option("--smallest", type=existing, help="That file, exported before: it is not made again.")
@click.option("-o", "--output", type=existing, help="JSON to write the result to.")
@json_option
def benchmark_quantisation(as_json: bool, **options: Any) -> Any:
    """Quantise a run of Wav2Small in many ways: bytes, latency, agreement with the float network.

    RUN is a folder of `distill train-student`; its own clips calibrate, and its held-out clips are compared on.

    \b
    Example:
      distill benchmark-quantisation runs/w2s -o quantisation.json
      distill benchmark-quantisation runs/w2s --smallest smallest.onnx -o quantisation.json
    """
    from benchmarks.quantisation import benchmark_quantisation as run
    from benchmarks.quantisation import table

    return show(run(**options), as_json, table)


def _line(model: dict[str, Any]) -> str:
    return (
        f"{model['path']}: {model['bytes']:,} bytes, {_timed(model['latency_ms']['5'])}, "
        f"peak memory {model['peak_rss_bytes']['model'] / 1e6:.0f} MB over the runtime"
    )


def _timed(at_5: dict[str, float] | None) -> str:
    if at_5 is None:
        return "no answer to 5 s of audio (its shortest clip is longer)"
    return f"5 s of audio in {at_5['median']:.1f} ms ({at_5['p10']:.1f} to {at_5['p90']:.1f}; this host, one thread)"
