"""The commands of the benchmarks' room."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from distill.errors import DistillError
from distill.options import audio_option, existing, json_option, seed_option, show
from distill.progress import say


@click.command()
@click.argument("models", type=existing, nargs=-1, required=True)
@click.option("-o", "--output", type=existing, help="Folder of the report; without one nothing is written.")
@click.option("--truth", type=existing, help="Ratings, or a teacher's label table, to compare the answers with.")
@audio_option
@click.option("--rounds", type=click.IntRange(3), default=30, show_default=True, help="Timed rounds, interleaved.")
@click.option(
    "--device",
    "devices",
    multiple=True,
    metavar="NAME",
    help="Also measure the first model as C (`export --c`) there: cortex-m3, cortex-m4, cortex-m55, host.",
)
@click.option(
    "--profile", metavar="NAME", help="Also say whether it fits: hearing-aid, wearable-m4, wearable-m55, raspberry-pi."
)
@seed_option
@json_option
def benchmark(as_json: bool, **options: Any) -> Any:
    """Measure students on this host: bytes, parameters, operations, latency, memory, CCC; JSON, HTML, Markdown.

    On emulated cores instructions are counted, which are no time: docs/benchmarking.md.

    \b
    Example:
      distill benchmark student.onnx -o report/
      distill benchmark student.onnx --device cortex-m4 --device host -o report/
      distill benchmark student.onnx --profile hearing-aid -o report/
    """
    from benchmarks.benchmark import benchmark as run

    return show(run(**options), as_json, lambda result: "\n".join(_lines(result)))


@click.command("benchmark-quantisation")
@click.argument("run", type=existing)
@click.option("--audio", type=existing, help="More recordings to round on, as of `distill export`.")
@click.option("--seconds", type=click.FloatRange(0.25, 60), default=5.0, show_default=True, help="Length of a clip.")
@click.option("--rounds", type=click.IntRange(3), default=30, show_default=True, help="Timed rounds, interleaved.")
@click.option("--tune/--no-tune", default=True, show_default=True, help="Also the smallest file, which takes minutes.")
@click.option("--smallest", type=existing, help="That file, exported before: it is not made again.")
@click.option("-o", "--output", type=existing, help="JSON to write the result to.")
@json_option
def benchmark_quantisation(as_json: bool, **options: Any) -> Any:
    """Quantise a Wav2Small in many ways: bytes, latency, agreement with the float network.

    RUN is what `distill export` takes. Its own clips calibrate, or those of --audio, and held-out ones are compared on.

    \b
    Example:
      distill benchmark-quantisation runs/w2s -o quantisation.json
      distill benchmark-quantisation wav2small --audio recordings/ --smallest smallest.onnx -o quantisation.json
    """
    from benchmarks.quantisation import benchmark_quantisation as run
    from benchmarks.quantisation import table

    return show(run(**options), as_json, table)


@click.command("benchmark-engine")
@click.option("--layout", "layouts", multiple=True, metavar="NAME", help="Only this one; may be given several times.")
@click.option(
    "--core",
    "cores",
    multiple=True,
    metavar="NAME",
    default=("cortex-m3", "cortex-m4", "cortex-m55"),
    show_default=True,
    help="Emulated core; may be given several times.",
)
@click.option("--seconds", type=click.FloatRange(0.5, 30), default=5.0, show_default=True, help="Length of the clip.")
@click.option("-o", "--output", type=existing, help="JSON to write the result to.")
@json_option
def benchmark_engine(as_json: bool, **options: Any) -> Any:
    """Count the instructions of every layout in C, untrained, on emulated cores, for each second of audio.

    \b
    Example:
      distill benchmark-engine
      distill benchmark-engine --layout wav2small-lite --core cortex-m4 -o engine.json
    """
    from benchmarks.emulated.layouts import benchmark_engine as run
    from benchmarks.emulated.layouts import table

    return show(run(**options), as_json, table)


@click.command("benchmark-peers")
@click.option(
    "--core",
    "cores",
    multiple=True,
    metavar="NAME",
    default=("cortex-m4", "cortex-m55"),
    show_default=True,
    help="Emulated core; may be given several times.",
)
@click.option(
    "--python",
    type=existing,
    default=sys.executable,
    show_default="this one",
    help="Python of the environment that the peers are installed in (extra `peers`).",
)
@click.option("-o", "--output", type=existing, help="JSON to write the result to.")
@json_option
def benchmark_peers(as_json: bool, **options: Any) -> Any:
    """Count the instructions of Wav2Small's trunk as our C and as that of emx-onnx-cgen and Apache TVM: minutes.

    \b
    Example:
      distill benchmark-peers --python peers/bin/python -o peers.json
    """
    from benchmarks.peers.comparing import compare, table

    return show(compare(**options), as_json, table)


def _lines(result: dict[str, Any]) -> Iterator[str]:
    yield from map(_line, result["models"])
    for name, device in result["devices"].items():
        yield _device(name, device)
    if result["profile"]:
        yield f"{result['profile']['name']}: {result['profile']['verdict']}"


def _device(name: str, device: dict[str, Any]) -> str:
    """A device's line: of a core that is emulated instructions, and cycles where they are known; of this host times."""
    if "latency_ms" in device:
        return f"in C on this host: {_timed(device['latency_ms'].get('5'))}"
    cycles, stack = device["cycles_per_second"], device["stack_bytes"]
    taken = f", {cycles['low'] / 1e6:.1f} to {cycles['high'] / 1e6:.1f} M cycles" if cycles else ""
    return (
        f"in C on an emulated {name}: {device['instructions_per_second'] / 1e6:.1f} M instructions a second of audio"
        f"{taken}; {device['flash_bytes']:,} bytes of flash, {device['ram_bytes']:,} of RAM ({stack:,} of them stack)"
    )


