"""The published weights of audeering/wav2small, a folder fetched from the model hub, as our `wav2small-17k`.

The model card's code names its tensors otherwise; `PUBLISHED` says which is which. The layout is the same, so that the
weights load strictly. They were not at hand: this is proven only on folders made in the tests, with the names and
shapes that public ports of the card's code have.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from distill import runs
from distill.annotation import AXES
from distill.errors import DistillError
from distill.files import sha256_of
from distill.learning.weights import check_tensors, read_tensors
from students.catalogue import build
from students.frontend import POWER_FLOOR
from students.network import StudentNetwork

#: The layout of the published weights, by its name here.
ARCH = "wav2small-17k"

#: Files that hold the weights, the first that is there.
FILES = ("model.safetensors", "pytorch_model.bin")

#: The model card's licence, and that of the recordings its teacher was trained on.
LICENCE, DATA_LICENCE = "CC-BY-NC-SA-4.0", "MSP-Podcast academic licence (restricted)"

#: How a tensor's name begins here, and there.
PUBLISHED = {
    "frontend.real": "vgg7.spectrogram_extractor.conv_real.weight",
    "frontend.imaginary": "vgg7.spectrogram_extractor.conv_imag.weight",
    "frontend.mel": "vgg7.logmel_extractor.melW",
    **{f"fine.{number}.": f"vgg7.l{number + 1}." for number in range(3)},
    **{f"coarse.{number}.": f"vgg7.l{number + 4}." for number in range(4)},
    "attention.": "vgg7.",
    "head.": "adv.",
}

#: The floor of the log-mel, which there is a tensor [1] and here a constant.
_FLOOR = "vgg7.logmel_extractor.amin"


def is_published(folder: Path) -> bool:
    """Whether a folder holds weights, and no run of ours around them.

    >>> is_published(Path("nowhere"))
    False
    """
    return _weights_of(folder) is not None and not (folder / runs.CONFIG).is_file()


def load_published(folder: Path) -> tuple[StudentNetwork, dict[str, Any]]:
    """The published network, in evaluation mode, and what a run's configuration would say of it. Loads strictly.

    Raises:
        DistillError: no weights there, or tensors that are missing, too many or of another shape, by their published
            names.
    """
    path = _weights_of(folder)
    if path is None:
        raise DistillError(f"{folder}: no published weights there (neither {' nor '.join(FILES)})")
    model, found = build(ARCH), read_tensors(path)
    ours = model.state_dict()
    check_tensors(path, {**{published(name): ours[name] for name in ours}, _FLOOR: torch.zeros(1)}, found)
    if not torch.allclose(found[_FLOOR], torch.tensor(POWER_FLOOR)):
        raise DistillError(f"{path}: the tensor {_FLOOR} is {found[_FLOOR].item():g}, expected {POWER_FLOOR:g}")
    model.load_state_dict({name: found[published(name)] for name in ours})
    return model.eval(), _config(path)


def published(name: str) -> str:
    """How the model card's code calls a tensor of ours.

    >>> published("coarse.0.norm.running_mean"), published("attention.lin.bias"), published("head.weight")
    ('vgg7.l4.norm.running_mean', 'vgg7.lin.bias', 'adv.weight')
    """
    (prefix,) = (prefix for prefix in PUBLISHED if name.startswith(prefix))
    return PUBLISHED[prefix] + name.removeprefix(prefix)


def _config(path: Path) -> dict[str, Any]:
    """What a run says of itself, as far as the export asks. The revision is that of the file, by its content."""
    licences = {"licence": LICENCE, "data_licence": DATA_LICENCE}
    source = {"role": "published weights", "name": "audeering/wav2small", "revision": sha256_of(path)[:12]}
    return {
        "arch": ARCH, "axes": list(AXES), "derived": [], "range": [0.0, 1.0], **licences,
        "lineage": [{**source, **licences}],
    }  # fmt: skip


def _weights_of(folder: Path) -> Path | None:
    return next((folder / name for name in FILES if (folder / name).is_file()), None)
