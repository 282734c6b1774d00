"""Tars are read in place: samples become rows, members become recordings; nothing that a tar says is believed."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import tarfile
import tracemalloc
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.audio import SAMPLING_RATE, Span, blocks, read, seconds_of
from distill.errors import AudioError, DistillError
from distill.sources import shards, tars
from distill.sources.manifest import Cut, Failure, Segment, list_segments

CUT = Cut(30.0, 30.0)

Tone = Callable[..., np.ndarray]
Entry = tuple[str, bytes]


def sound(signal: np.ndarray, ending: str = "flac", rate: int = SAMPLING_RATE) -> bytes:
    written = io.BytesIO()
    soundfile.write(written, signal, rate, format={"oga": "ogg"}.get(ending, ending))
    return written.getvalue()


def entry(name: str, content: bytes = b"", **how: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in how.items():
        setattr(info, key, value)
    return info, content


def packed(path: Path, entries: Iterable[Any], form: int = tarfile.PAX_FORMAT) -> Path:
    """A tar of (name, content), or of what `entry` gives."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for given in entries:
            info, content = entry(*given) if isinstance(given[0], str) else given
            tar.addfile(info, io.BytesIO(content))
    return path


def raw(path: Path, *headers: tuple[tarfile.TarInfo, bytes]) -> Path:
    """A tar of headers that say what they like, whatever follows them."""
    blocks_ = [info.tobuf(tarfile.GNU_FORMAT) + body + b"\0" * (-len(body) % 512) for info, body in headers]
    path.write_bytes(b"".join(blocks_) + b"\0" * 1024)
    return path


def listed(source: Path | str, **how: Any) -> tuple[list[Segment], dict[str, str]]:
    listing = list_segments(source, cut=CUT, **how)
    entries = list(listing)
    assert entries == list(listing)
    failures = {found.file: found.reason for found in entries if isinstance(found, Failure)}
    return [found for found in entries if isinstance(found, Segment)], failures


def files(source: Path | str) -> list[str]:
    segments, failures = listed(source)
    assert not failures
    return [segment.file for segment in segments]


# Which tars -------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path, tone: Tone) -> Path:
    """A folder of three shards with one clip each."""
    for number in range(3):
        packed(tmp_path / "shards" / f"s-{number:03d}.tar", [(f"x{number}.flac", sound(tone()))])
    return tmp_path / "shards"


def test_a_tar_a_folder_and_patterns_mean_the_same(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"s-00{number}.tar/x{number}.flac" for number in range(3)]
    for source in (
        three,
        three / "*.tar",
        three / "s-{000..002}.tar",
        f"file://{three}",
        str(three / "s-00{0,1,2}.tar"),
    ):
        assert files(source) == names
    assert files(three / "s-001.tar") == names[1:2]
    monkeypatch.chdir(three.parent)
    assert files("shards/*.tar") == names
    assert files("shar{ds,ds}/s-{002..001}.tar") == ["shards/s-002.tar/x2.flac", "shards/s-001.tar/x1.flac"]


def test_an_existing_name_with_a_brace_is_that_file(tmp_path: Path, tone: Tone) -> None:
    packed(tmp_path / "s{0..9}.tar", [("x.wav", sound(tone(), "wav"))])
    assert files(tmp_path / "s{0..9}.tar") == ["s{0..9}.tar/x.wav"]


def test_tars_beside_recordings_are_left_alone(three: Path, tone: Tone) -> None:
    soundfile.write(three / "a.wav", tone(), SAMPLING_RATE)
    (three / "backup.tar.gz").touch()
    assert files(three) == ["a.wav"]


@pytest.mark.parametrize("name", ["s.tar.gz", "s.tgz", "s.tar.zst", "s.zst"])
def test_compressed_tars_are_refused_in_one_line(three: Path, name: str) -> None:
    (three / name).write_bytes(b"\x1f\x8b")
    for source in (three / name, three, three / "s*"):
        with pytest.raises(DistillError, match=r"is compressed; unpack it to a plain \.tar first"):
            listed(source)


