"""What several commands share: their options, and the one way to hand a result over."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from distill.files import plain
from distill.launched import launched
from distill.licences import KINDS

Command = Callable[..., Any]

existing = click.Path(path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
student_option = click.option(
    "--student", metavar="FILE|NAME", help="An exported student (.onnx), or one that comes with distill, by its name."
)
seed_option = click.option("--seed", type=int, default=0, show_default=True, help="Seed of everything that is drawn.")
device_option = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), default="auto", show_default=True,
    help="Where to compute; auto takes the fastest there is, and says which.",
)  # fmt: skip
licence_option = click.option(
    "--require-licence", type=click.Choice(KINDS), help="Refuse, before any work, what is under a stricter licence."
)
audio_option = click.option("--audio", type=existing, help="Root folder below which the files are.")
where_option = click.option(
    "--where", multiple=True, metavar="COLUMN=VALUE", callback=lambda _context, _option, given: pairs(given),
    help="Only rows of the manifest with this value (COLUMN=A|B: either).",
)  # fmt: skip


def output_option(what: str) -> Callable[[Command], Command]:
    """`-o`, the file or folder that a command writes."""
    return click.option("-o", "--output", type=existing, required=True, help=what)


def show(result: Any, as_json: bool, lines: Callable[[Any], str]) -> Any:
    """Print a command's result, as one JSON object or as `lines` makes it readable; and give it back. Of several
    processes the first prints it."""
    if launched().first:
        click.echo(json.dumps(plain(result), ensure_ascii=False, allow_nan=False) if as_json else lines(result))
    return result


def pairs(given: Sequence[str]) -> dict[str, str]:
    """What an option that may be given several times says of each name.

    >>> pairs(["split=train"])
    {'split': 'train'}
    """
    bad = [text for text in given if "=" not in text]
    if bad:
        raise click.BadParameter(f"{bad[0]!r} is not NAME=VALUE")
    return dict(text.split("=", 1) for text in given)


def numbers(given: Sequence[str]) -> dict[str, float]:
    """The same, where the values are numbers.

    >>> numbers(["noise=0.5"])
    {'noise': 0.5}
    """
    said = pairs(given)
    try:
        return {name: float(value) for name, value in said.items()}
    except ValueError as error:
        raise click.BadParameter(f"{error}, in {' '.join(given)}") from None
