"""What README and docs show is what the program prints, and the README's figures are those of the committed results."""

from __future__ import annotations

import csv
import json
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from distill.comparison import as_table
from distill.demo import CLIPS_EACH, SPEAKERS
from distill.emotionwords import nearest_words
from distill.synthesis import write_corpus

REPO = Path(__file__).parent.parent
README = (REPO / "README.md").read_text(encoding="utf-8")
RESULTS = REPO / "benchmarks" / "results"
STUDENTS = REPO / "students" / "pretrained"


def shown(text: str) -> Iterator[tuple[str, str]]:
    """Every command of a ```console block with what is shown below it. "..." stands for lines that are left out."""
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = part.partition("\n")
            yield command, output.rstrip("\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout as it is after `make demo`: its speech, and the committed results."""
    made = tmp_path_factory.mktemp("checkout")
    write_corpus(made / "demo" / "audio", speakers=SPEAKERS, clips=CLIPS_EACH, seed=0)
    (made / "benchmarks").symlink_to(REPO / "benchmarks")
    return made


def printed(command: str, folder: Path) -> str:
    program, *arguments = shlex.split(command)
    assert program == "distill"
    done = subprocess.run(
        [sys.executable, "-m", "distill", *arguments], cwd=folder, capture_output=True, text=True,
        env={**os.environ, "COLUMNS": "120"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.rstrip("\n")


@pytest.mark.parametrize(
    ("document", "least"), [("README.md", 5), ("docs/evaluation.md", 2), ("docs/predicting.md", 3)]
)
def test_commands_print_what_is_shown(folder: Path, document: str, least: int) -> None:
    commands = list(shown((REPO / document).read_text(encoding="utf-8")))
    assert len(commands) >= least
    for command, expected in commands:
        pattern = r"\n.*\n".join(re.escape(piece) for piece in f"{expected}\n".split("\n...\n"))
        assert re.fullmatch(pattern, f"{printed(command, folder)}\n", re.DOTALL), command


def read(name: str) -> Any:
    return json.loads((RESULTS / "wav2small" / name).read_text())


def cell(result: dict[str, Any], axis: str) -> str:
    score = result["ccc"].get(axis)
    return f"{score['value']:.3f} [{score['low']:.3f}, {score['high']:.3f}]" if score else "-"


AGREEMENTS = {"teacher": "the teacher", "human": "human ratings"}


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("teacher `prosody` against human ratings", "wav2small/teacher-human.json"),
        *(
            (f"`{student}`, {precision}, against {whom}", f"{student}/{precision}-{against}.json")
            for student in ("wav2small", "wav2small-lite", "wav2small-stream")
            for precision in ("float", "int8")
            for against, whom in AGREEMENTS.items()
        ),
    ],
)
def test_the_table_holds_the_measured_agreement(row: str, name: str) -> None:
    result = json.loads((RESULTS / name).read_text())
    cells = " | ".join(cell(result, axis) for axis in ("arousal", "valence", "dominance"))
    assert f"| {row} | {cells} |" in README


def test_what_the_engine_takes_is_what_was_counted() -> None:
    counted = json.loads((REPO / "benchmarks" / "emulated" / "engine.json").read_text())
    rows = re.findall(r"^\| `(\S+)` \| (cortex-\S+) \| (.*) \|$", README, re.MULTILINE)
    assert len(rows) >= 6
    for layout, core, cells in rows:
        device = counted[layout][core]
        cycles = device["cycles_per_second"]
        between = f"{cycles['low'] / 1e6:.1f} to {cycles['high'] / 1e6:.1f}" if cycles else ""
        taken = [f"{device['instructions_per_second'] / 1e6:.1f}", between]
        assert [cell.strip() for cell in cells.split("|")] == [
            *taken, f"{device['flash_bytes']:,}", f"{device['ram_bytes']:,}",
        ]  # fmt: skip


def test_the_time_of_the_engine_on_a_host_is_the_measured_one() -> None:
    measured = json.loads((RESULTS / "devices" / "benchmark.json").read_text())
    told = " ".join(README.split())
    in_c = measured["devices"]["host"]["latency_ms"]["5"]
    _, floating, integer = (model["latency_ms"]["5"] for model in measured["models"])
    assert f"answers 5 s of audio in {in_c['median']:.2f} ms on one thread" in told
    assert f"takes {floating['median']:.2f} with the float file and {integer['median']:.2f} with the int8 one" in told
    assert f"{in_c['n']} interleaved rounds" in told and in_c["median"] < 0.3 * floating["median"]


def test_the_time_of_int8_is_the_measured_one() -> None:
    ways = json.loads((RESULTS / "quantisation.json").read_text())["ways"]
    times = {way: f"{measured['processor']['to_float']:.2f}" for way, measured in ways.items()}
    assert f"The int8 file takes {times['ours (--int8)']} of the time of the best float file" in README
    assert f"`quantize_static` with its defaults {times['quantize_static, defaults']} times" in README
    assert f"{ways['ours (--smallest)']['bytes']:,} bytes for\n`wav2small`" in README


def test_sizes_and_counts_are_those_of_the_results() -> None:
    for name in ("wav2small", "wav2small-int8"):
        assert f"{json.loads((STUDENTS / f'{name}.json').read_text())['bytes']:,} bytes" in README
    assert f"{read('teacher-human.json')['n']} clips" in README


def test_the_speed_of_training_is_the_measured_one() -> None:
    measured = json.loads((RESULTS / "training.json").read_text())
    shown_there = (REPO / "docs" / "benchmarking.md").read_text(encoding="utf-8")
    for way in measured["ways"].values():
        assert f"{way['median']:.1f} ({way['p10']:.1f} to {way['p90']:.1f})" in shown_there
    for ratio in measured["ratios"].values():
        assert f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})" in shown_there
        assert f"{ratio['median']:.2f} times ({ratio['low']:.2f} to {ratio['high']:.2f})" in README
    assert f"{measured['loading']['alone']['0']:,.0f} clips" in shown_there
    assert f"takes {measured['ways']['ours']['median']:.1f} clips of 5 s a second" in README