def test_patterns_that_mean_nothing_or_something_else_are_refused(three: Path) -> None:
    for pattern, reason in {"t-*.tar": "no such files", "s-{000..003}.tar": "s-003.tar: no such file",
                            "s-{0..99999999}.tar": "more than 100,000 names"}.items():  # fmt: skip
        with pytest.raises(DistillError, match=reason):
            listed(three / pattern)
    (three / "a.json").touch()
    with pytest.raises(DistillError, match=r"a\.json is no \.tar"):
        listed(three / "*")
    with pytest.raises(DistillError, match="more than 100,000"):
        shards.braces("{0..999}{0..999}")


# What is in them --------------------------------------------------------------------------------------------------


def test_a_sample_is_a_row_with_its_siblings_columns(tmp_path: Path, tone: Tone) -> None:
    about = {"speaker": {"id": "03", "sex": "f"}, "arousal": 0.9, "start": 7, "tags": ["a", {"b": 1}], "none": {}}
    clip = sound(tone())
    packed(tmp_path / "s.tar", [
        ("./deep.er/x.json", json.dumps(about).encode()), ("./deep.er/x.left.flac", clip),
        ("./deep.er/x.txt", b" hi\n"),
        ("y.flac", clip), ("y.cls", b"1"), ("._z.flac", b"?"), ("no/audio.json", b"["), ("Z.WAV", sound(tone(), "wav")),
    ])  # fmt: skip
    segments, failures = listed(tmp_path / "s.tar")
    assert not failures
    assert [segment.key for segment in segments] == [
        ("s.tar/deep.er/x.left.flac", 0, 1), ("s.tar/y.flac", 0, 1), ("s.tar/Z.WAV", 0, 1)
    ]  # fmt: skip
    assert dict(segments[0].columns) == {
        "speaker.id": "03", "speaker.sex": "f", "given_arousal": 0.9, "given_start": 7, "tags": ["a", {"b": 1}],
        "none": {}, "transcript": "hi",
    }  # fmt: skip
    assert not segments[1].columns
    assert segments[1].size == len(clip) and segments[1].changed == (tmp_path / "s.tar").stat().st_mtime_ns


def test_where_chooses_by_a_siblings_column(tmp_path: Path, tone: Tone) -> None:
    clip = sound(tone())
    members = [(f"{key}.{ending}", content) for key, speaker in (("a", "1"), ("b", "2")) for ending, content in
               (("flac", clip), ("json", json.dumps({"speaker": speaker}).encode()))]  # fmt: skip
    packed(tmp_path / "s.tar", [*members, ("../c.flac", clip)])
    segments, failures = listed(tmp_path / "s.tar", where={"speaker": "2"})
    assert [segment.file for segment in segments] == ["s.tar/b.flac"] and len(failures) == 1
    with pytest.raises(DistillError, match="no column 'sex'"):
        listed(tmp_path / "s.tar", where={"sex": "f"})


@pytest.mark.long  # it imports torch
def test_webdataset_itself_writes_what_is_read(tmp_path: Path, tone: Tone) -> None:
    webdataset = pytest.importorskip("webdataset")
    with webdataset.TarWriter(str(tmp_path / "s.tar")) as writer:
        writer.write({"__key__": "a/one", "flac": sound(tone()), "json": {"speaker": "03"}, "txt": "hello"})
    (segment,), failures = listed(tmp_path / "s.tar")
    assert segment.file == "s.tar/a/one.flac" and not failures
    assert segment.columns == {"speaker": "03", "transcript": "hello"}


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_every_kind_of_tar_is_read(tmp_path: Path, tone: Tone, form: int) -> None:
    name = ("d" * 90 + "/" + "x" * 90 if form == tarfile.USTAR_FORMAT else "long/" * 60 + "grüße") + ".flac"
    packed(tmp_path / "s.tar", [(name, sound(tone()))], form)
    assert files(tmp_path / "s.tar") == [f"s.tar/{name}"]


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_a_member_is_decoded_as_the_file_would_be(tmp_path: Path, tone: Tone, ending: str) -> None:
    signal = np.stack([tone(3.0, rate=44100), tone(3.0, 300, rate=44100)], axis=1)
    content = sound(signal, ending, 44100)
    (tmp_path / f"x.{ending}").write_bytes(content)
    packed(tmp_path / "s.tar", [("a.json", b"{}" * 999), (f"x.{ending}", content), (f"y.{ending}", content[::-1])])
    for span in (None, Span(0.5, 1.75)):
        np.testing.assert_array_equal(
            read(tmp_path / "s.tar" / f"x.{ending}", span), read(tmp_path / f"x.{ending}", span)
        )
    assert seconds_of(tmp_path / "s.tar" / f"x.{ending}") == pytest.approx(3.0, abs=0.1)


