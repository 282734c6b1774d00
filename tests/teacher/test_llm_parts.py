"""The parts of a language model's teacher that need no server: files, money, threads, lines, and what is refused."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from distill.audio import SAMPLING_RATE
from distill.errors import DistillError
from distill.metrics import ccc
from teacher.llm import endpoint
from teacher.llm.acoustics import FEWEST_VOICED, measure
from teacher.llm.answers import LONGEST, BadAnswer, read_answer
from teacher.llm.cache import FILE, Cache, key_of
from teacher.llm.calibrating import calibrate
from teacher.llm.calibration import Calibration, Line, fit, read_calibration
from teacher.llm.config import read_config
from teacher.llm.cost import NO_REPLY, REQUESTS, CostLog, Price
from teacher.llm.endpoint import TryAgain, shown
from teacher.llm.examples import far_apart
from teacher.llm.journal import Journal
from teacher.llm.prompt import LONGEST_TEXT, told_back
from teacher.llm.ratings import cell, rated_clips, rating
from teacher.llm.together import together

GOOD = {"arousal": 0.7, "dominance": 0.5, "valence": 0.0}

# Answers -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [json.dumps(GOOD), json.dumps(GOOD, indent=4), f"\n\t {json.dumps(GOOD)}\r\n",
     '{"arousal":7e-1,"dominance":5E-1,"valence":-0}',
     '{"\\u0061rousal": 0.7, "dominance": 0.5, "valence": 0}'],
)  # fmt: skip
def test_however_json_writes_it_a_good_answer_is_taken(text: str) -> None:
    found = read_answer(text, (0.0, 1.0))
    assert found == GOOD and all(type(value) is float for value in found.values())


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"arousal": 1}, None), ({"arousal": 0}, None), ({"arousal": 1.0000001}, "out of range"),
     ({"arousal": -1e-9}, "out of range"), ({"arousal": 10**400}, "out of range"), ({"arousal": ""}, "not a number"),
     ({"arousal": {}}, "not a number"), ({"arousal": False}, "not a number")],
)  # fmt: skip
def test_the_ends_of_the_scale_belong_to_it(change: dict[str, Any], kind: str | None) -> None:
    text = json.dumps({**GOOD, **change})
    if kind is None:
        assert read_answer(text, (0.0, 1.0))["arousal"] == change["arousal"]
        return
    with pytest.raises(BadAnswer) as caught:
        read_answer(text, (0.0, 1.0))
    assert caught.value.kind == kind and "arousal" in caught.value.told


@pytest.mark.parametrize(
    ("text", "kind"),
    [("", "no JSON"), ("{", "cut off"), ("}", "no JSON"), ("\ufeff" + json.dumps(GOOD), "text around"),
     (f"{json.dumps(GOOD)},", "text around"), ("```", "fenced"), ("```" + "x" * LONGEST, "fenced"),
     (json.dumps(GOOD) + "\x00", "text around"), ('{"arousal": 1' + "0" * 900, "cut off")],
)  # fmt: skip
def test_what_is_no_answer_is_told_as_what_it_is(text: str, kind: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        read_answer(text, (0.0, 1.0))
    assert caught.value.kind == kind


def test_a_bad_reply_is_told_back_cut_and_with_its_fault() -> None:
    before, after = told_back("x" * 9000, "it is no JSON")
    assert before == {"role": "assistant", "content": "x" * LONGEST_TEXT}
    assert after["role"] == "user" and after["content"].startswith("That was not taken: it is no JSON.")
    assert "arousal, dominance, valence" in after["content"]
    assert [one["role"] for one in told_back(" \n", "it is empty")] == ["user"], "there is nothing to quote"


# What is measured ----------------------------------------------------------------------------------------------------


def test_a_short_voiced_stretch_has_no_pitch() -> None:
    time_ = np.arange(SAMPLING_RATE) / SAMPLING_RATE
    noise = 0.2 * np.random.default_rng(0).standard_normal(SAMPLING_RATE)
    noise[8000:8400] = 0.5 * np.sin(2 * np.pi * 200 * time_[:400])
    heard = measure(noise.astype(np.float32))
    assert heard.pitch is None and heard.voiced < FEWEST_VOICED / 50


def test_the_faintest_clip_has_a_level() -> None:
    faint = measure(np.full(SAMPLING_RATE // 2, 1e-9, np.float32))
    assert faint.level == -120 and faint.seconds == 0.5 and np.isfinite(faint.level_spread)


def test_padding_by_silence_lowers_the_level_and_moves_no_pitch(tone: Callable[..., np.ndarray]) -> None:
    alone, longer = measure(tone(1.0, 220.0)), measure(np.pad(tone(1.0, 220.0), (0, SAMPLING_RATE)))
    assert longer.level == pytest.approx(alone.level - 3.01, abs=0.01) and longer.seconds == 2 * alone.seconds
    assert longer.pitch is not None and alone.pitch is not None
    assert longer.pitch.middle == pytest.approx(alone.pitch.middle, rel=0.01) and longer.voiced > 0.9


# The configuration ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "given", "taken"),
    [("temperature", None, None), ("temperature", 1, 1.0), ("retries", 0, 0), ("backoff", 0, 0.0), ("range", [-1, 1],
     (-1.0, 1.0)),
     ("prompt", 1, "1"), ("api_key_env", "MY_KEY_2", "MY_KEY_2"), ("max_cost", None, None), ("calibration", None, None),
     ("url", "https://h.example/v1/?key=a", "https://h.example/v1?key=a"),
     ("url", " http://[::1]:8000/v1 ", "http://[::1]:8000/v1"),
     ("model", " a/b:c ", "a/b:c"), ("request", {}, {}), ("price", {"prompt": 0, "completion": 2}, Price(0.0, 2.0))],
)  # fmt: skip
def test_what_a_key_may_be(configure: Any, key: str, given: Any, taken: Any) -> None:
    assert getattr(read_config(configure(**{key: given})), key) == taken


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"range": [0, 1, 2]}, "range is"), ({"range": [1, 0]}, "range is"), ({"range": 1}, "range is"),
     ({"range": None}, "range is"),
     ({"concurrency": 0}, "from 1 to 256"), ({"concurrency": 2.0}, "concurrency is 2.0"),
     ({"retries": 21}, "from 0 to 20"),
     ({"timeout": "60"}, "timeout is '60'; it must be seconds, above 0"), ({"backoff": -1}, "backoff is -1"),
     ({"model": "  "}, "model is"), ({"licence": None}, "licence is None"), ({"cache": 3}, "cache is 3"),
     ({"speakers_disjoint": "yes"}, "true or false"), ({"columns": {"speaker": 3}}, "columns is"),
     ({"columns": None}, "columns is"),
     ({"price": {"prompt": 1, "completion": 1, "cached": 0}}, "price is"), ({"price": 3}, "price is"),
     ({"url": "http://h h/v1"}, "url cannot be taken"), ({"url": "http:///v1"}, "url cannot"),
     ({"url": "http://h:0/v1"}, "url cannot"),
     ({"url": "http://[::1/v1"}, "url cannot"), ({"request": {"n": 2}}, "none of model, messages"),
     ({"temperature": -0.1}, "from 0"),
     ({"max_examples": 101}, "from 1 to 100"), ({"max_cost": True}, "max_cost is True")],
)  # fmt: skip
def test_what_a_key_may_not_be(configure: Any, keys: dict[str, Any], said: str) -> None:
    with pytest.raises(DistillError, match=said) as caught:
        read_config(configure(**keys))
    assert "llm.yaml: " in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [("request: {stop: 2026-01-02}", "request is"), ("request: {logit_bias: {50: 1, x: 2}}", "request is"),
     ("request: {seed: .nan}", "request is"), ("1: x", "key: value"), ("? [a]\n: b", "no YAML"),
     ("a: &x [*x", "no YAML")],
)  # fmt: skip
def test_yaml_that_no_request_can_hold_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    """Answers are known by the request as sorted JSON, and so is the card, before anything is asked."""
    (tmp_path / "c.yaml").write_text(f"url: http://h/v1\nmodel: m\n{text}\n")
    with pytest.raises(DistillError, match=said) as caught:
        read_config(tmp_path / "c.yaml")
    assert "\n" not in str(caught.value)


def test_a_configuration_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"none\.yaml: no such configuration of a language model"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"model: caf\xe9\n")
    with pytest.raises(DistillError, match=r"latin\.yaml: no YAML"):
        read_config(tmp_path / "latin.yaml")


# What is kept, and what it costs -------------------------------------------------------------------------------------


def test_a_key_is_of_the_values_and_not_of_their_order() -> None:
    assert key_of({"a": 1, "b": {"x": 1, "y": 2}}) == key_of({"b": {"y": 2, "x": 1}, "a": 1})
    assert len({key_of({"a": value}) for value in (1, 1.5, "1", None, [1], {"a": 1})}) == 6
    with pytest.raises(ValueError, match="not JSON compliant"):
        key_of({"a": float("nan")})


def test_lines_that_are_no_answers_are_passed_over(tmp_path: Path) -> None:
    lines = [{"key": "good", "answer": GOOD}, {"key": 3, "answer": GOOD}, {"answer": GOOD}, {"key": "x", "answer": [1]},
             {"key": "few", "answer": {"arousal": 1}},
             {"key": "more", "answer": {**GOOD, "joy": 1}}, 7, "text"]  # fmt: skip
    (tmp_path / FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    cache = Cache(tmp_path)
    assert len(cache) == 1 and cache.get("good") == GOOD and cache.get("few") is None


def test_of_two_answers_to_a_question_the_later_counts(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    cache.put("k", GOOD)
    cache.put("k", {**GOOD, "arousal": 0.1})
    assert len(cache) == 1 and cache.get("k") == Cache(tmp_path).get("k") == {**GOOD, "arousal": 0.1}


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    taken: list[Any] = []
    journal = Journal(tmp_path / "j", taken.append)
    with (tmp_path / "j").open("ab") as file:
        file.write(b'{"n": 1}\n{"n": ')
        file.flush()
        journal.catch_up()
        assert taken == [{"n": 1}]
        file.write(b"2}\n")
    journal.catch_up()
    journal.catch_up()
    assert taken == [{"n": 1}, {"n": 2}]


def test_a_journal_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        Journal(tmp_path / "file" / "j", lambda _: None).add({"n": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        Journal(tmp_path / "j", lambda _: None).add({"n": float("inf")})
    assert not (tmp_path / "j").exists(), "a line that cannot be is not begun"


def test_tokens_are_paid_by_the_million_whatever_the_answer(tmp_path: Path) -> None:
    log = CostLog(tmp_path, "m", Price(prompt=2.0, completion=10.0), None)
    log.add("answered", {"prompt_tokens": 500_000, "completion_tokens": 100_000})
    log.add("fenced", {"prompt_tokens": 0, "completion_tokens": 50_000})
    log.add("timeout", NO_REPLY)
    assert log.cost == pytest.approx(1.0 + 1.0 + 0.5)
    sums = log.write()
    assert (sums["requests"], sums["without_usage"], sums["cost"]) == (3, 1, 2.5)
    assert list(sums["outcomes"]) == ["answered", "fenced", "timeout"]
    first = json.loads((tmp_path / REQUESTS).read_text().splitlines()[0])
    assert first == {
        "model": "m",
        "outcome": "answered",
        "prompt_tokens": 500_000,
        "completion_tokens": 100_000,
        "cost": 2.0,
    }


def test_what_others_spent_counts_and_nothing_asked_is_nothing_written(tmp_path: Path) -> None:
    mine, other = (CostLog(tmp_path, "m", Price(1.0, 1.0), 2.0) for _ in range(2))
    assert mine.write()["requests"] == 0 and not list(tmp_path.iterdir())
    other.add("answered", {"prompt_tokens": 2_000_000, "completion_tokens": 0})
    assert mine.cost == 0
    with pytest.raises(DistillError, match=r"max_cost of 2 is spent \(2\).*raise it and run the same command again"):
        mine.reject_spent()


def test_without_a_price_tokens_are_counted_and_cost_nothing(tmp_path: Path) -> None:
    log = CostLog(tmp_path, "m", None, None)
    log.add("answered", {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10})
    log.reject_spent()
    assert log.write()["prompt_tokens"] == 9 and log.cost == 0


@pytest.mark.parametrize("usage", [{"prompt_tokens": -1, "completion_tokens": 1},
{"prompt_tokens": True, "completion_tokens": 1},
                                   {"prompt_tokens": 1.5, "completion_tokens": 1}, [1, 2], "9"])  # fmt: skip
def test_a_count_that_is_none_is_not_believed(tmp_path: Path, usage: Any) -> None:
    log = CostLog(tmp_path, "m", Price(1.0, 1.0), None)
    log.add("answered", usage)
    assert log.write()["without_usage"] == 1 and log.cost == 0


# The endpoint --------------------------------------------------------------------------------------------------------


def headers(**given: str) -> Message:
    made = Message()
    for name, value in given.items():
        made[name.replace("_", "-")] = value
    return made


@pytest.mark.parametrize(
    ("said", "pause"), [("2", 2.0), (" 3 ", 3.0), ("0", 0.0), ("61", 60.0), ("-1", None), ("1.5", None), ("", None)]
)
def test_a_pause_is_whole_seconds_and_bounded(said: str, pause: float | None) -> None:
    assert endpoint._pause(headers(Retry_After=said)) == pause and endpoint._pause(headers()) is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"{}", b'{"choices": []}', b'{"choices": [{}]}', b'{"choices": [{"message": null}]}',
     b'{"choices": {"0": 1}}', b'{"choices": ["x"]}', b"\xff", b"[" * 100_000],
)  # fmt: skip
def test_a_body_that_is_no_completion_may_be_asked_for_again(body: bytes) -> None:
    with pytest.raises(TryAgain, match="no chat completion") as caught:
        endpoint._reply(body)
    assert caught.value.kind == "no completion" and not caught.value.gone


@pytest.mark.parametrize(
    ("choice", "text", "whole"),
    [({"message": {"content": "x"}}, "x", True), ({"message": {"content": "x"}, "finish_reason": "stop"}, "x", True),
     ({"message": {"content": "x"}, "finish_reason": "length"}, "x", False),
     ({"message": {"content": None}, "finish_reason": "content_filter"}, "", False),
     ({"message": {"content": [{"type": "text"}]}}, "", True)],
)  # fmt: skip
def test_a_reply_is_whole_if_the_model_ended_it(choice: dict[str, Any], text: str, whole: bool) -> None:
    reply = endpoint._reply(json.dumps({"choices": [choice]}).encode())
    assert (reply.text, reply.whole, reply.usage) == (text, whole, None)


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert shown("https://h:8/v1?key=secret#secret") == "https://h:8/v1"
    assert endpoint._joined("https://h/v1/?key=a", "models") == "https://h/v1/models?key=a"


# Several at a time ---------------------------------------------------------------------------------------------------


def test_results_come_in_the_order_of_the_work_whoever_was_first() -> None:
    def after(seconds: float, number: int) -> Callable[[], int]:
        return lambda: time.sleep(seconds) or number

    work = [after(0.03 - number / 100, number) for number in range(4) if number < 3]
    assert together(work, 3, threading.Event()) == [0, 1, 2]
    assert together([], 3, threading.Event()) == [] and together(work[:1], 99, threading.Event()) == [0]


def test_no_more_than_so_many_are_asked_at_a_time() -> None:
    lock, now, most = threading.Lock(), [0], [0]

    def ask() -> None:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.005)
        with lock:
            now[0] -= 1

    together([ask] * 12, 3, threading.Event())
    assert most[0] <= 3


def test_the_first_that_cannot_go_on_stops_the_others() -> None:
    stop, begun = threading.Event(), []

    def fail() -> None:
        raise DistillError("nobody is there")

    with pytest.raises(DistillError, match="nobody is there"):
        together([fail, *[lambda: begun.append(1) or time.sleep(0.01)] * 50], 1, stop)
    assert stop.is_set() and not begun


# Ratings and calibration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "value"), [("0", 0.0), ("1", 1.0), (0.5, 0.5), ("", None), (None, None)])
def test_a_rating_is_within_its_scale_or_lacking(text: Any, value: float | None) -> None:
    assert rating({"arousal": text}, "arousal", "a.wav") == value


@pytest.mark.parametrize("text", ["1.01", "-0.01", "nan", "inf", "high", [0.5], " "])
def test_a_rating_beyond_its_scale_is_named(text: Any) -> None:
    with pytest.raises(DistillError, match=r"a\.wav: arousal is .*; ratings are numbers from 0 to 1"):
        rating({"arousal": text}, "arousal", "a.wav")


def test_a_cell_is_text_without_space_around_it() -> None:
    row = {"speaker": " 03 ", "age": 41, "none": None}
    assert [cell(row, name) for name in ("speaker", "age", "none", "sex", None)] == ["03", "41", "", "", ""]


def test_a_clip_that_is_rated_twice_is_one_and_a_missing_one_is_named(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.full(8000, 0.1), SAMPLING_RATE)
    table = tmp_path / "t.csv"
    table.write_text("file,arousal\na.wav,0.5\na.wav,0.9\n")
    root, (only,) = rated_clips(table, None)
    assert root == tmp_path and only.columns["arousal"] == "0.5" and only.seconds == 0.5
    table.write_text("file,arousal\na.wav,0.5\nb.wav,0.5\n")
    with pytest.raises(DistillError, match=r"t\.csv: b\.wav: .*; leave its row out, or give the right folder"):
        rated_clips(table, None)
    with pytest.raises(DistillError, match="no such table of ratings"):
        rated_clips(tmp_path / "none.csv", None)


@pytest.mark.parametrize(("count", "chosen"), [(1, [2]), (2, [2, 0]), (3, [2, 0, 4]), (9, [2, 0, 4, 1, 3])])
def test_points_are_chosen_from_the_middle_outwards(count: int, chosen: list[int]) -> None:
    assert far_apart(np.arange(5.0)[:, None], count) == chosen


def test_equal_points_are_each_chosen_once() -> None:
    assert far_apart(np.zeros((3, 2)), 3) == [0, 1, 2]


def calibration(path: Path, **axes: Any) -> Path:
    path.write_text(json.dumps({"answers": "abc", "axes": axes}))
    return path


def test_an_axis_that_has_no_line_stays_as_it_is(tmp_path: Path) -> None:
    read = read_calibration(calibration(tmp_path / "c.json", valence={"gain": 2, "offset": -0.5, "n": 40}), "abc")
    adv = np.array([[0.1, 0.2, 0.75], [0.3, 0.4, 1.5]])
    np.testing.assert_allclose(read(adv), [[0.1, 0.2, 1.0], [0.3, 0.4, 2.5]])  # never clipped
    np.testing.assert_allclose(read.spread(np.full((1, 3), 0.1)), [[0.1, 0.1, 0.2]])  # an offset widens nothing
    assert read.as_dict() == {"arousal": [1.0, 0.0], "dominance": [1.0, 0.0], "valence": [2.0, -0.5]}
    assert Calibration().lines["arousal"] == Line() and not np.isfinite(read(np.full(3, np.nan))).any()


@pytest.mark.parametrize("axes", [{"valence": {"gain": 1}}, {"valence": 3}, {"valence": {"gain": "x", "offset": 0}},
                                  {"valence": {"gain": float("nan"), "offset": 0}}])  # fmt: skip
def test_a_damaged_calibration_is_one_line(tmp_path: Path, axes: dict[str, Any]) -> None:
    with pytest.raises(DistillError, match=r"c\.json: no file of `distill calibrate`"):
        read_calibration(calibration(tmp_path / "c.json", **axes), "abc")


def test_a_calibration_of_other_answers_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DistillError, match=r"answers of another model, .*; run `distill calibrate` again"):
        read_calibration(calibration(tmp_path / "c.json"), "xyz")
    (tmp_path / "c.json").write_text("[]")
    with pytest.raises(DistillError, match="no file of"):
        read_calibration(tmp_path / "c.json", "abc")
    with pytest.raises(DistillError, match="no such file"):
        read_calibration(tmp_path / "none.json", "abc")


def test_a_speaker_who_answers_otherwise_lowers_what_is_said_of_those_left_out() -> None:
    """The figure is of speakers left out: one whose answers are shifted is not fitted by its own line."""
    ratings = np.tile(np.linspace(0.1, 0.9, 10), 4)
    who = [speaker for speaker in "abcd" for _ in range(10)]
    answers = 0.5 * ratings + np.repeat([0.0, 0.0, 0.0, 0.4], 10)
    alike, odd = fit(0.5 * ratings, ratings, who), fit(answers, ratings, who)
    assert alike.ccc_after == pytest.approx(1.0) and odd.ccc_after is not None
    assert odd.ccc_after < float(ccc(odd.line(answers), ratings)) - 0.1, "the line itself has heard all of them"
    said = alike.as_dict()
    assert said["gain"] == pytest.approx(2.0) and said["offset"] == pytest.approx(0.0, abs=1e-9)
    assert (said["n"], said["speakers"], said["note"]) == (40, 4, None) and "line" not in said


def test_a_folder_that_cannot_hold_the_calibration_costs_nothing(chat: Any, configure: Any, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        calibrate(teacher=f"llm:{configure()}", labels=tmp_path / "t.csv", output=tmp_path / "taken" / "c.json")
    assert not chat.asked and not chat.probed
