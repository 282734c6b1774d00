"""Label files of published corpora, as they are handed out, read where a CSV is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.corpora import recognised
from distill.errors import DistillError
from distill.evaluation.truth import read_rated
from distill.sources.manifest import Cut, list_segments, read_rows, select

MSP_PODCAST = """FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,3.4,4.6,4.0,127,Male,Train
MSP-PODCAST_0001_0019.wav,A,7.0,1.0,5.5,128,Female,Development
MSP-PODCAST_0002_0033.wav,X,4.2,3.8,4.4,Unknown,Unknown,Test1
MSP-PODCAST_0003_0001.wav,H,,,,130,Female,Test3
"""

MSP_IMPROV = """UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.0; V:1.5; D:4.0; N:3.5;
phase1_12; Angry; Angry, ; A:2.000000; V:1.000000; D:4.000000; N:3.000000;

UTD-IMPROV-S08H-M04-R-FM02.avi; S; A:4.5; V:2.0; D:2.0; N:4.0;
phase1_13; Sad; Sad, ; A:5.000000; V:2.000000; D:2.000000; N:4.000000;
UTD-IMPROV-S08N-M04-S-MM01.avi; X; A:3.0; V:3.0; D:3.0; N:4.0;
"""

IEMOCAP = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 3.0000, 2.0000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()
[10.0100 - 11.3925]\tSes01F_script01_1_M001\txxx\t[1.0000, 5.0000, 5.5000]
"""

