"""The kernels for x86: the bytes of the portable ones."""

from __future__ import annotations

import functools
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill.machine import features
from export.c.compiled import Engine, compiled, compiler, to_samples
from export.c.description import Convolution, Description, Head, Product, RunningLevel
from export.c.writing import sources
from export.c.x86 import conv_words, first_words, token_words

#: By kind of kernels: flags of the compiler, and what the processor has to have.
KINDS = {
    "portable": (("-DSTUDENT_PORTABLE", "-O1"), set()),
    "avx2": (("-mavx2",), {"avx2"}),
    "avx2-vnni": (("-mavx2", "-mavx512vnni", "-mavx512vl", "-mno-avx512bw"), {"avx512vl", "avx512_vnni"}),
    "avx512": (("-mavx512f", "-mavx512bw", "-mavx512cd", "-mavx512vnni"), {"avx512bw", "avx512cd", "avx512_vnni"}),
}
VECTORS = ("avx2", "avx512")

#: n_fft, hop and parts of a token.
LAYOUTS = {"wav2small": (64, 32, 1), "17k": (64, 32, 13), "lite": (256, 256, 1), "stream": (256, 256, 1)}

Built = Callable[..., Engine]


def description(layout: str, bits: int = 8) -> Description:
    """A student of random weights that keep every layer's levels from zero to the top in use."""
    dice = np.random.default_rng(7)
    n_fft, hop, parts = LAYOUTS[layout]
    width = 169 // parts
    channels = [1, *[13] * 6]
    convs = [_convolution(dice, inputs) for inputs in channels]
    odd = 2 * dice.integers(-8, 8, (2, width, 13 // parts, 13)) + 1
    lin, sof = odd if bits == 4 else dice.integers(-63, 64, odd.shape)
    seen = width if parts == 1 else 13 * 26
    return Description(
        n_fft=n_fft, hop=hop, mels=26, mel_step=0.12, mel_zero=140, fine=convs[:3], coarse=convs[3:],
        lin=Product(lin, bits, dice.uniform(1e-5, 3e-5, width)),
        sof=Product(sof, bits, dice.uniform(1e-4, 3e-3, width)),
        lin_bias=None if parts == 1 else dice.normal(size=width),
        head=Head(dice.integers(-63, 64, (3, seen)), np.full(3, 1e-3), np.array([0.5, 0.4, np.nan])),
        **({"level": RunningLevel(forgetting=0.02, floor=0.01), "forgetting": 0.3} if layout == "stream" else {}),
    )  # fmt: skip


def _convolution(dice: np.random.Generator, inputs: int) -> Convolution:
    levels = dice.integers(-63, 64, (13, inputs, 3, 3))
    return Convolution(levels, dice.integers(-5000, 20_000, 13), dice.uniform(0.01, 0.03, 13) / inputs**0.5)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, lacking: Callable[[str, str], None]) -> Built:
    """built(layout, kind, *flags, bits=8): the engine of random weights with these kernels."""

    def build(layout: str, kind: str, *more: str, bits: int = 8) -> Engine:
        flags, needed = KINDS[kind]
        if not needed <= features():
            lacking(kind, f"this processor has no {' '.join(sorted(needed - features()))}")
        if compiler() is None:
            lacking("compiler", "needs a C compiler")
        folder = tmp_path_factory.mktemp(f"{layout}-{kind}")
        _write(folder, layout, bits)
        return compiled(folder, flags=(*flags, *more))

    return functools.cache(build)


def _write(folder: Path, layout: str, bits: int = 8) -> None:
    for name, text in sources(description(layout, bits)).items():
        (folder / name).write_text(text)


def speechlike(samples: int, seed: int = 0) -> np.ndarray:
    """Noise whose loudness and colour change every 0.13 s: int16 [samples]."""
    dice = np.random.default_rng(seed)
    pieces = dice.normal(size=(samples // 2080 + 1, 2080))
    coloured = np.where(dice.random((len(pieces), 1)) < 0.5, np.cumsum(pieces, 1) / 20, pieces)
    return to_samples((coloured * 10 ** dice.uniform(-4, 0, (len(pieces), 1))).ravel()[:samples])


CLIPS = {
    "speechlike": speechlike(40_000),
    "silence": np.zeros(5_000, np.int16),
    "constant": np.full(5_000, -32_768, np.int16),
    "full-scale square": np.where(np.arange(9_000) // 17 % 2, 32_767, -32_768).astype(np.int16),
    "one click": np.eye(1, 6_000, 3_333, dtype=np.int16)[0],
    "ever louder": to_samples(np.sin(np.arange(30_000) / 3) * np.geomspace(1e-4, 1, 30_000)),
}


@pytest.mark.parametrize("kind", [*VECTORS, "avx2-vnni"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_answers_are_those_of_the_portable_kernels(built: Built, layout: str, kind: str) -> None:
    vectors, portable = built(layout, kind), built(layout, "portable")
    answers = {name: portable.hear([clip]).tolist() for name, clip in CLIPS.items()}
    assert {name: vectors.hear([clip]).tolist() for name, clip in CLIPS.items()} == answers
    assert len({tuple(answer) for answer in answers.values()}) >= 5


@pytest.mark.parametrize("kind", VECTORS)
def test_weights_of_4_bits(built: Built, kind: str) -> None:
    clip = CLIPS["speechlike"]
    engines = [built("wav2small", name, bits=4) for name in (kind, "portable")]
    assert engines[0].hear([clip]).tolist() == engines[1].hear([clip]).tolist()


@pytest.mark.parametrize("kind", VECTORS)
def test_clips_that_end_anywhere_in_a_block(built: Built, kind: str) -> None:
    vectors, portable = built("wav2small", kind), built("wav2small", "portable")
    for frames in [1, 2, 3, 15, 16, 17, *range(30, 36), 63, 64, 65, 66, 67, 129]:
        clip = speechlike(64 + 32 * (frames - 1) + frames % 32, seed=frames)
        assert vectors.hear([clip]).tolist() == portable.hear([clip]).tolist(), frames


@pytest.mark.parametrize("kind", VECTORS)
def test_clips_too_short_for_a_frame_have_no_answer(built: Built, kind: str) -> None:
    engine = built("wav2small", kind)
    engine.start()
    assert engine.level_push(speechlike(63)) == engine.push(speechlike(63)) == 0
    assert engine.result()[1] == 0


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("size", [1, 31, 333, 4_000])
def test_pieces_of_any_size_answer_alike(built: Built, kind: str, size: int) -> None:
    engine, clip = built("wav2small", kind), speechlike(9_999)
    pieces = [clip[at : at + size] for at in range(0, len(clip), size)]
    assert engine.hear(pieces).tolist() == engine.hear([clip]).tolist()


@pytest.mark.parametrize("kind", VECTORS)
def test_buffered_in_one_pass(built: Built, kind: str) -> None:
    vectors, portable = (built("wav2small", name, "-DSTUDENT_MAX_SECONDS=1") for name in (kind, "portable"))
    for samples in (15_000, 16_000, 20_000):  # the last is longer than what is kept
        for engine in (vectors, portable):
            engine.start()
        clip = speechlike(samples)
        assert vectors.push(clip) == portable.push(clip)
        assert vectors.result()[0].tolist() == portable.result()[0].tolist()


@pytest.mark.parametrize("kind", VECTORS)
def test_a_stream_is_answered_alike_wherever_it_is_asked(built: Built, kind: str) -> None:
    clip, answers = speechlike(60_000), []
    for engine in (built("stream", kind), built("stream", "portable")):
        engine.start()
        answers.append([])
        for piece in np.split(clip, [100, 256, 300, 3_000, 9_000, 9_001, 30_000]):
            engine.push(piece)
            adv, heard = engine.result()
            answers[-1].append((adv.tolist(), heard))
    assert answers[0] == answers[1]
    assert [heard for _, heard in answers[0]][-1] == 60_000 // 256 // 2


@pytest.mark.parametrize("kind", VECTORS)
def test_real_speech(built: Built, kind: str, shared: Path) -> None:
    paths = sorted((shared / "speech" / "librispeech").glob("*.flac"))[:4]
    clips = [soundfile.read(path, dtype="int16")[0] for path in paths]
    engines = [built("wav2small", name) for name in (kind, "portable")]
    answers = [[engine.hear([clip[:32_000]]).tolist() for clip in clips] for engine in engines]
    assert answers[0] == answers[1]
    assert len({tuple(answer) for answer in answers[0]}) == len(clips)


@pytest.mark.parametrize("kind", VECTORS)
def test_sums_of_a_clip_of_days_do_not_overflow(built: Built, kind: str, tmp_path: Path) -> None:
    """The pooling's sums are halved when they reach 2^41, which takes too long to wait for: they begin just below."""
    built("wav2small", kind)  # skips where it has to
    found = {name: _said(_program(tmp_path / name, "overflow.c", KINDS[name][0])) for name in (kind, "portable")}
    assert found[kind] == found["portable"]
    assert int(found[kind].split()[0]) > 30  # rows whose sums were halved


@pytest.mark.parametrize("kind", VECTORS)
@pytest.mark.parametrize("layout", ["wav2small", "17k", "stream"])
def test_sanitizers_find_nothing(built: Built, kind: str, layout: str, tmp_path: Path) -> None:
    engine = built(layout, kind)
    flags = (*KINDS[kind][0], "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")
    program = _program(tmp_path / "sanitized", "hear.c", flags, layout=layout)
    for name in ("speechlike", "full-scale square", "one click"):
        CLIPS[name].tofile(tmp_path / "clip.pcm")
        said = _said(program, tmp_path / "clip.pcm")
        assert [int(number) for number in said.split()] == engine.hear([CLIPS[name]]).tolist()


def _program(folder: Path, name: str, flags: tuple[str, ...], *, layout: str = "wav2small") -> Path:
    """A program of this folder, compiled with the engine's sources."""
    folder.mkdir()
    _write(folder, layout)
    command = [str(compiler()), "-std=c99", "-Wall", "-Wextra", "-Werror", *flags, "-O1", f"-I{folder}"]
    subprocess.run([*command, str(Path(__file__).parent / name), "-o", str(folder / "program")], check=True)
    return folder / "program"


def _said(program: Path, *arguments: Path) -> str:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_first_words_hold_three_bands_a_word() -> None:
    levels = np.arange(117).reshape(13, 1, 3, 3) - 58
    for time, output in np.ndindex(3, 13):
        assert _bytes(first_words(levels)[time, output]) == [*levels[output, 0, time], 0]


def test_conv_words_hold_every_weight_once() -> None:
    levels = np.random.default_rng(0).integers(-63, 64, (13, 13, 3, 3))
    words = conv_words(levels)
    assert words.shape == (30, 13)
    for output in range(13):
        kept = sorted(byte for word in words[:, output] for byte in _bytes(word))
        assert kept == sorted([*levels[output].ravel(), 0, 0, 0])


def test_token_words_hold_every_weight_once() -> None:
    levels = np.random.default_rng(0).integers(-63, 64, (169, 13, 13))
    words = token_words(levels)
    assert words.shape == (44, 176)
    for row in (0, 100, 168):
        kept = sorted(byte for word in words[:, row] for byte in _bytes(word))
        assert kept == sorted([*levels[row].ravel(), *[0] * 7])
    assert not words[:, 169:].any()


def _bytes(word: int) -> list[int]:
    return np.array([word], "<i4").view("i1").tolist()
