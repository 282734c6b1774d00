"""Matrix products with weights that never change: packed once for the processor that will multiply with them."""

from __future__ import annotations

import platform
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: [..., in] -> [..., out]
Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Plain:
    """x W' + b by torch's own product, then GELU where it is asked for. weight: [out, in]; bias: [out] or None."""

    weight: Tensor
    bias: Tensor | None
    gelu: bool

    def __call__(self, x: Tensor) -> Tensor:
        answer = functional.linear(x, self.weight, self.bias)
        return functional.gelu(answer) if self.gelu else answer


@dataclass(frozen=True)
class Packed:
    """The same by oneDNN, whose blocked weights torch hides in an opaque tensor. GELU costs nothing inside the product.

    Float32 products of the sizes of WavLM-large take 0.75 to 0.8 of the time of MKL's on a Zen 4 core, because nothing
    is packed anew in every call. The operator is the one that torch.compile makes of a frozen `nn.Linear`.
    """

    weight: Tensor
    bias: Tensor | None
    gelu: bool

    def __call__(self, x: Tensor) -> Tensor:
        activation = "gelu" if self.gelu else "none"
        answer: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, activation, [], "none")
        return answer


def product(weight: Tensor, bias: Tensor | None, dtype: torch.dtype, *, gelu: bool = False) -> Product:
    """x -> x W' + b in `dtype`, then GELU where it is asked for; packed where that is known to pay.

    weight: [out, in]; bias: [out] or None. Neither is referred to afterwards unless it is used as it is.

    >>> double = product(2 * torch.eye(2), None, torch.float32)
    >>> double(torch.ones(1, 2)).tolist()
    [[2.0, 2.0]]
    """
    weight, bias = weight.detach().to(dtype), None if bias is None else bias.detach().to(dtype)
    if not can_pack(weight.device):
        return Plain(weight.contiguous(), bias, gelu)
    return Packed(torch.ops.mkldnn._reorder_linear_weight(weight.contiguous()), bias, gelu)


def can_pack(device: torch.device) -> bool:
    """Whether oneDNN packs weights here; on other processors than x86 nobody has tried it."""
    there = bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]
    return device.type == "cpu" and there and platform.machine() in ("x86_64", "AMD64")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether the processor multiplies bfloat16 itself; where it does not, bfloat16 is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return can_pack(device) and torch.cpu._is_avx512_bf16_supported()
