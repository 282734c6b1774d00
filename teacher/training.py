"""Training a teacher on human ratings: a backbone tuned by one of several methods, or the bundled teacher anew."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.launched import launched
from distill.licences import UNKNOWN
from teacher.claiming import PROSODY_CARD, reject_other_kind
from teacher.tuning.folder import TEACHER
from teacher.tuning.options import COMPOSED, METHODS, PROSODY, VIEWS


def train_teacher(
    labels: str | Path,
    *,
    output: str | Path,
    method: str | None = None,
    backbone: str | None = None,
    audio: str | Path | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Train a teacher on rated recordings into the folder `output`, which `distill label --teacher` takes.

    method: "prosody" (`teacher.prosody.training.train_prosody`) or one of `teacher.tuning.options.METHODS`, which tune
    a `backbone`; by default "lora" of the backbone that is given ("adapter" for several tasks, "full" for views), else
    "prosody".
    audio: folder that the files stand in, by default that of the table. options: those of `train_prosody`, or of
    `teacher.tuning.training.tune_teacher`.

    Raises:
        DistillError: a method that is not known, an option or a backbone that the method does not take; and as of them.
    """
    method = method or _method_for(backbone, several=bool(options.get("tasks")))
    reject_other_kind(Path(output), PROSODY_CARD if method == PROSODY else TEACHER)
    if method == PROSODY:
        return _prosody(Path(labels), Path(output), backbone, audio, options)
    if method not in METHODS:
        raise DistillError(f"--method {method}: there are {', '.join([PROSODY, *METHODS])}")
    if backbone is None:
        raise DistillError(f"--method {method} tunes a backbone; --backbone names one, a folder or a hub's owner/name")
    from teacher.tuning.training import tune_teacher

    return tune_teacher(labels, backbone=backbone, output=output, method=method, audio=audio, **options)


def _method_for(backbone: str | None, *, several: bool) -> str:
    """The method where nobody has asked for one."""
    if backbone is None:
        return PROSODY
    config = Path(backbone) / "config.json"
    if config.is_file() and VIEWS in config.read_text(encoding="utf-8", errors="replace"):
        return "full"  # views have no layers for the others
    return COMPOSED[0] if several else "lora"


def _prosody(
    labels: Path, output: Path, backbone: str | None, audio: str | Path | None, options: dict[str, Any]
) -> dict[str, Any]:
    from teacher.prosody.training import train_prosody

    if launched().count > 1:
        raise DistillError(f"torchrun starts several processes, and --method {PROSODY} needs one; call it without")
    own = ("where", "seed", "licence", "data_licence", "trained_on")
    foreign = [*(["backbone"] if backbone else []), *(name for name in options if name not in own)]
    if foreign:
        raise DistillError(f"--method {PROSODY} takes no --{foreign[0].replace('_', '-')}; it tunes no backbone")
    options["licence"] = options.get("licence") or UNKNOWN
    return train_prosody(labels=labels, audio=labels.parent if audio is None else Path(audio), output=output, **options)
