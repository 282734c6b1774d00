"""Wav2Small in integers, in the form that onnxruntime's integer kernels take: u8 by s8, channels last, 16 of them.

Float are the front-end, the softmax and what stands behind it. Every convolution is one `QLinearConv`, with its ReLU
(what is below zero is cut off) and the rounding of what it hands on.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from export.graph import frontend
from export.graph.memory import WholeClip, memory_of, ramp
from export.graph.vgg import SPARE, answer, cut_off, gram_beside, numpy, token_by_token
from export.graph.weights import Stored, expanded
from export.graph.writer import Graph
from students.frontend import POWER_FLOOR
from students.quantised import LARGEST, QuantisedVgg, Rounded, RoundedConv
from students.wav2small import CHANNELS, LANES

#: The first convolution has one input channel, which no integer kernel takes: it becomes one over two windows of 16 mel
#: bands each, of 13 and a neighbour on either side (one column is spare), to 13 bands of 16 channels.
WINDOWS, WINDOW = 2, 16

_TIME_FIRST, _CHANNELS_FIRST = [0, 2, 3, 1], [0, 3, 1, 2]


def integer_graph(
    network: QuantisedVgg, lacking: np.ndarray | None = None, *, step: bool = False
) -> onnx.ModelProto:  # fmt: skip
    """The whole student. lacking: what is added to the answers, [3]: NaN on the axes that nobody taught. step: token by
    token, with a state; of a student that is causal."""
    graph, memory = Graph(), memory_of(step=step)
    weights = _weights(graph, network)
    steps, biases = _per_channel(graph, network)
    x = _log_mel(graph, network, memory)
    before, behind = memory.zeros(network.pads[0]), network.pads[1]
    x = _first(graph, network, x, weights, steps, biases, pads=[before, 0, behind, 0])
    mels = network.frontend.mels
    for number, name in enumerate(list(network.layers)[1:], 1):
        if name == "coarse_0":
            x, mels = memory.before(graph, x, [LANES, 1, mels], 2, integer=True), network.bands
            x = graph("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[memory.zeros(1), 1] * 2)
        x = memory.before(graph, x, [LANES, network.pads[0], mels], 2, integer=True)
        pads = [before, 1, behind, 1]
        x = _convolved(graph, network, number, x, weights[name], steps[number], biases[number], pads=pads)
    x = graph("Transpose", x, perm=_TIME_FIRST)  # [batch, tokens, mels, 16]
    _answered(graph, network, _pooled(graph, network, x, weights, memory), lacking, memory)
    return graph.model(state=memory.close(graph))


def _weights(graph: Graph, network: QuantisedVgg) -> dict[str, str]:
    """Every weight as an int8 tensor, by its layer. Convolutions of 13 by 13 channels are kept as one tensor of each
    number of bits, and filled up together."""
    first, *others = network.layers
    by_bits = {bits: [name for name in others if network.layers[name].weight.bits == bits] for bits in LARGEST}
    levels = {name: numpy(conv.weight.levels()) for name, conv in network.layers.items()}
    stacks = {str(bits): Stored(np.stack([levels[name] for name in names]), bits)
              for bits, names in by_bits.items() if names}  # fmt: skip
    matrices = {name: _matrix(network, getattr(network, name)) for name in ("lin", "sof")}
    parts = {f"{name} {number}": part for name, matrix in matrices.items() for number, part in enumerate(matrix)}
    (only,) = (bits for bits in LARGEST if network.layers[first].weight.bits == bits)
    alone = {first: Stored(levels[first], only), **parts}
    found = expanded(graph, {**stacks, **alone})
    for name, matrix in matrices.items():
        rows = [found.pop(f"{name} {number}") for number in range(len(matrix))]
        found[name] = graph("Concat", *rows, axis=2) if len(rows) > 1 else rows[0]
    for stack in stacks:
        filled = graph("Pad", found.pop(stack), graph.integers(0, 0, 0, 0, 0, 0, SPARE, SPARE, 0, 0))
        kernels = graph("Reshape", filled, graph.integers(-1, LANES, 3, 3))
        names = by_bits[int(stack)]
        found |= dict(zip(names, graph.split(kernels, len(names), axis=0), strict=True))
    return found


def _matrix(network: QuantisedVgg, layer: Rounded) -> list[Stored]:
    """[mels, channels, rows], or [1, channels, rows] where every mel band is pooled apart; in parts of the same bits
    along the rows."""
    levels = numpy(layer.levels())
    matrix = levels.reshape(len(levels), CHANNELS, -1).transpose(2, 1, 0)
    if isinstance(layer.bits, int):
        return [Stored(np.ascontiguousarray(matrix), layer.bits)]
    runs = [(bits, len(list(rows))) for bits, rows in groupby(layer.bits)]
    ends = np.cumsum([count for _, count in runs])[:-1]
    parts = np.split(matrix, ends, axis=2)
    return [Stored(np.ascontiguousarray(part), bits) for (bits, _), part in zip(runs, parts, strict=True)]


def _per_channel(graph: Graph, network: QuantisedVgg) -> list[list[str]]:
    """Steps of weights, and biases in steps of the products, [16] for every convolution; each kind is kept as one."""
    step, steps, biases = network.mel.step, [], []
    for conv in network.layers.values():
        steps.append(numpy(conv.weight.step))
        biases.append(numpy(conv.bias_levels(step)).astype(np.int32))
        step = conv.out.step
    halves = graph.constant(np.stack(steps).astype(np.float16), "scales")
    whole = graph.constant(np.stack(biases), "scales")
    return [_by_lanes(graph, rows, len(steps)) for rows in (graph("Cast", halves, to=TensorProto.FLOAT), whole)]


def _by_lanes(graph: Graph, rows: str, layers: int) -> list[str]:
    """Rows [layers, 13], each filled up to [16]."""
    filled = graph("Pad", rows, graph.integers(0, 0, 0, SPARE))
    return graph.split(graph("Reshape", filled, graph.integers(-1)), layers, axis=0)


def _log_mel(graph: Graph, network: QuantisedVgg, memory: WholeClip) -> str:
    """[batch, 16 bands, frames, 2 windows], rounded. A band that does not exist has the power one: its logarithm is the
    zero that the convolution would pad with. The state keeps it before the rounding: its zero is then zero, too."""
    kernels, bins = frontend.dft(graph, network.frontend)
    mel = frontend.mel_filters(graph, network.frontend, bins)
    beyond = graph("Pad", mel, graph.integers(0, 1, 0, WINDOW - CHANNELS - 1))
    windows = [
        graph("Slice", beyond, graph.integers(first), graph.integers(first + WINDOW), graph.integers(1))
        for first in (0, CHANNELS)
    ]
    doubled = graph("Concat", *windows, axis=1)
    floor = graph.constant(_floors(), "front_end")
    power = frontend.power(graph, frontend.levelled(graph, network.level, memory), network.frontend, kernels)
    nepers = frontend.nepers(graph, graph("MatMul", graph("Transpose", power, perm=[0, 2, 1]), doubled), floor)
    nepers = memory.before(graph, nepers, [network.pads[0], WINDOWS * WINDOW], 1)
    rounded = graph("QuantizeLinear", nepers, *_mel_scale(graph, network))
    return graph("Transpose", graph("Reshape", rounded, graph.integers(0, 0, WINDOWS, WINDOW)), perm=_CHANNELS_FIRST)


def _floors() -> np.ndarray:
    """Of the power of every column: float32 [32]."""
    bands = np.concatenate([np.arange(first - 1, first - 1 + WINDOW) for first in (0, CHANNELS)])
    exists = (bands >= 0) & (bands < WINDOWS * CHANNELS)
    return np.where(exists, POWER_FLOOR, 1.0).astype(np.float32)


def _mel_scale(graph: Graph, network: QuantisedVgg) -> tuple[str, str]:
    step, zero = network.mel.step.item(), network.mel.zero.item()
    return graph.number(step, "scales"), graph.constant(np.uint8(zero), "scales")


def _first(
    graph: Graph, network: QuantisedVgg, x: str, weights: dict[str, str], steps: list[str], biases: list[str], *,
    pads: list[int],
) -> str:  # fmt: skip
    """The first convolution, as one over time alone: 2 windows of 16 bands -> 26 bands of 16 channels."""
    kernel = _toeplitz(graph, weights[next(iter(network.layers))])
    step, bias = (graph("Tile", vector, graph.integers(CHANNELS)) for vector in (steps[0], biases[0]))
    y = _convolved(graph, network, 0, x, kernel, step, bias, pads=pads)
    apart = graph("Reshape", graph("Transpose", y, perm=_TIME_FIRST), graph.integers(0, 0, WINDOWS * CHANNELS, LANES))
    return graph("Transpose", apart, perm=_CHANNELS_FIRST)


def _toeplitz(graph: Graph, weight: str) -> str:
    """[13, 1, 3, 3] -> [13 bands * 16 channels, 16 bands, 3 times, 1], band b looking at the bands b, b + 1, b + 2 of
    its window. A row of 17, its three weights and zeros, read 13 times in rows of 16, moves on by one in each."""
    long = graph("Pad", weight, graph.integers(0, 0, 0, 0, SPARE, 0, 0, WINDOW + 1 - 3))
    rows = graph("Tile", long, graph.integers(1, 1, 1, CHANNELS))
    read = graph("Slice", rows, graph.integers(0), graph.integers(CHANNELS * WINDOW), graph.integers(3))
    moved = graph("Reshape", read, graph.integers(LANES, 3, CHANNELS, WINDOW))
    return graph("Reshape", graph("Transpose", moved, perm=[2, 0, 3, 1]), graph.integers(-1, WINDOW, 3, 1))


def _convolved(
    graph: Graph, network: QuantisedVgg, number: int, x: str, kernel: str, step: str, bias: str, *, pads: list[int]
) -> str:
    convs = list(network.layers.values())
    low = graph.constant(np.uint8(0), "scales")
    from_, zero = _mel_scale(graph, network) if number == 0 else (_out_step(graph, convs[number - 1]), low)
    signed = graph.constant(np.int8(0), "scales")
    return graph("QLinearConv", x, from_, zero, kernel, step, signed, _out_step(graph, convs[number]), low, bias,
                 pads=pads)  # fmt: skip


def _out_step(graph: Graph, conv: RoundedConv) -> str:
    return graph.number(conv.out.step.item(), "scales")


def _pooled(graph: Graph, network: QuantisedVgg, x: str, weights: dict[str, str], memory: WholeClip) -> str:
    """x [batch, tokens, mels, 16] -> what the head sees [batch, width], or one a token."""
    bands = 1 if network.whole else network.bands
    width = LANES * network.bands // bands
    flat = graph("Reshape", x, graph.integers(0, -1, width))
    last = list(network.layers.values())[-1]
    tokens = graph("DequantizeLinear", flat, _out_step(graph, last), graph.constant(np.uint8(0), "scales"))
    values, scores = (
        graph("Reshape", _product(graph, tokens, weights[name], getattr(network, name), width),
              graph.integers(0, -1, bands * network.rows))
        for name in ("lin", "sof")
    )  # fmt: skip
    if memory.carries:
        values, scores = (graph("Transpose", tensor, perm=[0, 2, 1]) for tensor in (values, scores))
        return token_by_token(graph, values, scores, network.rows, network.forgetting, memory)
    pooled = _over_time(graph, values, scores, network.forgetting)
    if network.whole:
        return graph("Squeeze", pooled, graph.integers(1))
    apart = graph("Transpose", graph("Reshape", pooled, graph.integers(0, bands, -1)), perm=[0, 2, 1])
    bias = graph.constant(numpy(network.lin_bias)[:, None], "weights")
    return gram_beside(graph, graph("Add", apart, bias))


def _product(graph: Graph, tokens: str, weight: str, layer: Rounded, width: int) -> str:
    """Integers by integers to float."""
    filled = graph("Pad", weight, graph.integers(0, 0, 0, 0, SPARE, 0))
    matrix = graph("Reshape", filled, graph.integers(width, -1))
    return graph("MatMul", tokens, graph("DequantizeLinear", matrix, _steps(graph, layer), axis=1))


def _over_time(graph: Graph, values: str, scores: str, forgetting: float) -> str:
    """Both [batch, tokens, width] -> [batch, 1, width]. The softmax's division comes last; a product with ones adds up
    over time faster than a sum over that axis. Scores are cut off before the exponential, which neither overflows nor
    is zero for a whole clip: a trained student's largest score of a clip is near zero; weights that are cut off are
    then 1e-26 of the whole."""
    kept = cut_off(graph, scores)
    if forgetting:
        less = ramp(graph, graph("Shape", scores, start=1, end=2), forgetting)
        kept = graph("Sub", kept, graph("Unsqueeze", less, graph.integers(1)))
    weights = graph("Exp", kept)
    row = graph("Concat", graph.integers(1), graph("Shape", scores, start=1, end=2), axis=0)
    ones = graph("ConstantOfShape", row, value=numpy_helper.from_array(np.ones(1, np.float32)))
    return graph("Div", graph("MatMul", ones, graph("Mul", values, weights)), graph("MatMul", ones, weights))


def _answered(
    graph: Graph, network: QuantisedVgg, pooled: str, lacking: np.ndarray | None, memory: WholeClip
) -> None:  # fmt: skip
    """The head. The bias of lin goes through the pooling unchanged, and stands in that of the head where no Gram matrix
    is between them."""
    head = network.head
    bias = head.bias + (head.weight() @ network.lin_bias if network.whole else 0.0)
    levels = graph.constant(numpy(head.weight.levels()).astype(np.int8), "weights")
    column = graph("Unsqueeze", _steps(graph, head.weight), graph.integers(1))
    weight = graph("Mul", graph("Cast", levels, to=TensorProto.FLOAT), column)  # folded, as no DequantizeLinear is
    answer(graph, pooled, weight, numpy(bias), lacking, memory)


def _steps(graph: Graph, layer: Rounded) -> str:
    """Of a layer's rows, kept in half precision."""
    return graph("Cast", graph.constant(numpy(layer.step).astype(np.float16), "scales"), to=TensorProto.FLOAT)