CREMA_D = """"","FileName","VoiceVote","VoiceLevel","FaceVote","FaceLevel","MultiModalVote","MultiModalLevel"
"1","1001_IEO_NEU_XX","N","65.5","N","70","N","80"
"2","1002_IEO_ANG_HI","A:N","50:60","A","70","A","80"
"""


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def of(row: dict[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in names]


def test_msp_podcast(tmp_path: Path) -> None:
    """1 to 7; the columns stand as Act, Val, Dom; what the raters did not agree on is no category."""
    labels = written(tmp_path / "Labels" / "labels_consensus.csv", MSP_PODCAST)
    rows = read_rows(labels)
    assert of(rows[0], "arousal", "dominance", "valence") == [0.4, 0.5, 0.6]
    assert of(rows[1], "arousal", "dominance", "valence", "category") == [1.0, 0.75, 0.0, "anger"]
    assert of(rows[0], "speaker", "sex", "split", "category") == ["127", "male", "Train", "neutral"]
    assert of(rows[2], "speaker", "sex", "split", "category") == ["", "", "Test1", ""]
    assert of(rows[3], "arousal", "split") == [None, "Test3"]
    assert read_rows(tmp_path) == rows  # the folder of the corpus
    assert [row["file"] for row in select(rows, {"split": "Test1|Test3"}, labels)] == [
        "MSP-PODCAST_0002_0033.wav", "MSP-PODCAST_0003_0001.wav",
    ]  # fmt: skip
    np.testing.assert_allclose(read_rated(labels, {"split": "Train"}).adv, [[0.4, 0.5, 0.6]])


def test_msp_improv_is_turned_round_where_anger_is_calmer_than_sadness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labels = written(tmp_path / "Evaluation" / "Evalution.txt", MSP_IMPROV)
    rows = read_rows(labels)
    assert "turned round" in capsys.readouterr().err
    assert [row["file"] for row in rows] == [
        "MSP-IMPROV-S01A-F01-P-FM01.wav", "MSP-IMPROV-S08H-M04-R-FM02.wav", "MSP-IMPROV-S08N-M04-S-MM01.wav",
    ]  # fmt: skip
    assert of(rows[0], "arousal", "dominance", "valence") == [0.75, 0.75, 0.125]
    assert of(rows[1], "arousal", "category", "speaker", "sex") == [0.125, "sadness", "M04", "male"]
    assert rows[2]["category"] == ""
    assert read_rows(tmp_path) == rows
    other = MSP_IMPROV.replace("A:2.0;", "A:4.0;").replace("A:4.5;", "A:1.5;")
    assert read_rows(written(tmp_path / "other" / "Evaluation.txt", other))[0]["arousal"] == 0.75
    lone = "\n".join(MSP_IMPROV.splitlines()[:2])
    with pytest.raises(DistillError, match="which end of arousal is which"):
        read_rows(written(tmp_path / "lone" / "Evaluation.txt", lone))


def test_iemocap(tmp_path: Path) -> None:
    """1 to 5 in the order valence, arousal, dominance; some means lie beyond it."""
    session = tmp_path / "Session1" / "dialog"
    written(session / "EmoEvaluation" / "Ses01F_impro01.txt", IEMOCAP)
    written(session / "transcriptions" / "Ses01F_impro01.txt", "Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n")
    rows = read_rows(tmp_path)
    assert rows[0] == {
        "file": "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav", "arousal": 0.5, "dominance": 0.25,
        "valence": 0.375, "category": "neutral", "speaker": "01F", "sex": "female", "transcript": "Excuse me.",
        "split": "Session1",
    }  # fmt: skip
    assert of(rows[1], "arousal", "dominance", "valence", "category") == [1.0, 1.125, 0.0, ""]
    assert rows[1]["file"].endswith("Ses01F_script01_1/Ses01F_script01_1_M001.wav") and rows[1]["speaker"] == "01M"


def test_crema_d(tmp_path: Path) -> None:
    """The votes of those who only heard it; a tie is none."""
    labels = written(tmp_path / "processedResults" / "summaryTable.csv", CREMA_D)
    written(tmp_path / "VideoDemographics.csv", "ActorID,Age,Sex,Race,Ethnicity\n1001,51,Male,Caucasian,x\n")
    assert read_rows(labels) == read_rows(tmp_path) == [
        {"file": "1001_IEO_NEU_XX", "category": "neutral", "speaker": "1001", "sex": "male"},
        {"file": "1002_IEO_ANG_HI", "category": "", "speaker": "1002", "sex": ""},
    ]  # fmt: skip


def database(folder: Path, *, highest: float = 7.0) -> Path:
    """Ratings from 1 to 7 of two segments, an emotion of one, machine's answers, speakers with their sex."""
    audformat = pytest.importorskip("audformat")
    made = audformat.Database("made")
    made.schemes["rating"] = audformat.Scheme("float", minimum=1, maximum=7)
    made.schemes["emotion"] = audformat.Scheme(labels=["anger", "joy"])
    made.schemes["speaker"] = audformat.Scheme(labels={"ann": {"gender": "female"}, "bob": {"gender": "male"}})
    made.raters["gold"] = audformat.Rater("human")
    made.raters["net"] = audformat.Rater("machine")
    index = audformat.segmented_index(["a.wav", "b.wav"], ["0s", "1.5s"], ["2s", "2.5s"])
    ratings = made["emotion.test"] = audformat.Table(index)
    ratings["activation"] = audformat.Column(scheme_id="rating", rater_id="gold")
    ratings["activation"].set([4.0, highest])
    ratings["valence"] = audformat.Column(scheme_id="rating", rater_id="net")
    ratings["valence"].set([2.0, 2.0])
    ratings["emotion"] = audformat.Column(scheme_id="emotion", rater_id="gold")
    ratings["emotion"].set(["joy", None])
    files = made["files"] = audformat.Table(audformat.filewise_index(["a.wav", "b.wav"]))
    files["speaker"] = audformat.Column(scheme_id="speaker")
    files["speaker"].set(["ann", "bob"])
    made.save(str(folder))
    return folder


def test_audformat(tmp_path: Path) -> None:
    """Scaled by the schemes, joined over tables; what machines said is no truth."""
    rows = read_rows(database(tmp_path))
    assert [(row["file"], row["start"], row["end"]) for row in rows] == [("a.wav", 0.0, 2.0), ("b.wav", 1.5, 2.5)]
    assert [row["arousal"] for row in rows] == [0.5, 1.0] and "valence" not in rows[0]
    assert [row["category"] for row in rows] == ["joy", None]
    assert [(row["speaker"], row["sex"], row["split"]) for row in rows] == [
        ("ann", "female", "test"), ("bob", "male", "test"),
    ]  # fmt: skip
    assert read_rows(tmp_path / "db.yaml") == rows


def test_a_header_that_is_none_is_told(tmp_path: Path) -> None:
    pytest.importorskip("audformat")
    with pytest.raises(DistillError, match=r"db\.yaml: cannot be read"):
        read_rows(written(tmp_path / "db.yaml", "name: [").parent)


@pytest.mark.parametrize(("place", "text", "said"), [
    ("labels_consensus.csv", MSP_PODCAST.replace("3.4", "9.4"), "row 1, EmoAct: '9.4' is no rating from 1 to 7"),
    ("labels_consensus.csv", MSP_PODCAST.replace("3.4", "high"), "'high' is no rating"),
    ("labels_consensus.csv", MSP_PODCAST.replace(",127,", ","), "has another number of values than the header"),
    ("Evaluation.txt", MSP_IMPROV.replace("A:2.0", "A:20"), "line 1, A: '20' is no rating from 1 to 5"),
])  # fmt: skip
def test_what_is_no_rating_is_named(place: str, text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=said):
        read_rows(written(tmp_path / place, text))


def test_a_csv_of_anybodys_and_a_folder_of_recordings_are_no_corpus(tmp_path: Path) -> None:
    assert recognised(written(tmp_path / "summaryTable.csv", "file,arousal\na.wav,0.5\n")) is None
    assert recognised(written(tmp_path / "notes.txt", "FileName,EmoClass\n")) is None
    assert recognised(tmp_path) is None


def test_recordings_are_found_below_the_corpus(tmp_path: Path) -> None:
    """By their base names, wherever the corpus keeps them; columns come along."""
    written(tmp_path / "Labels" / "labels_consensus.csv", MSP_PODCAST)
    (tmp_path / "Audios").mkdir()
    for name in ("MSP-PODCAST_0001_0008", "MSP-PODCAST_0001_0019"):
        soundfile.write(tmp_path / "Audios" / f"{name}.wav", np.full(16_000, 0.1), 16_000)
    found = list(list_segments(tmp_path, cut=Cut(30, 30), where={"split": "Train|Development"}))
    assert [entry.file for entry in found] == [
        "Audios/MSP-PODCAST_0001_0008.wav", "Audios/MSP-PODCAST_0001_0019.wav",
    ]  # fmt: skip
    assert [entry.columns["arousal"] for entry in found] == [0.4, 1.0]


def test_one_part_of_a_corpus_is_evaluated(tmp_path: Path, distill: Any) -> None:
    labels = written(tmp_path / "labels_consensus.csv", MSP_PODCAST.replace("Development", "Train"))
    answers = "file,arousal\nMSP-PODCAST_0001_0008.wav,0.5\nMSP-PODCAST_0001_0019.wav,0.9\n"
    said = written(tmp_path / "said.csv", answers + "MSP-PODCAST_0002_0033.wav,0.5\n")
    done = distill("evaluate", "--truth", labels, "--predictions", said, "--split", "Train", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n"] == 2
    done = distill("evaluate", "--truth", labels, "--predictions", said, "--split", "Test9")
    assert done.returncode == 1 and "no row with split=Test9" in done.stderr