def test_threads_read_members_side_by_side(tmp_path: Path, tone: Tone) -> None:
    packed(tmp_path / "s.tar", [(f"{n}.flac", sound(tone(0.5, 200 + 10 * n))) for n in range(40)])
    tars._indices.clear()
    with ThreadPoolExecutor(8) as pool:
        read_ = list(pool.map(lambda n: read(tmp_path / "s.tar" / f"{n % 40}.flac"), range(120)))
    for number in range(120):
        np.testing.assert_allclose(read_[number], tone(0.5, 200 + 10 * (number % 40)), atol=1e-4)


def test_a_tar_that_changes_is_indexed_anew(tmp_path: Path, tone: Tone) -> None:
    path = packed(tmp_path / "s.tar", [("x.flac", sound(tone()))])
    assert len(read(path / "x.flac")) == 16_000
    packed(path, [("y.flac", sound(tone())), ("x.flac", sound(tone(0.5)))])
    os.utime(path, ns=(0, 1_000))
    assert len(read(path / "x.flac")) == 8_000
    path.unlink()
    with pytest.raises(AudioError, match=r"^no such file$"):
        read(path / "x.flac")


def test_indices_of_few_tars_are_kept(three: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tars, "_KEPT_ENTRIES", 2)
    tars._indices.clear()
    files(three)
    assert [path.name for path in tars._indices] == ["s-001.tar", "s-002.tar"]


def test_a_manifest_may_name_members(three: Path) -> None:
    (three / "m.csv").write_text("file,start,end\ns-001.tar/x1.flac,0.25,0.75\ns-001.tar/no.flac,,\ns-9.tar/x.flac,,\n")
    segments, failures = listed(three / "m.csv")
    assert [segment.key for segment in segments] == [("s-001.tar/x1.flac", 0.25, 0.75)]
    assert failures == {"s-001.tar/no.flac": "no such file", "s-9.tar/x.flac": "no such file"}


def test_a_folder_called_tar_is_a_folder(tmp_path: Path, tone: Tone) -> None:
    (tmp_path / "old.tar").mkdir()
    soundfile.write(tmp_path / "old.tar" / "x.wav", tone(), SAMPLING_RATE)
    assert files(tmp_path) == ["old.tar/x.wav"]


# What may be wrong ------------------------------------------------------------------------------------------------

GOOD = "good.flac"


def flac_that_lies(frames: int, rate: int = SAMPLING_RATE) -> bytes:
    """A short FLAC whose header says that it has `frames` samples at `rate`."""
    content = bytearray(sound(np.full(1600, 0.1, np.float32)))
    fields = int.from_bytes(content[18:26], "big")  # rate 20 bits, channels 3, width 5, samples 36
    fields = (rate << 44) | (fields & (0xFF << 36)) | frames
    content[18:26] = fields.to_bytes(8, "big")
    return bytes(content)


def wav_at(rate: int) -> bytes:
    content = bytearray(sound(np.full(16_000, 0.1, np.float32), "wav"))
    content[24:28] = rate.to_bytes(4, "little")
    return bytes(content)


