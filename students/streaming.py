"""A student that answers while somebody speaks: an answer every 32 ms, from what was said until then and nothing later.

Four things of `wav2small-lite` look ahead or at the whole clip, and are made otherwise here. With frames t of 256
samples (16 ms) that do not overlap, and tokens j of two frames (32 ms):

- Level. e_t is the variance of frame t alone. Two sums forget alike, A_t = a A_(t-1) + e_t^2 and
  B_t = a B_(t-1) + e_t, with a = exp(-16 ms / LEVEL_SECONDS); the level is (A_t + LEVEL_FLOOR^2) / (B_t + LEVEL_FLOOR):
  the mean power so far, weighted by power. It holds through a pause, silence before speech adds nothing to it, a gain
  moves nothing but the level itself. Frame t, less its own mean, is divided by sqrt(level + LEVEL_FLOOR).
- Convolutions see a frame and the two before it; before the clip stands zero, the first layer's and every other's.
- Max-pool: token j sees frames 2j - 1, 2j, 2j + 1. A frame that does not fill a token waits.
- Pooling: N_j = b N_(j-1) + exp(s_j) v_j and D_j = b D_(j-1) + exp(s_j), with s = sof(x) cut off at +-SCORES,
  v = lin(x), b = exp(-32 ms / POOLING_SECONDS). The head sees N_j / D_j: the softmax over time with a ramp on its
  scores (`faded`).

A whole clip is answered as its last token is. `Wav2SmallStream.step` computes token by token what `forward` computes at
once; `Stream` takes audio in pieces of any length.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from distill.audio import SAMPLING_RATE
from students.frontend import Count, FoldedLogMel
from students.wav2small import CHANNELS, SCORES, ConvBlock, Pads, Wav2Small, convolved

#: Samples of a frame, frames of a token, and so samples from one answer to the next.
FRAME, TOGETHER = 256, 2
TOKEN = FRAME * TOGETHER

#: After so long (seconds) what was heard counts 1/e as much: for the level, and for the answer.
LEVEL_SECONDS, POOLING_SECONDS = 5.0, 5.0

#: What a frame of audio, and a token, loses with every later one (nepers).
LEVEL_FORGETTING = FRAME / SAMPLING_RATE / LEVEL_SECONDS
POOLING_FORGETTING = TOKEN / SAMPLING_RATE / POOLING_SECONDS

#: Power of what rounding to 16 bits leaves; what is no louder has no level.
LEVEL_FLOOR = 2.0**-30 / 12

#: Frames that are summed in one product. A clip is summed in blocks, and these again: two small products instead of
#: one as large as the clip is long, squared, and no power of a that float32 could not hold.
BLOCK = 128


def running_sums(x: Tensor, forgetting: float, before: Tensor | None = None) -> Tensor:
    """y_t = exp(-forgetting) y_(t-1) + x_t over the last axis: [batch, rows, steps] -> the same shape.

    before: [batch, rows, 1], the sum before the first step; None: nothing.

    >>> (running_sums(torch.ones(1, 1, 3), 1.0) * 1000).round().tolist()
    [[[1000.0, 1368.0, 1503.0]]]
    """
    batch, rows, steps = x.shape
    blocks = (steps + BLOCK - 1) // BLOCK
    filled = torch.cat([x, x.new_zeros(batch, rows, BLOCK)], -1)[..., : blocks * BLOCK]
    within = filled.reshape(batch, rows, blocks, BLOCK) @ decays(BLOCK, forgetting).to(x)
    earlier = within[..., -1] @ decays(blocks, forgetting * BLOCK, since=1).to(x)
    sums = within + earlier[..., None] * what_is_left(BLOCK, forgetting).to(x)
    sums = sums.reshape(batch, rows, blocks * BLOCK)[..., :steps]
    return sums if before is None else sums + before * what_is_left(steps, forgetting).to(x)


def decays(steps: int, forgetting: float, since: int = 0) -> Tensor:
    """What is left at step i of what came at step j, and counts from `since` steps later on: float32 [j, i].

    >>> (decays(3, 1.0) * 1000).round().tolist()
    [[1000.0, 368.0, 135.0], [0.0, 1000.0, 368.0], [0.0, 0.0, 1000.0]]
    >>> (decays(3, 1.0, since=1) * 1000).round().tolist()
    [[0.0, 1000.0, 368.0], [0.0, 0.0, 1000.0], [0.0, 0.0, 0.0]]
    """
    place = torch.arange(steps)
    ago = place - place[:, None] - since
    return torch.where(ago >= 0, torch.exp(-forgetting * ago.clamp(min=0)), 0.0)


def what_is_left(steps: int, forgetting: float) -> Tensor:
    """After 1, 2, ... steps: float32 [steps]."""
    return torch.exp(-forgetting * (torch.arange(steps) + 1))


class RunningLevel(nn.Module):
    """Normalises every frame by what was heard until then, as the module's own words say."""

    def forward(self, pcm: Tensor, mask: Tensor | None = None) -> Tensor:
        """pcm: [batch, samples] -> float32 [batch, whole tokens of samples]. mask: what of a batch counts, from its
        first sample on."""
        normalised, _ = self.onward(pcm if mask is None else torch.where(mask, pcm, 0.0))
        return normalised

    def onward(self, pcm: Tensor, before: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The same, and the two sums behind it, [batch, 2, 1]; before: those that stood before the first sample."""
        with torch.autocast(pcm.device.type, enabled=False):
            framed = pcm[:, : pcm.shape[1] // TOKEN * TOKEN].float().reshape(pcm.shape[0], -1, FRAME)
            centred = framed - framed.mean(-1, keepdim=True)
            power = (centred * centred).mean(-1)
            sums = running_sums(torch.stack([power * power, power], 1), LEVEL_FORGETTING, before)
            level = (sums[:, 0] + LEVEL_FLOOR**2) / (sums[:, 1] + LEVEL_FLOOR)
            return (centred / torch.sqrt(level + LEVEL_FLOOR)[..., None]).flatten(1), sums[..., -1:]


class State(NamedTuple):
    """All that is kept of what was heard.

    level: the two sums, [batch, 2, 1]. fine, coarse: of every convolution the last two steps that it saw, [batch,
    channels, 2, mels]. pool: the last frame before the max-pool, [batch, 13, 1, 26]. sums: N and D, [batch, 338, 1].
    """

    level: Tensor
    fine: list[Tensor]
    pool: Tensor
    coarse: list[Tensor]
    sums: Tensor


class Wav2SmallStream(Wav2Small):
    """`wav2small-lite`, causal: the same trunk and the same cost, and nothing of it looks ahead.

    PCM [batch, samples] at 16 kHz -> A/D/V [batch, 3]: the answer after the last whole token.

    >>> Wav2SmallStream().tokens(5 * 16_000)
    156
    """

    pads: Pads = (2, 0)
    forgetting = POOLING_FORGETTING
    level: RunningLevel

    def __init__(self) -> None:
        super().__init__(FoldedLogMel(n_fft=FRAME), RunningLevel())

    def frames(self, samples: Count) -> Count:
        """How many frames the first convolution sees of `samples` samples: those of whole tokens."""
        return samples // TOKEN * TOGETHER

    def start(self, batch: int = 1) -> State:
        """Before anything was heard."""
        mels, bands, width = self.frontend.mels, self.bands, self.head.in_features
        fine, coarse = (
            [torch.zeros(batch, block.conv.in_channels, self.pads[0], size) for block in _blocks(blocks)]
            for blocks, size in ((self.fine, mels), (self.coarse, bands))
        )
        pool = torch.zeros(batch, CHANNELS, 1, mels)
        return State(torch.zeros(batch, 2, 1), fine, pool, coarse, torch.zeros(batch, 2 * width, 1))

    @torch.inference_mode()
    def step(self, pcm: Tensor, state: State) -> tuple[Tensor, State]:
        """What is answered after each token: pcm float32 [batch, tokens * TOKEN] -> ([batch, tokens, 3], the state
        behind it). In evaluation mode."""
        normalised, level = self.level.onward(pcm, state.level)
        x, fine = _onward(self.fine, self.frontend(normalised)[:, None], state.fine)
        seen = torch.cat([state.pool, x], 2)
        x, coarse = _onward(self.coarse, functional.max_pool2d(seen, 3, 2, (0, 1)), state.coarse)
        tokens = x.transpose(1, 2).flatten(2)
        weights = torch.exp(self.attention.sof(tokens).clamp(-SCORES, SCORES))
        added = torch.cat([self.attention.lin(tokens) * weights, weights], 2).transpose(1, 2)
        sums = running_sums(added, self.forgetting, state.sums)
        above, below = sums.transpose(1, 2).chunk(2, -1)
        return self.head(above / below), State(level, fine, seen[:, :, -1:], coarse, sums[..., -1:])


def is_causal(student: nn.Module) -> bool:
    """Whether it can answer token by token.

    >>> is_causal(Wav2SmallStream()), is_causal(Wav2Small())
    (True, False)
    """
    return isinstance(student, Wav2SmallStream)


def _blocks(blocks: nn.ModuleList) -> list[ConvBlock]:
    return [block for block in blocks if isinstance(block, ConvBlock)]


def _onward(blocks: nn.ModuleList, x: Tensor, kept: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """x [batch, channels, time, mels] through the blocks, behind what each saw last; and what each has seen last."""
    last = []
    for block, before in zip(_blocks(blocks), kept, strict=True):
        seen = torch.cat([before, x], 2)
        last.append(seen[:, :, -before.shape[2] :])
        x = torch.relu(block.norm(convolved(seen, block.conv.weight, (0, 0))))
    return x, last


class Stream:
    """Audio in pieces of any length in, answers out.

    >>> stream = Stream(Wav2SmallStream().eval())
    >>> [len(stream.push(torch.zeros(samples))) for samples in (511, 1, 1200)]
    [0, 1, 2]
    """

    def __init__(self, network: Wav2SmallStream) -> None:
        self._network, self._state, self._kept = network, network.start(), torch.zeros(0)

    def push(self, pcm: Tensor) -> Tensor:
        """pcm: float32 [samples] at 16 kHz -> the answers that it completes, float32 [tokens, 3]."""
        heard = torch.cat([self._kept, pcm])
        whole = len(heard) // TOKEN * TOKEN
        self._kept = heard[whole:]
        if not whole:
            return torch.zeros(0, self._network.head.out_features)
        answers, self._state = self._network.step(heard[None, :whole], self._state)
        return answers[0]