def student_rows() -> list[str]:
    """The table of the students, from the one run in which all were measured: float and int8 of each in turn."""
    models = json.loads((RESULTS / "students" / "benchmark.json").read_text())["models"]
    return [student_row(floating, integer) for floating, integer in zip(models[::2], models[1::2], strict=True)]


def student_row(floating: dict[str, Any], integer: dict[str, Any]) -> str:
    both = (floating, integer)
    sixteen = "" if integer["precision"] == "int8" else " (16-bit activations)"
    agreement = [
        " / ".join(f"{model['ccc'][axis]['value']:.3f}" for axis in ("arousal", "dominance", "valence"))
        for model in both
    ]
    cells = [
        f"`{floating['name']}`", f"{floating['parameters']:,}", f"{floating['macs_per_second'] * 5 / 1e9:.2f} G",
        " / ".join(f"{model['bytes']:,}" for model in both) + sixteen,
        " / ".join(f"{model['latency_ms']['5']['median']:.1f}" for model in both),
        " / ".join(f"{model['peak_rss_bytes']['model'] / 1e6:.0f}" for model in both), *agreement,
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def test_the_table_of_the_students_is_the_measured_one() -> None:
    rows, students = student_rows(), (REPO / "docs" / "students.md").read_text(encoding="utf-8")
    assert len(rows) == 6 and all(row in students for row in rows)


#: The letter for the category in a clip's name (EMO-DB).
CATEGORIES = {
    "W": "anger", "L": "boredom", "E": "disgust", "A": "fear", "F": "happiness", "N": "neutral", "T": "sadness",
}  # fmt: skip


def answered_clips() -> list[dict[str, str]]:
    with (RESULTS / "wav2small" / "float-human.predictions.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def words_rows() -> list[str]:
    """What is nearest to the student's answers and to people's ratings, by what was acted."""
    clips = answered_clips()
    rows = ["| acted | clips | nearest to the student's answers | nearest to people's ratings |", "|---|---|---|---|"]
    for letter, category in CATEGORIES.items():
        acted = [clip for clip in clips if clip["file"][5] == letter]
        rows.append(f"| {category} | {len(acted)} | {nearest(acted, '')} | {nearest(acted, 'true_')} |")
    return rows


def nearest(clips: list[dict[str, str]], prefix: str) -> str:
    sides = [{axis: float(clip[f"{prefix}{axis}"]) for axis in ("arousal", "valence")} for clip in clips]
    words = [nearest_words({**side, "dominance": None, "derived": []})[0]["word"] for side in sides]
    return ", ".join(f"{word} {count}" for word, count in Counter(words).most_common(5))


def test_the_words_are_those_of_the_measured_answers() -> None:
    assert "\n".join(words_rows()) in (REPO / "docs" / "predicting.md").read_text(encoding="utf-8")
    assert "happy" not in next(row for row in words_rows() if row.startswith("| happiness | 10 |"))


def test_the_ranges_are_those_of_the_measured_answers() -> None:
    told = " ".join((REPO / "docs" / "predicting.md").read_text(encoding="utf-8").split())
    for prefix in ("", "true_"):
        for axis in ("arousal", "valence"):
            values = [float(clip[f"{prefix}{axis}"]) for clip in answered_clips()]
            assert f"{min(values):.2f} and {max(values):.2f}" in told


def test_the_table_of_the_ablation_is_the_measured_one() -> None:
    measured = json.loads((RESULTS / "ablation.json").read_text())
    assert as_table(measured) in (REPO / "docs" / "ablation.md").read_text(encoding="utf-8")
    assert measured["seeds"] == 3 and not measured["failed"]
    assert all(len(variant["seeds"]) == 3 for variant in measured["variants"].values())
