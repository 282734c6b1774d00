"""The MobileNets of the Wav2Small paper: timm's trunks on our log-mel, pooled over time as Wav2Small does.

Kounadis-Bastian et al. (2024) distil into MobileNets of the third and fourth generation (Howard et al. 2019; Qin et
al. 2024). The body of the paper was not at hand: without the trunk's last 1x1 convolution, and with the time-softmax
pooling in place of the classifier, the small fourth one has the paper's 3.12 M parameters, 0.4 GMAC for 5 s and 16
tokens a second.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from distill.annotation import AXES
from students.frontend import LogMel, frames_of, normalise, sample_mask
from students.network import Quantisation, StudentNetwork
from students.wav2small import TimeSoftmaxPooling, halved

#: A few far values stretch the range of what inverted bottlenecks hand on, and 8 bits are spent on them: they are left
#: out of it. Where that does not do, 16 bits hold them; the file has the same size, but is slower on a CPU.
PLAIN = Quantisation(activation_bits=(8, 16), percentile=99.99)

#: Squeeze-and-excite multiplies whole channels, with what 8 bits leave of a mean.
GATED = Quantisation(activation_bits=(16,))


class MobileNet(StudentNetwork):
    """PCM [batch, samples] at 16 kHz -> A/D/V [batch, 3].

    trunk: timm's name of it; its weights are drawn, never fetched. learning_rate: the peak it trains with by default.
    """

    # Depthwise convolutions in bfloat16 take a processor two to three times as long as in float32.
    reduced_on_cpu = False

    def __init__(self, trunk: str, *, learning_rate: float = 3e-3) -> None:
        super().__init__()
        self.learning_rate = learning_rate
        self.frontend = LogMel()
        self.trunk = _trunk(trunk)
        self._padding = Padding(self.trunk)
        self.quantisation = GATED if self._padding.gates else PLAIN
        width = int(self.trunk.num_features) * self._through_strides(self.frontend.mels)
        self.attention = TimeSoftmaxPooling(width)
        self.head = nn.Linear(width, len(AXES))

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, width]; lengths: as of `PooledNetwork`."""
        samples = None if lengths is None else sample_mask(lengths, pcm.shape[1])
        self._padding.valid = None if lengths is None else frames_of(lengths, self.frontend.n_fft, self.frontend.hop)
        x = self.trunk.forward_features(self.frontend(normalise(pcm, samples))[:, None])
        features: Tensor = self.attention(x.transpose(1, 2).flatten(2), self._padding.valid)
        return features

    def tokens(self, samples: int) -> int:
        """How many tokens the pooling sees for `samples` samples."""
        return self._through_strides(frames_of(samples, self.frontend.n_fft, self.frontend.hop))

    def _through_strides(self, size: int) -> int:
        for _ in range(self._padding.strides):
            size = halved(size)
        return size


class Padding:
    """Keeps what stands behind a clip's end out of a trunk, by hooks on its modules.

    Before every convolution that reaches over time it is blanked to zero, as the convolution's own padding has it at
    the end of a clip that is alone; squeeze-and-excite takes its mean over the clip. `valid` [batch] in time steps
    is set to the frames before the trunk, and halves with every stride on the way; None: nothing is padding.
    """

    def __init__(self, trunk: nn.Module) -> None:
        self.valid: Tensor | None = None
        self.strides = self.gates = 0
        self._steps = 0
        for module in trunk.modules():
            if isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1):
                _check_padding(module)
                # Methods, not closures: a deep copy of the network has to hook its own Padding.
                module.register_forward_pre_hook(self._blank)
                if module.stride == (2, 2):
                    self.strides += 1
                    module.register_forward_hook(self._halve)
            reduce = getattr(module, "conv_reduce", None)
            if isinstance(reduce, nn.Conv2d):  # timm's squeeze-and-excite
                self.gates += 1
                module.register_forward_pre_hook(self._blank)
                reduce.register_forward_pre_hook(self._mean_of_valid)

    def _blank(self, _: nn.Module, arguments: tuple[Any, ...]) -> Tensor | None:
        """Zero behind every clip's end in x [batch, channels, time, mels]."""
        (x,) = arguments
        self._steps = x.shape[2]
        if self.valid is None:
            return None
        return torch.where(sample_mask(self.valid, x.shape[2])[:, None, :, None], x, 0.0)

    def _halve(self, *_: Any) -> None:
        self.valid = None if self.valid is None else halved(self.valid)

    def _mean_of_valid(self, _: nn.Module, arguments: tuple[Any, ...]) -> Tensor | None:
        """A mean [batch, channels, 1, 1] over all time steps, those behind the end being zero, to one over the clip."""
        (mean,) = arguments
        return None if self.valid is None else mean * (self._steps / self.valid)[:, None, None, None].to(mean.dtype)


def _check_padding(convolution: nn.Conv2d) -> None:
    """`halved` and zeros behind the end are right for odd kernels with half of them as padding, and strides 1 and 2."""
    halves = tuple((size - 1) // 2 for size in convolution.kernel_size)
    fits = convolution.padding == halves and convolution.stride in ((1, 1), (2, 2)) and convolution.dilation == (1, 1)
    if not fits or any(size % 2 == 0 for size in convolution.kernel_size):
        raise ValueError(f"no rule for the valid length behind {convolution}")


def _trunk(name: str) -> Any:
    """timm's network for one channel, without what stands behind its last stage."""
    import timm  # here, not above: Wav2Small does without it

    network: Any = timm.create_model(name, pretrained=False, in_chans=1, num_classes=0)
    for part in ("global_pool", "conv_head", "norm_head", "act2", "flatten", "classifier"):
        if hasattr(network, part):
            setattr(network, part, nn.Identity())
    return network
