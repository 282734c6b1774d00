"""Where to compute, chosen once and said."""

from __future__ import annotations

import ctypes
import os
import sys
from typing import TypeVar

import torch
from torch import nn

from distill.errors import DistillError
from distill.launched import launched

Network = TypeVar("Network", bound=nn.Module)

#: glibc's mallopt parameters (malloc.h).
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4


def choose_device(wanted: str = "auto") -> torch.device:
    """cuda, mps or cpu; "auto" takes the first of them that is there. "cuda:1" is the second of several GPUs. Of
    several processes on a machine each takes a GPU of its own.

    >>> choose_device("cpu")
    device(type='cpu')

    Raises:
        DistillError: the device asked for is not there.
    """
    place = launched()
    # Processes that train together exchange tensors, which no backend of torch does on mps.
    mps = torch.backends.mps.is_available() and place.count == 1
    there = {"cuda": torch.cuda.is_available(), "mps": mps, "cpu": True}
    if wanted == "auto":
        wanted = next(name for name, usable in there.items() if usable)
    if wanted == "cuda" and place.count > 1:
        wanted = f"cuda:{place.local_rank}"
    kind, _, number = wanted.partition(":")
    if not there[kind] or int(number or 0) >= max(torch.cuda.device_count(), 1):
        raise DistillError(f"--device {wanted}: torch finds none here; --device auto takes what there is")
    return torch.device(wanted)


def choose_precision(wanted: str, device: torch.device, *, reduced_on_cpu: bool = True) -> torch.dtype:
    """float32 or bfloat16; "auto" takes bfloat16 where the processor multiplies in it, and the network gains by it.

    >>> choose_precision("float32", torch.device("cpu"))
    torch.float32
    """
    if wanted != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[wanted]
    native = device.type == "cuda" or (
        device.type == "cpu" and reduced_on_cpu and torch.cpu._is_avx512_bf16_supported()
    )
    return torch.bfloat16 if native else torch.float32


def loaders(wanted: int | None) -> int:
    """How many processes prepare batches: as many as are wanted, else one, and none where there are fewer than four
    cores: drawing takes a tenth of a core, and to leave a whole one to it would cost training half of its speed.

    >>> loaders(2)
    2
    """
    return int(_cores() >= 4) if wanted is None else wanted


def share_cores(workers: int) -> None:
    """Leave a core to each process that prepares batches: OpenMP threads that wait for a busy core stop one another.
    Somebody who says how many there are to be (OMP_NUM_THREADS) is obeyed, as on a machine that others use as well."""
    if launched().local_count == 1 and os.environ.get("OMP_NUM_THREADS"):
        return  # torch has read it; torchrun sets it to 1 unasked
    torch.set_num_threads(max(1, _cores() - workers))


def _cores() -> int:
    """Those of the machine, shared by the processes that torchrun has started on it."""
    return (os.cpu_count() or 1) // launched().local_count


def laid_out(model: Network) -> Network:
    """The model in the layout, and this process with the memory, in which a processor trains fastest."""
    keep_freed_memory()
    laid: Network = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return laid


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: a training step frees and takes the same large blocks, and giving them back
    to the system costs 40 % of its time in page faults. Changes no result; does nothing elsewhere."""
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # musl has none
        mallopt(_M_MMAP_MAX, 0)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(_M_TOP_PAD, 256 * 2**20)
