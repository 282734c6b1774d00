"""The run folder: what training leaves behind, so that export needs nothing else."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from distill.audio import SAMPLING_RATE, read
from distill.errors import DistillError, Refused
from distill.files import read_json, whole, write_json, write_text

#: At most this much audio travels with a run (bytes of FLAC).
CALIBRATION_BYTES = 5_000_000

CONFIG, RESULT, WEIGHTS, CALIBRATION = "config.yaml", "result.json", "model.safetensors", "calibration"


@dataclass(frozen=True)
class Clip:
    """A segment that travels with the run. use: "calibrate" (the quantiser sees it) or "check" (the ladder does)."""

    file: str
    use: str
    signal: np.ndarray


def begin(folder: Path, config: Mapping[str, Any]) -> None:
    """Make a run folder, or recognise one begun with the same configuration.

    Where nothing is trained yet, a corrected command takes the place of the one that failed.

    Raises:
        Refused: it was trained with another configuration.
    """
    trained = (folder / RESULT).exists() or (folder / "checkpoints").exists()
    if (folder / CONFIG).is_file() and trained:
        reject_other(folder, config)
        return
    if folder.exists() and not folder.is_dir():
        raise Refused(f"{folder}: is a file; a run needs a folder")
    if trained:
        raise Refused(f"{folder}: holds a run without its {CONFIG}; choose another folder")
    import yaml

    write_text(folder / CONFIG, yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True))
    write_json(folder / "env.json", environment())


def reject_other(folder: Path, config: Mapping[str, Any]) -> None:
    """Find out whether a run was begun with the same configuration.

    Raises:
        Refused: with another one; the first difference by name.
    """
    before = read_config(folder)
    other = [key for key in {**config, **before} if before.get(key) != config.get(key)]
    if other:
        told = f"{other[0]} {before.get(other[0])!r}, now it is {config.get(other[0])!r}"
        raise Refused(f"{folder}: was begun with {told}; choose another folder")


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run.

    Raises:
        DistillError: no run there.
    """
    import yaml

    try:
        config = dict(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise DistillError(f"{folder}: no run there (no {CONFIG}); make one with `distill train-student`") from None
    except (yaml.YAMLError, TypeError, ValueError) as error:
        raise DistillError(f"{folder / CONFIG}: cannot be read ({error})") from None
    return config


def read_result(folder: Path) -> dict[str, Any] | None:
    """`result.json`, or None while the training is unfinished."""
    return dict(read_json(folder / RESULT)) if (folder / RESULT).is_file() else None


def write_clips(folder: Path, clips: Sequence[Clip]) -> int:
    """Write the clips as FLAC until `CALIBRATION_BYTES` are full; returns how many went in."""
    import soundfile

    written, size = [], 0
    for number, clip in enumerate(clips):
        path = folder / CALIBRATION / f"{number:04d}.flac"
        with whole(path) as beside:
            # Level is put back to what 16 bits hold: the student divides it out.
            soundfile.write(beside, clip.signal / max(1.0, np.abs(clip.signal).max()), SAMPLING_RATE, "PCM_16")
        size += path.stat().st_size
        if size > CALIBRATION_BYTES:
            path.unlink()
            break
        written.append({"clip": path.name, "file": clip.file, "use": clip.use})
    write_json(folder / CALIBRATION / "clips.json", written)
    return len(written)


def read_clips(folder: Path, use: str) -> list[Clip]:
    """The run's clips for one use.

    Raises:
        DistillError: the run has none.
    """
    listed = [entry for entry in read_json(folder / CALIBRATION / "clips.json") if entry["use"] == use]
    if not listed:
        raise DistillError(f"{folder}: holds no clips to {use} with; train again")
    return [Clip(entry["file"], use, read(folder / CALIBRATION / entry["clip"])) for entry in listed]


def environment() -> dict[str, Any]:
    """Machine and versions, for `env.json`.

    >>> sorted(environment())
    ['machine', 'packages', 'python', 'system']
    """
    packages = ("distill", "torch", "numpy", "soxr", "soundfile", "onnxruntime", "pyarrow")
    return {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "machine": platform.machine(),
        "packages": {name: _version(name) for name in packages},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