NAMES = ["../x.flac", "a/../../x.flac", "/etc/x.flac", "C:/x.flac", "c:x.flac", "..\\x.flac", "\\\\host\\x.flac"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_out_is_refused_by_name(tmp_path: Path, tone: Tone, name: str) -> None:
    soundfile.write(tmp_path / "x.flac", tone(), SAMPLING_RATE)
    packed(tmp_path / "in" / "s.tar", [(name, sound(tone())), (GOOD, sound(tone()))])
    segments, failures = listed(tmp_path / "in" / "s.tar")
    assert [segment.file for segment in segments] == [f"s.tar/{GOOD}"]
    assert failures == {f"s.tar/{name}": "its name leads out of the tar; it is not opened"}
    for path in (tmp_path / "in" / "s.tar" / "../x.flac", tmp_path / "in" / "s.tar" / "/etc/x.flac"):
        with pytest.raises(AudioError, match="no such file"):
            read(path)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [(tarfile.SYMTYPE, "a link"), (tarfile.LNKTYPE, "a link"), (tarfile.CHRTYPE, "a device"),
     (tarfile.BLKTYPE, "a device"), (tarfile.FIFOTYPE, "a pipe")],
)  # fmt: skip
def test_links_and_devices_are_never_opened(tmp_path: Path, tone: Tone, kind: bytes, reason: str) -> None:
    packed(tmp_path / "s.tar", [entry("x.flac", type=kind, linkname="/etc/passwd"), (GOOD, sound(tone()))])
    segments, failures = listed(tmp_path / "s.tar")
    assert len(segments) == 1 and failures == {"s.tar/x.flac": f"{reason}, not a file; it is not opened"}


def test_folders_are_nothing(tmp_path: Path, tone: Tone) -> None:
    packed(tmp_path / "s.tar", [entry("a.flac/", type=tarfile.DIRTYPE), ("a.flac/x.flac", sound(tone()))])
    assert files(tmp_path / "s.tar") == ["s.tar/a.flac/x.flac"]


def test_the_second_of_a_name_is_a_failure(tmp_path: Path, tone: Tone) -> None:
    packed(tmp_path / "s.tar", [("x.flac", sound(tone())), ("./x.flac", sound(tone(2.0)))])
    (segment,), failures = listed(tmp_path / "s.tar")
    assert segment.end == 1.0 and "comes twice" in failures["s.tar/./x.flac"]


@pytest.mark.parametrize("left", [0.9, 0.6, 0.5])
def test_a_truncated_tar_keeps_what_can_be_read(tmp_path: Path, tone: Tone, left: float) -> None:
    path = packed(tmp_path / "s.tar", [(f"{n}.wav", sound(tone(), "wav")) for n in range(3)])
    os.truncate(path, int(3 * 32_768 * left))
    segments, failures = listed(path)
    assert [segment.file for segment in segments] == ["s.tar/0.wav", "s.tar/1.wav"][: len(segments)] and segments
    assert "broken off" in failures["s.tar"] and len(read(path / "0.wav")) == 16_000


def test_a_tar_cut_between_two_members_is_noticed(tmp_path: Path, tone: Tone) -> None:
    path = packed(tmp_path / "s.tar", [(f"{n}.wav", sound(tone(), "wav")) for n in range(3)])
    os.truncate(path, tars.index_of(path).members["2.wav"].offset - 512)
    segments, failures = listed(path)
    assert len(segments) == 2 and failures == {"s.tar": "broken off behind its entry 2: its end mark is missing"}


def test_tars_put_together_are_noticed(tmp_path: Path, tone: Tone) -> None:
    path = packed(tmp_path / "s.tar", [("x.wav", sound(tone(), "wav"))])
    path.write_bytes(2 * path.read_bytes())
    segments, failures = listed(path)
    assert len(segments) == 1 and "more follows behind its end mark" in failures["s.tar"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "broken off or damaged behind its entry 0"), (b"no tar at all" * 99, "damaged behind its entry 0"),
        (b"\0" * 10_240, "an empty tar"), (gzip.compress(b"x", mtime=0), "is compressed"),
    ],
)  # fmt: skip
def test_what_is_no_tar_fails_by_name(three: Path, content: bytes, reason: str) -> None:
    (three / "s-001.tar").write_bytes(content)
    segments, failures = listed(three)
    assert [segment.file for segment in segments] == ["s-000.tar/x0.flac", "s-002.tar/x2.flac"]
    assert list(failures) == ["s-001.tar"] and reason in failures["s-001.tar"]


