"""Files appear whole or not at all, and one process at a time writes into a folder."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from distill.errors import DistillError, Refused, first_line
from distill.files import (
    check_disk,
    plain,
    read_json,
    reject_no_json,
    reject_unwritable,
    sha256_of,
    sole_writer,
    whole,
    write_csv,
    write_json,
    write_text,
)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 kB; where none can be mounted, the test is skipped."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    write_text(tmp_path / "new" / "a.txt", "first")
    write_text(tmp_path / "new" / "a.txt", "second: ü")
    assert [path.read_text(encoding="utf-8") for path in (tmp_path / "new").iterdir()] == ["second: ü"]


def test_it_is_written_under_the_same_ending_in_the_same_folder(tmp_path: Path) -> None:
    with whole(tmp_path / "a.onnx") as beside:
        assert (beside.parent, beside.suffix) == (tmp_path, ".onnx") and beside.name.startswith(".")
        beside.write_text("x")


def test_whoever_wrote_it_others_may_read_it_as_the_user_says(tmp_path: Path) -> None:
    """Some libraries' files are for their user alone, which a colleague on a shared disk cannot open."""
    write_text(tmp_path / "plain.txt", "x")
    with whole(tmp_path / "private.bin") as beside:
        beside.write_text("x")
        beside.chmod(0o600)
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    (tmp_path / "open").touch()
    assert modes == {(tmp_path / "open").stat().st_mode & 0o777}


@pytest.mark.parametrize("stop", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_crash_in_the_middle_leaves_what_was_there(tmp_path: Path, stop: type[BaseException]) -> None:
    write_text(tmp_path / "a.txt", "before")
    with pytest.raises(stop), whole(tmp_path / "a.txt") as beside:
        beside.write_text("half")
        raise stop
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "before"}


def test_a_killed_process_leaves_nothing_by_that_name(tmp_path: Path) -> None:
    code = "import os, sys; from pathlib import Path; from distill.files import whole\n"
    code += "with whole(Path(sys.argv[1])) as beside:\n    beside.write_text('half'); os._exit(9)"
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.csv")]).returncode == 9
    assert not (tmp_path / "a.csv").exists()


def test_a_full_disk_leaves_what_was_there(tiny_disk: Path) -> None:
    write_text(tiny_disk / "a.txt", "before")
    with pytest.raises(OSError) as caught:
        write_text(tiny_disk / "a.txt", "x" * 1_000_000)
    assert caught.value.errno == errno.ENOSPC
    assert {path.name: path.read_text() for path in tiny_disk.iterdir()} == {"a.txt": "before"}


def test_a_disk_that_is_full_only_when_flushed_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "a.txt", "before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "a.txt", "after")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a.txt": "before"}


def test_json_is_strict(tmp_path: Path) -> None:
    value = {"ccc": np.float32("nan"), "n": np.int64(3), "adv": np.array([0.5, np.inf]), "where": Path("a/b"), 1: (2,)}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert json.loads(text) == {"ccc": None, "n": 3, "adv": [0.5, None], "where": "a/b", "1": [2]} == plain(value)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_what_is_no_json_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DistillError, match=r"a\.json: not valid JSON"):
        read_json(tmp_path / "a.json")


def test_a_missing_json_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"a\.json: no such file"):
        read_json(tmp_path / "a.json")


def test_csv_cells_are_quoted(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["file", "n"], [["two\nlines, quoted", 1]])
    assert (tmp_path / "a.csv").read_bytes() == b'file,n\r\n"two\nlines, quoted",1\r\n'


