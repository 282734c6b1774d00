"""The engine's parts, each against what it stands for."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from export.c.description import describe
from students.frontend import normalise

#: Off by so much (units of 2^-16): what the header promises.
LOG_OFF, EXP_OFF = 4, 2e-5


@pytest.fixture(scope="module")
def inside(program):
    """inside(arch, *flags): the parts of a student's engine."""

    def load(arch, *flags):
        library = ctypes.CDLL(str(program(arch, "inside.c", "-O2", "-shared", "-fPIC", "-lm", *flags)))
        library.inside_pooled.restype = library.inside_weights_after.restype = ctypes.c_int64
        library.inside_exp2.restype = ctypes.c_uint32
        return library

    return load


def address(array):
    return array.ctypes.data_as(ctypes.c_void_p)


def test_logarithm(inside):
    rng = np.random.default_rng(0)
    for x in [1, 2, 3, 2**64 - 1, *(int(2**power) for power in rng.uniform(0, 63.9, 2000))]:
        assert abs(inside("wav2small").inside_log2(ctypes.c_uint64(x)) - math.log2(x) * 2**16) <= LOG_OFF


def test_exponential(inside):
    for x in np.random.default_rng(0).integers(0, 24 * 2**16, 2000):
        exact = 2.0 ** (20 - int(x) / 2**16)
        assert abs(inside("wav2small").inside_exp2(ctypes.c_uint32(int(x))) - exact) <= exact * EXP_OFF + 1


@pytest.mark.parametrize("arch", ["wav2small", "wav2small-lite"])
@pytest.mark.parametrize("level", [1.0, 0.01, 0.0005])
def test_log_mel_is_that_of_the_network(inside, written, clips, arch, level):
    """Normalised by the clip's level in the logarithm, at any loudness."""
    frontend, made = written(arch).network.frontend, inside(arch)
    clip = np.round(np.concatenate(clips[:4]) * level).astype(np.int16)
    expected = frontend(normalise(torch.from_numpy(clip / np.float32(32768))[None])).numpy()[0] / 10 * math.log2(10)
    mean, of_clip = round(float(clip.mean()) * 2**14), made.inside_level(address(clip), ctypes.c_size_t(len(clip)))
    for number in range(0, len(expected), 7):
        frame = clip[number * frontend.hop :][: frontend.n_fft].copy()
        bands = np.zeros(frontend.mels, np.int32)
        made.inside_log_mel(address(frame), ctypes.c_int32(mean), address(bands))
        found = np.maximum((bands - of_clip) / 2**16, math.log2(1e-10))
        heard = np.ptp(frame) > 0
        if heard:  # of constant frames float32 hears what it rounds
            assert np.abs(found - expected[number]).max() < 0.02


@pytest.mark.parametrize("flags", [(), ("-march=native",)])
@pytest.mark.parametrize("bands", [26, 13])
def test_convolution_is_exact(inside, written, bands, flags):
    """Against the definition, in whole numbers, to the last bit."""
    made, rng = inside("wav2small", "-DSTUDENT_PORTABLE", *flags), np.random.default_rng(bands)
    student, rows = describe(written("wav2small").network), made.inside_rows()
    for layer, conv in enumerate([*student.fine[1:], *student.coarse]):
        window = np.zeros((rows + 2, bands, 16), np.uint8)
        window[..., :13] = rng.integers(0, 256, (rows + 2, bands, 13)) if layer else 255
        out = np.zeros((rows, bands, 16), np.uint8)
        made.inside_conv(layer, bands, address(window), address(out))
        x = torch.from_numpy(window[..., :13].astype(np.float64)).permute(2, 0, 1)[None]
        sums = functional.conv2d(x, torch.from_numpy(conv.levels.astype(np.float64)), padding=(0, 1))[0]
        scale = 4 * np.rint(conv.scale * 2**30)
        exact = (sums.numpy() + conv.bias[:, None, None]) * scale[:, None, None]
        expected = np.clip(np.floor(exact / 2**32 + 0.5), 0, 255).transpose(1, 2, 0)
        assert (out[..., :13] == expected).all() and not out[..., 13:].any()


def test_pooling_is_a_softmax(inside, written):
    student, rng = describe(written("wav2small").network), np.random.default_rng(3)
    to_nepers, to_value = student.sof.scale[0], student.lin.scale[0]
    for spread in (1.0, 20.0, 200.0):
        scores = rng.normal(0, spread / to_nepers, 400).astype(np.int32)
        values = rng.integers(-2_000_000, 2_000_000, 400).astype(np.int32)
        nepers = np.clip(scores * to_nepers, -60, 60)
        weights = np.exp(nepers - nepers.max())
        expected = (values * to_value * weights).sum() / weights.sum()
        found = inside("wav2small").inside_pooled(address(values), address(scores), ctypes.c_size_t(400)) / 2**16
        assert abs(found - expected) < 2e-4 * np.abs(values * to_value).max()


@pytest.mark.parametrize("score", [0, -10_000_000, 10_000_000])
def test_pooling_never_overflows(inside, score):
    """The largest value there is, for longer than four hours of audio: still itself."""
    found = inside("wav2small").inside_weights_after(ctypes.c_int32(score), ctypes.c_uint64(2**22))
    assert abs(found - 2_721_735) <= 2