def test_a_damaged_header_ends_the_tar_by_name(tmp_path: Path, tone: Tone) -> None:
    path = packed(tmp_path / "s.tar", [(f"{n}.wav", sound(tone(), "wav")) for n in range(3)])
    content = bytearray(path.read_bytes())
    at = tars.index_of(path).members["1.wav"].offset - 512
    content[at : at + 512] = b"?" * 512
    path.write_bytes(content)
    segments, failures = listed(path)
    assert len(segments) == 1 and failures == {"s.tar": f"damaged behind its entry 1: no header at byte {at:,}"}


@pytest.mark.parametrize("size", [10**12, 8**11 - 1, 2**62])
def test_a_size_beyond_the_end_of_the_tar_is_a_failure(tmp_path: Path, tone: Tone, size: int) -> None:
    raw(tmp_path / "s.tar", entry(GOOD, sound(tone())), (entry("huge.flac", size=size)[0], b"x"))
    segments, failures = listed(tmp_path / "s.tar")
    assert len(segments) == 1 and "bytes are promised" in failures["s.tar/huge.flac"]


def test_a_negative_size_does_not_go_round_in_circles(tmp_path: Path, tone: Tone) -> None:
    for size in (-512, -1024, -(2**40)):
        raw(tmp_path / "s.tar", entry(GOOD, sound(tone())), (entry("x.flac", size=size)[0], b""))
        segments, failures = listed(tmp_path / "s.tar")
        assert len(segments) == 1 and "s.tar" in failures
        os.utime(tmp_path / "s.tar", ns=(0, -size))


def test_a_long_name_of_gigabytes_takes_no_memory(tmp_path: Path, tone: Tone) -> None:
    for kind in (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE):
        path = raw(
            tmp_path / f"{kind!r}.tar", entry(GOOD, sound(tone())), (entry("x", type=kind, size=1 << 30)[0], b"")
        )
        os.truncate(path, 2 << 30)  # a hole that takes no room on the disk
        tracemalloc.start()
        try:
            segments, failures = listed(path)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert len(segments) == 1 and "a header says that it has" in failures[path.name] and peak < 20e6


def test_thousands_of_headers_in_one_another_are_a_failure(tmp_path: Path, tone: Tone) -> None:
    nested = [entry("././@LongLink", b"x\0", type=tarfile.GNUTYPE_LONGNAME)] * 1_500
    raw(tmp_path / "s.tar", entry(GOOD, sound(tone())), *nested)
    segments, failures = listed(tmp_path / "s.tar")
    assert len(segments) == 1 and "damaged behind its entry 1" in failures["s.tar"]


def test_a_pax_header_with_odd_values_is_no_crash(tmp_path: Path, tone: Tone) -> None:
    for number, headers in enumerate([{"size": "1" * 5000}, {"path": "a\0b.flac"}, {"size": "-5"},
                                      {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}]):  # fmt: skip
        info, content = entry("x.flac", sound(tone()), pax_headers=headers)
        path = packed(tmp_path / f"{number}.tar", [(info, content)])
        segments, failures = listed(path)
        assert len(segments) + len(failures) >= 1


def test_a_tar_of_too_many_entries_is_indexed_no_further(
    tmp_path: Path, tone: Tone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tars, "MOST_ENTRIES", 3)
    packed(tmp_path / "s.tar", [(f"{n}.flac", sound(tone())) for n in range(5)])
    segments, failures = listed(tmp_path / "s.tar")
    assert len(segments) == 3 and "more than 3 entries" in failures["s.tar"]


