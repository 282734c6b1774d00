"""Wav2Small in its two published layouts, from PCM to arousal, dominance, valence.

Kounadis-Bastian et al. (2024), "Wav2Small: Distilling Wav2Vec2 to 72K parameters for low-resource speech emotion
recognition". The body of the paper was not at hand: the 72K layout reproduces its published counts (72,477 parameters,
0.39 GMAC for 5 s, 250 tokens a second). The 17K layout is that of the model card of audeering/wav2small.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.annotation import AXES
from students.frontend import ClipLevel, Count, FoldedLogMel, LogMel, frames_of, sample_mask
from students.network import Quantisation, StudentNetwork

#: Of every convolution.
CHANNELS = 13

#: Convolutions before and behind the max-pool.
DEPTH = (3, 4)

#: Time steps of zeros before what a convolution of three sees, and behind it; two in all.
Pads = tuple[int, int]


class Vgg(StudentNetwork):
    """What the layouts and their family (`students.family`) share: level, log-mel, convolutions around a max-pool.

    level: what PCM is normalised by. pads: time steps of zeros that a convolution sees before a clip and behind it.
    forgetting: of the pooling over time (`faded`).
    """

    pads: Pads = (1, 1)
    forgetting: float = 0.0

    def __init__(
        self, frontend: LogMel, level: nn.Module | None = None, *, channels: int = CHANNELS,
        depth: tuple[int, int] = DEPTH,
    ) -> None:  # fmt: skip
        super().__init__()
        self.frontend, self.level, self.channels = frontend, level or ClipLevel(), channels
        self.bands = halved(self.frontend.mels)
        fine, coarse = depth
        self.fine = nn.ModuleList(ConvBlock(before, channels, self.pads) for before in (1, *[channels] * (fine - 1)))
        self.coarse = nn.ModuleList(ConvBlock(channels, channels, self.pads) for _ in range(coarse))
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)

    def features(self, pcm: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """pcm: [batch, samples] -> [batch, channels, tokens, mels / 2], and how many tokens of each clip count."""
        samples = None if lengths is None else sample_mask(lengths, pcm.shape[1])
        frames = None if lengths is None else self.frames(lengths)
        tokens = None if frames is None else halved(frames)
        x = self.frontend(self.level(pcm, samples))[:, None]
        if self.training and frames is None and packs(x):
            return self._packed(x)[:, : self.channels], None
        x = self.pool(through(self.fine, x, frames))
        return through(self.coarse, x, tokens)[:, : self.channels], tokens

    def _packed(self, x: Tensor) -> Tensor:
        """The same in oneDNN's own layout, in which batch norm, max-pool and the first convolution take from half to a
        tenth of the time. It knows neither masks nor autocast, whose precision x [batch, 1, frames, mels] is given."""
        precision = autocast_precision(x)
        with torch.autocast("cpu", enabled=False):
            x = self.pool(through(self.fine, x.to_mkldnn(precision), None))
            return through(self.coarse, x, None).to_dense()

    def frames(self, samples: Count) -> Count:
        """How many frames the first convolution sees of `samples` samples."""
        return frames_of(samples, self.frontend.n_fft, self.frontend.hop)

    def tokens(self, samples: int) -> int:
        """How many tokens the pooling sees for `samples` samples."""
        return halved(self.frames(samples))


class Vgg7(Vgg):
    """The published trunk, 3 + 4 convolutions of 13 channels: what the exporters write node by node."""

    def __init__(self, frontend: LogMel, level: nn.Module | None = None) -> None:
        super().__init__(frontend, level)


class Wav2Small(Vgg7):
    """The paper's, 72K: PCM [batch, samples] at 16 kHz -> A/D/V [batch, 3].

    >>> Wav2Small().eval()(torch.zeros(2, 16_000)).shape
    torch.Size([2, 3])
    """

    def __init__(self, frontend: LogMel | None = None, level: nn.Module | None = None) -> None:
        super().__init__(frontend or LogMel(), level)
        self.attention = TimeSoftmaxPooling(CHANNELS * self.bands, self.forgetting)
        self.head = nn.Linear(CHANNELS * self.bands, len(AXES))

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, width]; lengths: as of `PooledNetwork`."""
        x, tokens = self.features(pcm, lengths)
        features: Tensor = self.attention(x.transpose(1, 2).flatten(2), tokens)
        return features


