"""The weights of a published checkpoint: tensors under today's names, put into a network, strictly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from distill.learning.weights import check_tensors, read_tensors
from teacher.published.folder import files_of, weights_of

#: Older checkpoints name the two halves of the positional convolution's weight norm so; transformers 5 otherwise.
_RENAMED = {
    "pos_conv_embed.conv.weight_g": "pos_conv_embed.conv.parametrizations.weight.original0",
    "pos_conv_embed.conv.weight_v": "pos_conv_embed.conv.parametrizations.weight.original1",
}


def read_state(folder: Path) -> tuple[Path, dict[str, Tensor]]:
    """The file of the weights (or of their index) and every tensor, as float32 where it is a number, renamed.

    Raises:
        DistillError: no weights, a part of them missing, or a file that cannot be read or holds more than tensors.
    """
    path = weights_of(folder)
    tensors = {name: tensor for file in files_of(path) for name, tensor in read_tensors(file).items()}
    return path, {_today(name): _as_float32(tensor) for name, tensor in tensors.items()}


def placed(build: Callable[[], nn.Module], path: Path, state: Mapping[str, Tensor]) -> nn.Module:
    """The network that `build` makes with exactly the tensors of `state`, in evaluation mode.

    Raises:
        DistillError: a tensor is missing, too many or misshaped, by name.
    """
    with torch.device("meta"):  # drawing random weights for 300 M parameters takes longer than reading them
        network = build()
    check_tensors(path, network.state_dict(), state)
    network.load_state_dict(dict(state), assign=True)
    left = [name for name, buffer in network.named_buffers() if buffer.is_meta]
    assert not left, left  # a buffer that no file holds would be garbage
    return network.eval().requires_grad_(False)


def _today(name: str) -> str:
    return next((name.replace(old, new) for old, new in _RENAMED.items() if name.endswith(old)), name)


def _as_float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
