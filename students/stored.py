"""A student of the Vgg layouts as its float file keeps it: fewer tensors than it has, and it again from these.

Batch norms are folded into the convolutions, the first one takes nepers, and the bias of sof, which the softmax over
time does not see, is left out. A layout that has more to keep says so here.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from students.quantised import DECIBELS, attention_of, blocks_of, folded_convolutions
from students.wav2small import Vgg7


def stored(student: Vgg7) -> dict[str, Tensor]:
    """What a file needs, by name, in the order in which it is computed with.

    >>> from students.wav2small import Wav2Small17K
    >>> [*stored(Wav2Small17K())][-5:]
    ['lin.weight', 'sof.weight', 'lin.bias', 'head.weight', 'head.bias']
    """
    kept: dict[str, Tensor] = {}
    for name, (weight, bias) in folded_convolutions(student).items():
        kept |= {f"{name}.weight": weight, f"{name}.bias": bias}
    lin, sof = attention_of(student)
    assert lin.bias is not None
    kept |= {"lin.weight": lin.weight, "sof.weight": sof.weight, "lin.bias": lin.bias}
    return {**kept, "head.weight": student.head.weight, "head.bias": student.head.bias}


@torch.no_grad()
def restore(student: Vgg7, tensors: Mapping[str, Tensor]) -> None:
    """Let a student answer by what `stored` gave of another one of its layout: its batch norms do nothing then.

    tensors: all that `stored` names, each of its shape.

    >>> from students.wav2small import Wav2Small17K
    >>> one, other, pcm = Wav2Small17K().eval(), Wav2Small17K().eval(), torch.randn(1, 8_000)
    >>> restore(other, stored(one))
    >>> bool(torch.allclose(one(pcm), other(pcm), atol=1e-5))
    True
    """
    for number, (name, block) in enumerate(blocks_of(student).items()):
        block.conv.weight.copy_(tensors[f"{name}.weight"] / (1.0 if number else DECIBELS))
        norm = block.norm
        assert norm.running_mean is not None and norm.running_var is not None  # this norm tracks
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)  # the root of the two together is one, to the bit
        norm.weight.fill_(1)
        norm.bias.copy_(tensors[f"{name}.bias"])
    lin, sof = attention_of(student)
    assert lin.bias is not None and sof.bias is not None
    lin.weight.copy_(tensors["lin.weight"])
    lin.bias.copy_(tensors["lin.bias"])
    sof.weight.copy_(tensors["sof.weight"])
    sof.bias.zero_()
    student.head.weight.copy_(tensors["head.weight"])
    student.head.bias.copy_(tensors["head.bias"])