class Wav2SmallLite(Wav2Small):
    """For a hearing aid's core: the paper's trunk behind a transform eight times as rare and four times as fine (a hop
    and a window of 16 ms, 129 bins), 11.7 M multiply-accumulates a second of audio for 77.6 M.

    PCM [batch, samples] at 16 kHz -> A/D/V [batch, 3].

    >>> Wav2SmallLite().tokens(5 * 16_000)
    156
    """

    def __init__(self) -> None:
        super().__init__(FoldedLogMel(n_fft=256))


class Wav2Small17K(Vgg7):
    """The model card's, called 17K (15,888 parameters): channels are pooled each for itself, and how they go together
    over the mel bands, their Gram matrix, stands beside them before the head.

    PCM [batch, samples] at 16 kHz -> A/D/V [batch, 3].

    >>> sum(tensor.numel() for tensor in Wav2Small17K().parameters())
    15888
    """

    # The Gram matrix multiplies activations with themselves: rounded to 8 bits it is rounded twice.
    quantisation = Quantisation(float_modules=("gram",))

    def __init__(self, frontend: LogMel | None = None) -> None:
        super().__init__(frontend or LogMel())
        self.attention = ChannelPooling(CHANNELS)
        self.gram = GramBeside()
        self.head = nn.Linear(CHANNELS * (self.bands + CHANNELS), len(AXES))

    def pooled(self, pcm: Tensor, lengths: Tensor | None = None) -> Tensor:
        """pcm: float32 [batch, samples] -> float32 [batch, width]; lengths: as of `PooledNetwork`."""
        x, tokens = self.features(pcm, lengths)
        features: Tensor = self.gram(self.attention(x, tokens)).flatten(1)
        return features


#: Channels that a vector unit takes at once: training at 13 is about half as fast as at 16.
LANES = 16


class ConvBlock(nn.Module):
    """3x3 convolution without bias, batch norm, ReLU.

    While training, channels are filled up with zeros to a multiple of `LANES`, before and after; they never learn.

    >>> ConvBlock(1, 8).eval()(torch.zeros(1, 1, 20, 16)).shape
    torch.Size([1, 8, 20, 16])
    """

    def __init__(self, before: int, after: int, pads: Pads = (1, 1)) -> None:
        super().__init__()
        self.pads = pads
        self.conv = nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, channels, time, mels] -> the same with other channels."""
        return self._in_lanes(x) if self.training else torch.relu(self.norm(convolved(x, self.conv.weight, self.pads)))

    def _in_lanes(self, x: Tensor) -> Tensor:
        """The same on x [batch, channels or filled-up channels, time, mels], by weights filled up with zeros."""
        norm, more = self.norm, -self.norm.num_features % LANES
        kept = (norm.running_mean, norm.running_var, norm.num_batches_tracked)
        assert kept[0] is not None and kept[1] is not None and kept[2] is not None  # this norm tracks
        weight = functional.pad(self.conv.weight, (0, 0, 0, 0, 0, x.shape[1] - self.conv.in_channels, 0, more))
        mean, variance = functional.pad(kept[0], (0, more)), functional.pad(kept[1], (0, more))
        scale, shift = functional.pad(norm.weight, (0, more)), functional.pad(norm.bias, (0, more))
        # oneDNN's layout takes weights in float32, and rounds them itself
        weight = weight if x.is_mkldnn else weight.contiguous(memory_format=torch.channels_last)
        y = convolved(x, weight, self.pads)
        # torch's convention: without a momentum the statistics are the plain average of all batches
        momentum = 1 / (float(kept[2]) + 1) if norm.momentum is None else norm.momentum
        y = functional.batch_norm(y, mean, variance, scale, shift, True, momentum, norm.eps)
        kept[0].copy_(mean[: norm.num_features])
        kept[1].copy_(variance[: norm.num_features])
        kept[2].add_(1)
        return torch.relu(y)


class TimeSoftmaxPooling(nn.Module):
    """lin(x) weighted by the softmax over time of sof(x), and summed: [batch, tokens, width] -> [batch, width].

    forgetting: what a token's scores lose with every later one (nepers); see `faded`.
    """

    def __init__(self, width: int, forgetting: float = 0.0) -> None:
        super().__init__()
        self.lin = nn.Linear(width, width)
        self.sof = nn.Linear(width, width)
        self.forgetting = forgetting

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        """tokens: [batch], how many of each clip count; the published versions take no mask, and padding moves them."""
        scores = faded(self.sof(x), self.forgetting, tokens)
        if tokens is not None:
            scores = scores.masked_fill(~sample_mask(tokens, x.shape[1])[..., None], float("-inf"))
        pooled: Tensor = (self.lin(x) * torch.softmax(scores, dim=1)).sum(1)
        return pooled


#: Scores that fade are cut off here (nepers): a sum of their exponentials, carried on, neither overflows nor vanishes.
SCORES = 60.0


def faded(scores: Tensor, forgetting: float, tokens: Tensor | None = None) -> Tensor:
    """Scores [batch, tokens, width], each the lower by `forgetting` for every token of its clip behind it. A softmax
    over them is a sum carried from token to token, which forgets. tokens: [batch], how many of each clip count.

    >>> faded(torch.zeros(1, 3, 1), 0.5).flatten().tolist()
    [-1.0, -0.5, 0.0]
    """
    if not forgetting:
        return scores
    place = torch.arange(scores.shape[1], device=scores.device)
    last = scores.shape[1] - 1 if tokens is None else tokens[:, None] - 1
    return scores.clamp(-SCORES, SCORES) - forgetting * (last - place)[..., None]


class ChannelPooling(nn.Module):
    """The same for every mel band apart, by 1x1 convolutions: [batch, channels, tokens, mels] -> [batch, channels,
    mels]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.lin = nn.Conv2d(channels, channels, kernel_size=1)
        self.sof = nn.Conv2d(channels, channels, kernel_size=1)

    def forward(self, x: Tensor, tokens: Tensor | None = None) -> Tensor:
        """tokens: [batch], how many of each clip count."""
        scores = self.sof(x)
        if tokens is not None:
            scores = scores.masked_fill(~sample_mask(tokens, x.shape[2])[:, None, :, None], float("-inf"))
        pooled: Tensor = (self.lin(x) * torch.softmax(scores, dim=2)).sum(2)
        return pooled


