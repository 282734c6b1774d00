"""The folder of a published checkpoint: what it says of itself, and where its weights are. Needs no torch."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.files import read_json, sha256_of
from distill.licences import UNKNOWN

CONFIG, MODEL_CARD, INDEX = "config.json", "README.md", "model.safetensors.index.json"

#: What is done to the samples of a backbone; the published teachers' own say what nobody trained with.
PREPROCESSOR = "preprocessor_config.json"

#: Where weights may be, the better first. A `.bin` is read as nothing but tensors.
WEIGHTS = ("model.safetensors", INDEX, "pytorch_model.bin")


def read_config(folder: Path) -> dict[str, Any]:
    """`config.json` of a checkpoint.

    Raises:
        DistillError: there is none, or it is no JSON object.
    """
    if not (folder / CONFIG).is_file():
        raise DistillError(f"{folder}: no checkpoint there (no {CONFIG})")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise DistillError(f"{folder / CONFIG}: is no JSON object")
    return config


def weights_of(folder: Path) -> Path:
    """The file that holds a checkpoint's weights, or the index of those that do.

    Raises:
        DistillError: there is none.
    """
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    raise DistillError(f"{folder}: no weights there ({' or '.join(WEIGHTS)})")


def files_of(weights: Path) -> list[Path]:
    """The files that the tensors are in.

    Raises:
        DistillError: the index names none, one outside the folder, or one that is not there.
    """
    if weights.name != INDEX:
        return [weights]
    listed = read_json(weights)
    placed = listed.get("weight_map") if isinstance(listed, dict) else None
    names = sorted({str(name) for name in placed.values()}) if isinstance(placed, dict) else []
    if not names or any(Path(name).name != name for name in names):
        raise DistillError(f"{weights}: names no files beside it")
    missing = [name for name in names if not (weights.parent / name).is_file()]
    if missing:
        raise DistillError(f"{weights}: names {missing[0]}, which is not there")
    return [weights.parent / name for name in names]


def is_whole(folder: Path) -> bool:
    """Whether configuration and weights are all there.

    >>> is_whole(Path("nowhere"))
    False
    """
    try:
        files_of(weights_of(folder))
    except DistillError:
        return False
    return (folder / CONFIG).is_file()


def revision_of(folder: Path) -> str:
    """A hash of the weights, for a folder of which no hub knows the commit."""
    digests = [sha256_of(file) for file in files_of(weights_of(folder))]
    return (digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest())[:12]


def licence_of(folder: Path) -> str:
    """The licence that the model card's front matter names, else "unknown"."""
    import yaml

    path = folder / MODEL_CARD
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    _, _, rest = text.partition("---\n")
    front, closing, _ = rest.partition("\n---")
    if not text.startswith("---\n") or not closing:
        return UNKNOWN
    try:
        fields = yaml.safe_load(front)
    except yaml.YAMLError:
        return UNKNOWN
    licence = fields.get("license") if isinstance(fields, dict) else None
    return licence if isinstance(licence, str) and licence.strip() else UNKNOWN