def test_sha256_of_a_file(tmp_path: Path) -> None:
    content = bytes(3 << 20)
    (tmp_path / "a").write_bytes(content)
    assert sha256_of(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def holder(folder: Path, then: str) -> subprocess.Popen[str]:
    code = "import os, sys, time; from pathlib import Path; from distill.files import sole_writer\n"
    code += f"with sole_writer(Path(sys.argv[1])):\n    print('held', flush=True); {then}"
    process = subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    process = holder(tmp_path / "out", "time.sleep(60)")
    try:
        with pytest.raises(Refused, match="out: another run is writing"), sole_writer(tmp_path / "out"):
            pytest.fail("two writers in one folder")
    finally:
        process.kill()
        process.wait()
    with sole_writer(tmp_path / "out"):
        pass


@pytest.mark.parametrize("leave", ["os._exit(0)", "sys.exit(0)"])
def test_a_folder_is_free_again_however_its_writer_left(tmp_path: Path, leave: str) -> None:
    holder(tmp_path / "out", leave).wait()
    with sole_writer(tmp_path / "out"):
        pass


def test_a_patient_writer_waits_for_one_that_ends(tmp_path: Path) -> None:
    process = holder(tmp_path / "out", "time.sleep(0.3)")
    with sole_writer(tmp_path / "out", patience=60):
        assert process.wait(10) == 0
    process = holder(tmp_path / "out", "time.sleep(60)")
    with pytest.raises(Refused), sole_writer(tmp_path / "out", patience=0.2):
        pytest.fail("two writers in one folder")
    process.kill()
    process.wait()


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    with pytest.raises(Refused, match="is a file; name a folder"), sole_writer(tmp_path / "out"):
        pytest.fail("a file cannot be held")


def test_a_place_that_can_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    reject_unwritable(tmp_path / "new" / "a.txt")
    write_text(tmp_path / "b.txt", "before")
    reject_unwritable(tmp_path / "b.txt")
    reject_unwritable(tmp_path / "newer" / "yet" / "a.txt")
    assert [path.name for path in tmp_path.rglob("*")] == ["b.txt"]
    assert (tmp_path / "b.txt").read_text() == "before"


def test_a_place_below_a_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError):
        reject_unwritable(tmp_path / "file" / "a.txt")
    with pytest.raises(OSError), whole(tmp_path / "file" / "a.txt"):
        pytest.fail("nothing can be written there")


@pytest.mark.parametrize("name", ["a.txt", "a", "a.json.gz", "folder.json"])
def test_what_is_to_hold_json_is_called_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DistillError, match=f"{name}: the output must be a file that ends in .json"):
        reject_no_json(tmp_path / name)
    reject_no_json(tmp_path / "new" / "a.json")
    assert not (tmp_path / "new" / "a.json").exists()


def test_a_disk_that_is_too_small_is_refused_in_megabytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk(tmp_path / "new", 1)
    assert (tmp_path / "new").is_dir()
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 3_000_000}))
    check_disk(tmp_path, 3_000_000)
    with pytest.raises(DistillError, match="4 MB are needed, 3 MB are free; choose another disk"):
        check_disk(tmp_path, 4_000_000)


@pytest.mark.parametrize(
    ("raised", "free", "number"),
    [
        (OSError("could not write"), 10**9, errno.EIO),
        (PermissionError(errno.EACCES, "Permission denied", ".a.txt.1234.partial"), 10**9, errno.EACCES),
        (RuntimeError("a library's own words"), 999, errno.ENOSPC),
    ],
)
def test_a_write_that_fails_names_the_file_that_the_user_knows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raised: Exception, free: int, number: int
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(OSError) as caught, whole(tmp_path / "a.txt"):
        raise raised
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path / "a.txt"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("value", [{1, 2}, object(), b"bytes"])
def test_what_json_cannot_hold_leaves_no_file(tmp_path: Path, value: object) -> None:
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_names_of_other_bytes_survive_a_csv(tmp_path: Path) -> None:
    write_csv(tmp_path / "a.csv", ["file"], [[os.fsdecode(b"\xff.wav")]])
    assert (tmp_path / "a.csv").read_bytes() == b"file\r\n\xff.wav\r\n"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n  first\nsecond"), "first"),
        (OSError(2, "gone"), "[Errno 2] gone"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_an_error_of_many_lines_is_told_in_one(error: Exception, line: str) -> None:
    assert first_line(error) == line