class GramBeside(nn.Module):
    """[batch, channels, mels] -> [batch, channels, mels + channels]: behind them x x^T, not divided by anything."""

    def forward(self, x: Tensor) -> Tensor:
        """x: [batch, channels, mels]."""
        return torch.cat([x, x @ x.transpose(1, 2)], dim=2)


def convolved(x: Tensor, weight: Tensor, pads: Pads, bias: Tensor | None = None) -> Tensor:
    """3x3 convolution of x [batch, channels, time, mels] between zeros: in time as `pads` says, one beside the mels.

    >>> convolved(torch.ones(1, 1, 3, 1), torch.ones(1, 1, 3, 3), (2, 0)).flatten().tolist()
    [1.0, 2.0, 3.0]
    """
    before, behind = pads
    widest = max(pads)
    if x.is_mkldnn:  # which only pads alike on both sides: taps of zero lie where it pads too much
        weight = functional.pad(weight, (0, 0, widest - before, widest - behind))
    elif before != behind:
        return functional.conv2d(functional.pad(x, (1, 1, before, behind)), weight, bias)
    return functional.conv2d(x, weight, bias, padding=(widest, 1))


def halved(size: Count) -> Count:
    """Length after the max-pool (kernel 3, stride 2, padding 1).

    >>> halved(26), halved(25)
    (13, 13)
    """
    return (size - 1) // 2 + 1


def packs(x: Tensor) -> bool:
    """Whether oneDNN has kernels for x in the precision of autocast: on x86, bfloat16 from AVX-512 on."""
    if x.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    vectors = torch.backends.cpu.get_cpu_capability()
    return vectors == "AVX512" or (vectors == "AVX2" and autocast_precision(x) == torch.float32)


def autocast_precision(x: Tensor) -> torch.dtype:
    """What a product of x is computed in here and now.

    >>> autocast_precision(torch.zeros(1))
    torch.float32
    """
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def through(blocks: nn.ModuleList, x: Tensor, valid: Tensor | None) -> Tensor:
    """x [batch, channels, time, mels] through the blocks. Behind `valid` [batch] time steps stands zero before each
    block, as the convolution's own padding has it at the end of a clip that is alone.

    >>> through(nn.ModuleList([nn.Identity()]), torch.ones(1, 1, 3, 1), torch.tensor([2])).flatten().tolist()
    [1.0, 1.0, 0.0]
    """
    mask = None if valid is None else sample_mask(valid, x.shape[2])[:, None, :, None]
    for block in blocks:
        x = block(x if mask is None else torch.where(mask, x, 0.0))
    return x if mask is None else torch.where(mask, x, 0.0)
