"""Labelling and calibrating with a language model, from the command to the table."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill import cli, table
from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from teacher.asked import Asked
from teacher.catalogue import open_teacher
from teacher.estimating import estimate
from teacher.labelling import label
from teacher.llm.calibrating import calibrate
from tests.teacher.chat import Chat, Raw, described, numbers, serving, well

Configure = Callable[..., Path]
Tone = Callable[..., np.ndarray]
Command = Callable[..., Any]

SPEAKERS, CLIPS = 4, 10


@pytest.fixture
def rated(tmp_path: Path, tone: Tone) -> Path:
    """Forty tones of four speakers; what is rated follows level and pitch, on another scale than the server's."""
    rows = []
    for number in range(SPEAKERS * CLIPS):
        path = tmp_path / "audio" / f"s{number % SPEAKERS}" / f"clip{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        pitch, peak = 100 + 5 * number, 0.05 + 0.9 * (number * 7 % 40) / 40
        soundfile.write(path, tone(0.4, pitch, peak), SAMPLING_RATE)
        share = (pitch - 100) / 200
        told = (f"s{number % SPEAKERS}/{path.name}", f"S{number % SPEAKERS}", "male", f"words {number}")
        rows.append((*told, round(peak, 3), round(share, 3), round(1 - share, 3)))
    with (tmp_path / "ratings.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "speaker", "sex", "transcript", "arousal", "dominance", "valence"])
        writer.writerows(rows)
    return tmp_path / "ratings.csv"


def failures(labels: Path) -> dict[str, str]:
    with (labels / "failed.csv").open(newline="") as handle:
        return {row["file"]: row["reason"] for row in csv.DictReader(handle)}


def test_the_command_labels_a_manifest(
    chat: Chat, configure: Configure, rated: Path, tmp_path: Path, distill: Command
) -> None:
    keys = {"examples": str(rated), "examples_audio": str(tmp_path / "audio"), "max_examples": 4}
    configured = configure(**keys, answers=2, temperature=0.7, licence="MIT")
    labels = tmp_path / "labels"
    chosen = ("--audio", tmp_path / "audio", "--where", "speaker=S1")
    done = distill("label", rated, *chosen, "-o", labels, "--teacher", f"llm:{configured}", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labelled"] == CLIPS == len(chat.asked) / 2
    read = table.read(labels)
    assert read.info["teacher"]["name"] == "llm:made-up" and read.info["licence"] == "MIT"
    assert read.column("spread_arousal") == [0.0] * CLIPS and read.column("transcript")[0].startswith("words")
    asked = {described(body): numbers(described(body))["dominance"] for body in chat.asked}
    assert sorted(round(value, 3) for value in read.column("dominance")) == sorted(asked.values())


def test_no_prompt_holds_its_own_speaker_or_file(chat: Chat, configure: Configure, rated: Path, tmp_path: Path) -> None:
    keys = {"examples": str(rated), "examples_audio": str(tmp_path / "audio"), "max_examples": 40}
    some = {"speaker": "S0|S2"}
    label(rated, audio=tmp_path / "audio", output=tmp_path / "labels", teacher=f"llm:{configure(**keys)}", where=some)
    assert len(chat.asked) == 2 * CLIPS
    for body in chat.asked:
        told = [one["content"] for one in body["messages"] if one["role"] == "user"]
        *shown, asked = [int(text.split('"words ')[1].split('"')[0]) for text in told]
        assert len(shown) == 30 and all(number % SPEAKERS != asked % SPEAKERS for number in shown)


def test_clips_without_a_speaker_fail_by_name(chat: Chat, configure: Configure, rated: Path, tmp_path: Path) -> None:
    keys = {"examples": str(rated), "examples_audio": str(tmp_path / "audio")}
    (tmp_path / "m.csv").write_text("file,speaker\ns0/clip0.wav,S0\ns1/clip1.wav,\n")
    result = label(tmp_path / "m.csv", audio=tmp_path / "audio", output=tmp_path / "labels",
                   teacher=f"llm:{configure(**keys)}")  # fmt: skip
    assert (result["labelled"], result["failed"]) == (1, 1)
    assert "no speaker is known" in failures(tmp_path / "labels")["s1/clip1.wav"]


def test_the_same_audio_with_other_words_is_another_question(
    chat: Chat, configure: Configure, tmp_path: Path, tone: Tone
) -> None:
    for name in ("a.wav", "b.wav", "c.wav"):
        soundfile.write(tmp_path / name, tone(0.5), SAMPLING_RATE)
    (tmp_path / "m.csv").write_text("file,transcript\na.wav,yes\nb.wav,no thank you\nc.wav,yes\n")
    label(tmp_path / "m.csv", output=tmp_path / "labels", teacher=f"llm:{configure()}")
    read = table.read(tmp_path / "labels")
    valence = read.column("valence")
    assert valence[0] == valence[2] != valence[1] and len(set(read.column("sha256"))) == 1 and len(chat.asked) == 2


def test_single_failures_are_named_and_a_second_run_asks_only_them(
    chat: Chat, configure: Configure, corpus: Path, tmp_path: Path
) -> None:
    hard = "Length: 2.0 s"
    chat.says = lambda body: Raw(500) if hard in described(body) else well(body)
    again = {"output": tmp_path / "labels", "teacher": f"llm:{configure(retries=1)}"}
    first = label(corpus, **again)
    assert (first["labelled"], first["failed"]) == (3, 1)
    assert failures(tmp_path / "labels") == {"b/three.wav": "the server answered 500 (asked 2 times)"}
    chat.says, before = well, len(chat.asked)
    second = label(corpus, **again)
    assert (second["labelled"], second["skipped"]) == (1, 3) and len(chat.asked) == before + 1
    assert not (tmp_path / "labels" / "failed.csv").exists()


def test_an_outage_stops_the_run_and_the_next_goes_on(
    configure: Configure,
    rated: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The server dies amid the second batch, and comes back at another port."""
    arguments = ["label", str(rated), "--audio", str(tmp_path / "audio"), "-o", str(tmp_path / "labels")]
    with serving() as dying:
        closing = Raw(503, {"error": "going down"})
        dying.says = lambda body: well(body) if len(dying.asked) <= 36 else closing
        monkeypatch.setattr("teacher.llm.asking.IN_VAIN_SERVER", 2)
        configured = configure(url=dying.url, concurrency=1, retries=0)
        with pytest.raises(SystemExit) as left:
            cli.main([*arguments, "--teacher", f"llm:{configured}"])
        err = capsys.readouterr().err
        assert left.value.code == 1 and "503, going down; what was answered is kept: run the same command" in err
        assert "Traceback" not in err and err.strip().splitlines()[-1].startswith(f"distill: {dying.url}")
    with pytest.raises(DistillError, match="unfinished"):
        table.read(tmp_path / "labels")
    with serving() as back:
        configure(url=back.url, concurrency=1, retries=0)
        cli.main([*arguments, "--teacher", f"llm:{configured}"])
        assert len(table.read(tmp_path / "labels")) == 40 and len(back.asked) == 4


def test_another_model_is_another_table(chat: Chat, configure: Configure, corpus: Path, tmp_path: Path) -> None:
    again = {"output": tmp_path / "labels", "teacher": f"llm:{configure()}"}
    label(corpus, **again)
    configure(model="other")
    with pytest.raises(DistillError, match="was labelled with revision"):
        label(corpus, **again)


def test_an_estimate_asks_about_its_sample_and_labelling_not_again(
    chat: Chat, configure: Configure, corpus: Path, tmp_path: Path
) -> None:
    to = {"output": tmp_path / "labels", "teacher": f"llm:{configure()}"}
    assert estimate(corpus, **to)["sample"]["segments"] == len(chat.asked) == 4
    assert not (tmp_path / "labels").exists()
    assert label(corpus, **to)["labelled"] == 4 and len(chat.asked) == 4


def test_a_licence_is_asked_for_before_the_server(
    chat: Chat, configure: Configure, corpus: Path, tmp_path: Path
) -> None:
    with pytest.raises(DistillError, match="unknown, and permissive is required"):
        label(corpus, output=tmp_path / "labels", teacher=f"llm:{configure()}", require_licence="permissive")
    assert not chat.probed


def test_no_server_is_one_line_and_no_table(
    configure: Configure, corpus: Path, tmp_path: Path, distill: Command
) -> None:
    configured = configure(url="http://127.0.0.1:9/v1")
    done = distill("label", corpus, "-o", tmp_path / "labels", "--teacher", f"llm:{configured}")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and not (tmp_path / "labels").exists()
    assert done.stderr.startswith("distill: http://127.0.0.1:9/v1: cannot be reached")


# Calibration ---------------------------------------------------------------------------------------------------------


def test_calibrated_answers_agree_better_with_people(
    chat: Chat, configure: Configure, rated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, plain = tmp_path / "calibration.json", configure()
    arguments = ["--teacher", f"llm:{plain}", "--labels", str(rated), "--audio", str(tmp_path / "audio")]
    cli.main(["calibrate", *arguments, "-o", str(output)])
    shown = capsys.readouterr().out
    assert "40 clips answered, 0 failed" in shown and "on speakers left out (40 clips of 4 speakers)" in shown
    written = json.loads(output.read_text())
    axis = written["axes"]["dominance"]
    assert axis["ccc_before"] < 0.3 and axis["ccc_after"] > 0.95 and (axis["n"], axis["speakers"]) == (40, 4)
    assert written["axes"]["valence"]["note"] is not None  # the server answers it by the length of the words
    label(rated, audio=tmp_path / "audio", output=tmp_path / "labels",
          teacher=f"llm:{configure(calibration=str(output))}")  # fmt: skip
    assert len(chat.asked) == 40  # all from the cache
    read = table.read(tmp_path / "labels")
    truth = [float(value) for value in read.column("given_dominance")]
    np.testing.assert_allclose(read.column("dominance"), truth, atol=0.05)


def test_a_calibration_belongs_to_its_answers(chat: Chat, configure: Configure, rated: Path, tmp_path: Path) -> None:
    output = tmp_path / "calibration.json"
    calibrate(teacher=f"llm:{configure()}", labels=rated, audio=tmp_path / "audio", output=output)
    for keys, said in (({"model": "other"}, "made for answers of another model"), ({}, None)):
        configured = configure(**keys, calibration=str(output))
        if said:
            with pytest.raises(DistillError, match=said):
                Asked(f"llm:{configured}").open()
        else:
            card = Asked(f"llm:{configured}").open().card
            assert card.revision != open_teacher(f"llm:{configure()}").card.revision
    output.write_text('{"answers": "x", "axes": {"arousal": {"gain": null}}}')
    with pytest.raises(DistillError, match="no file of `distill calibrate`"):
        open_teacher(f"llm:{configure(calibration=str(output))}")


def test_what_cannot_be_calibrated_costs_nothing(chat: Chat, configure: Configure, rated: Path, tmp_path: Path) -> None:
    to = {"teacher": f"llm:{configure()}", "audio": tmp_path / "audio", "output": tmp_path / "c.json"}
    bad = tmp_path / "bad.csv"
    for text, said in (
        ("file,arousal\ns0/clip0.wav,0.5\n", "has no speaker"),
        ("file,speaker,arousal\ns0/clip0.wav,S,5\n", "arousal is '5'; ratings are numbers from 0 to 1"),
        ("file,speaker,arousal\nno.wav,S,0.5\n", "no.wav: no such file"),
    ):
        bad.write_text(text)
        with pytest.raises(DistillError, match=said):
            calibrate(labels=bad, **to)
    with pytest.raises(DistillError, match="only the scale of a language model"):
        calibrate(labels=rated, **{**to, "teacher": "prosody"})
    assert not chat.asked and not (tmp_path / "c.json").exists()
    bad.write_text("file,speaker,arousal\ns0/clip0.wav,S,0.5\n")
    with pytest.raises(DistillError, match=r"no axis can be calibrated on 1 answered clips \(arousal: fewer than 10"):
        calibrate(labels=bad, **to)