@click.command()
@click.argument("source", metavar="RECIPE|SWEEP", type=existing)
@click.option("-o", "--output", type=existing, help="Folder of sweep.json and its report.")
@click.option(
    "--fits", metavar="LIMITS",
    help="Pick the best that fits, as flash=96k,ram=24k,mmacs=12: bytes, and million MAC a second of audio.",
)  # fmt: skip
@click.option("--figures", is_flag=True, help="Only tell what each member costs; nothing is trained.")
@click.option("--only", multiple=True, metavar="NAME", help="Only this member; may be given several times.")
@json_option
def sweep(
    source: Path, output: Path | None, fits: str | None, figures: bool, only: tuple[str, ...], as_json: bool
) -> Any:
    """Train and measure a family of students, and draw what their agreement costs: CCC against MAC, parameters, memory.

    RECIPE (YAML) names the members and how all are trained (docs/sweep.md); interrupted, the same command goes on. A
    member that fails is named and does not stop the others; the exit code is then 1. A SWEEP that was made, its folder,
    is told again, and picked from by other --fits.

    \b
    Example:
      distill sweep sweep.yaml --figures
      distill sweep sweep.yaml -o sweep/
      distill sweep sweep/ --fits flash=96k,ram=24k,mmacs=12
    """
    from benchmarks.budget import budget, choose, misfits, told
    from benchmarks.sweep_report import read_made, table

    within = None if fits is None else budget(fits)
    made = source.is_dir() or source.suffix == ".json"
    if not made and not source.is_file():
        raise DistillError(f"{source}: no such recipe, and no folder of a sweep")
    _check_sweep(output, only, made=made, figures=figures)
    if figures:
        from benchmarks.sweep import costs

        record = costs(source)
        for name, reason in misfits(record["members"], within).items() if within else ():
            say(f"{name} can never fit: {reason}")
        return show(record, as_json, table)
    if made:  # needs no torch
        record = read_made(source)
    else:
        from benchmarks.sweep import sweep as run

        record = run(source, output=str(output), fits=within, only=only)
    result = record if within is None else {**record, "choice": choose(record, within)}
    show(result, as_json, lambda _: "\n".join([table(record), *([told(result)] if within else [])]))
    if record["failed"] and not made:
        raise SystemExit(1)
    return result


def _check_sweep(output: Path | None, only: tuple[str, ...], *, made: bool, figures: bool) -> None:
    if made and (output or only or figures):
        raise click.UsageError("a sweep that was made takes --fits and --json alone; the others go with its recipe")
    if figures and (output or only):
        raise click.UsageError("--figures trains nothing; it takes no -o and no --only")
    if not made and not figures and output is None:
        raise click.UsageError("Missing option '-o' / '--output'.")


def _line(model: dict[str, Any]) -> str:
    return (
        f"{model['path']}: {model['bytes']:,} bytes, {_timed(model['latency_ms']['5'])}, "
        f"peak memory {model['peak_rss_bytes']['model'] / 1e6:.0f} MB over the runtime"
    )


def _timed(at_5: dict[str, float] | None) -> str:
    if at_5 is None:
        return "no answer to 5 s of audio (its shortest clip is longer)"
    return f"5 s of audio in {at_5['median']:.1f} ms ({at_5['p10']:.1f} to {at_5['p90']:.1f}; this host, one thread)"