SIBLINGS: dict[str, tuple[str, bytes, str]] = {
    "too large": ("json", b'{"a": "' + b"x" * 1_000_001 + b'"}', r"its x\.json has 1,000,010 bytes, at most 1,000,000"),
    "no object": ("json", b"[1]", r"its x\.json holds no JSON object"),
    "no JSON": ("json", b'{"a": ', "is no JSON that can be read"),
    "deep": ("json", b"[" * 400_000, "is no JSON that can be read"),
    "a number without end": ("json", b'{"a": ' + b"1" * 9_000 + b"}", "is no JSON that can be read"),
    "half a character": ("json", b'{"a": "\\ud800"}', "is no JSON that can be read"),
    "other bytes": ("json", b"\xff{}", "is not UTF-8"),
    "columns without end": ("json", json.dumps({f"{n}": n for n in range(201)}).encode(), "has 201 columns"),
    "columns within": ("json", json.dumps({"a": {f"{n}": n for n in range(201)}}).encode(), "has 201 columns"),
    "text too large": ("txt", b"x" * 1_000_001, "at most 1,000,000"),
    "text of other bytes": ("txt", b"caf\xe9", "is not UTF-8"),
}


@pytest.mark.parametrize("fault", SIBLINGS)
def test_a_bad_sibling_makes_its_sample_a_failure(tmp_path: Path, tone: Tone, fault: str) -> None:
    ending, content, reason = SIBLINGS[fault]
    packed(tmp_path / "s.tar", [(GOOD, sound(tone())), ("x.flac", sound(tone())), (f"x.{ending}", content)])
    segments, failures = listed(tmp_path / "s.tar")
    assert [segment.file for segment in segments] == [f"s.tar/{GOOD}"] and list(failures) == ["s.tar/x.flac"]
    assert re.search(reason, failures["s.tar/x.flac"])


AUDIO: dict[str, tuple[str, bytes, str]] = {
    "ten hours in a kilobyte": ("flac", flac_that_lies(10 * 3600 * SAMPLING_RATE), r"promises 10\.0 hours"),
    "a month": ("flac", flac_that_lies((1 << 36) - 1), "cannot hold"),
    "1 Hz": ("flac", flac_that_lies(1600, rate=1), "its header says 1 Hz"),
    "2 GHz": ("wav", wav_at(2_000_000_000), "its header says 2,000,000,000 Hz"),
    "empty": ("flac", b"", "empty file"),
    "text": ("flac", b"hello", "not audio that can be read"),
    "truncated wav": ("wav", sound(np.full(16_000, 0.1, np.float32), "wav")[:9_000], "broken off"),
}  # fmt: skip


@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("fault", AUDIO)
def test_audio_that_promises_what_it_cannot_hold_is_a_failure(
    tmp_path: Path, tone: Tone, fault: str, inside: bool
) -> None:
    ending, content, reason = AUDIO[fault]
    if inside:
        packed(tmp_path / "s.tar", [(f"x.{ending}", content), (GOOD, sound(tone()))])
        path = tmp_path / "s.tar" / f"x.{ending}"
        segments, failures = listed(tmp_path / "s.tar")
        assert len(segments) == 1 and list(failures) == [f"s.tar/x.{ending}"]
    else:
        path = tmp_path / f"x.{ending}"
        path.write_bytes(content)
    for reader in (seconds_of, read):
        with pytest.raises(AudioError, match=reason):
            reader(path)


def test_a_loud_bomb_of_many_channels_is_decoded_in_blocks(tmp_path: Path) -> None:
    channels = np.full((48_000, 256), 0.1, np.float32)
    soundfile.write(tmp_path / "x.wav", channels, 48_000, "PCM_U8")
    del channels
    tracemalloc.start()
    try:
        assert len(read(tmp_path / "x.wav")) == 16_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 70e6  # a block, 17 MB, as floats and as the doubles that are averaged; the whole would be twice that


def test_blocks_are_what_read_gives(tmp_path: Path, tone: Tone) -> None:
    soundfile.write(tmp_path / "x.wav", tone(5.3, rate=22_050), 22_050, "FLOAT")
    soundfile.write(tmp_path / "y.wav", tone(5.3), SAMPLING_RATE, "FLOAT")
    whole = np.concatenate(list(blocks(tmp_path / "x.wav", seconds=1.0)))
    np.testing.assert_allclose(whole, read(tmp_path / "x.wav"), atol=1e-4)
    np.testing.assert_array_equal(
        np.concatenate(list(blocks(tmp_path / "y.wav", Span(1, 4), 0.7))), tone(5.3)[16_000:64_000]
    )
