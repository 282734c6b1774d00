"""A language model against a real server that answers well, badly, slowly, and not at all."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill.annotation import Annotation, ColumnAnnotator
from distill.errors import DistillError
from teacher.catalogue import card_of, open_teacher
from teacher.llm import asking, endpoint
from teacher.llm.annotator import LanguageModel
from teacher.llm.cost import BudgetSpent
from teacher.llm.endpoint import Outage
from tests.teacher.chat import Chat, Raw, completion, described, numbers, well

Tone = Callable[..., np.ndarray]
Configure = Callable[..., Path]

KEY = "sk-VerySecret-4242"
GOOD = '{"arousal": 0.7, "dominance": 0.5, "valence": 0.2}'
BUSY = Raw(429, {"error": {"message": "slow down"}})


@pytest.fixture
def hear(tone: Tone) -> Callable[..., Annotation]:
    """hear(model, clips=1): what it says of tones, each of its own height, with "word 0" ... as transcripts."""

    def ask(model: Any, clips: int = 1) -> Annotation:
        signals = np.stack([tone(0.5, 150 + 40 * clip) for clip in range(clips)])
        said = [{"transcript": f"word {clip}", "file": f"{clip}.wav"} for clip in range(clips)]
        annotation: Annotation = model.annotate_rows(signals, [8000] * clips, 16_000, said)
        return annotation

    return ask


def costs(configured: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((configured.parent / "cache" / "cost.json").read_text())
    return found


def first(*said: Any) -> Callable[[dict[str, Any]], Any]:
    """Say these one after the other, then answer well."""
    left = list(said)
    return lambda body: left.pop(0) if left else well(body)


# Well ----------------------------------------------------------------------------------------------------------------


def test_it_answers_what_the_server_says_in_our_order(chat: Chat, configure: Configure, hear: Any) -> None:
    model = open_teacher(f"llm:{configure()}")
    assert isinstance(model, ColumnAnnotator) and chat.probed == 1
    heard = hear(model, clips=3)
    expected = [numbers(described(body)) for body in chat.asked]
    assert len(expected) == 3 and heard.spread is None and heard.reasons == [None] * 3
    ours = {tuple(round(float(value), 3) for value in row) for row in heard.adv}
    assert ours == {(one["arousal"], one["dominance"], one["valence"]) for one in expected}
    assert all(body["model"] == "made-up" and body["temperature"] == 0 for body in chat.asked)
    order = [0.15, 0.19, 0.23]  # the server answers dominance by pitch
    np.testing.assert_allclose(heard.adv[:, 1], order, atol=0.003)


def test_several_answers_have_mean_and_spread_on_the_unit_scale(chat: Chat, configure: Configure, hear: Any) -> None:
    lock, left = threading.Lock(), [1, 3, 5]

    def say(_: Any) -> str:
        with lock:
            value = left.pop()
        return json.dumps({"arousal": value, "dominance": 7, "valence": 1})

    chat.says = say
    heard = hear(LanguageModel.load(configure(range=[1, 7], answers=3, temperature=0.8)))
    np.testing.assert_allclose(heard.adv, [[1 / 3, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(heard.spread, [[np.std([1, 3, 5]) / 6, 0, 0]], atol=1e-6)
    assert [body["temperature"] for body in chat.asked] == [0.8] * 3


def test_what_was_answered_is_not_asked_again(chat: Chat, configure: Configure, hear: Any) -> None:
    keys = {"answers": 2, "temperature": 1.0}
    before = hear(LanguageModel.load(configure(**keys)), clips=3)
    assert len(chat.asked) == 6
    again = hear(LanguageModel.load(configure(**keys, timeout=9, concurrency=1)), clips=3)
    assert len(chat.asked) == 6
    np.testing.assert_array_equal(before.adv, again.adv)
    hear(LanguageModel.load(configure(answers=3, temperature=1.0)), clips=3)  # one more of each
    assert len(chat.asked) == 9
    hear(LanguageModel.load(configure(**keys, model="other")), clips=1)
    assert len(chat.asked) == 11


def test_the_same_question_of_a_batch_is_asked_once(chat: Chat, configure: Configure, tone: Tone) -> None:
    model = LanguageModel.load(configure())
    signals = np.stack([tone(0.5)] * 4)
    said = [{"transcript": word, "file": f"{n}.wav"} for n, word in enumerate(("a", "a", "b", "a"))]
    assert model.annotate_rows(signals, [8000] * 4, 16_000, said).adv.shape == (4, 3) and len(chat.asked) == 2


def test_padding_and_unknown_columns_change_nothing(chat: Chat, configure: Configure, tone: Tone) -> None:
    model = LanguageModel.load(configure())
    padded = np.concatenate([tone(0.5), np.full(500, 9, np.float32)])
    alone, longer = model.annotate(tone(0.5)[None], [8000], 16_000), model.annotate(padded[None], [8000], 16_000)
    np.testing.assert_array_equal(alone.adv, longer.adv)
    assert len(chat.asked) == 1 and "Transcript: not known" in described(chat.asked[0])
    with pytest.raises(ValueError, match="16000 Hz, not 8000"):
        model.annotate(tone()[None], [8000], 8000)


def test_columns_have_the_names_that_the_configuration_gives(chat: Chat, configure: Configure, tone: Tone) -> None:
    columns = {"transcript": "text", "sex": None, "codes": "vq"}
    model = LanguageModel.load(configure(columns=columns, request={"max_tokens": 60}))
    said = [{"text": "hello", "sex": "male", "vq": "3 1 4"}, {"text": "no codes"}]
    heard = model.annotate_rows(np.stack([tone(0.5)] * 2), [8000] * 2, 16_000, said)
    assert 'Transcript: "hello"' in described(chat.asked[0]) and 'Audio codes: "3 1 4"' in described(chat.asked[0])
    assert "Sex" not in described(chat.asked[0]) and chat.asked[0]["max_tokens"] == 60
    assert heard.reasons == [None, "has no audio codes (column 'vq')"] and np.isnan(heard.adv[1]).all()


# Badly ---------------------------------------------------------------------------------------------------------------

BAD = {
    "fenced": f"```json\n{GOOD}\n```", "text around": f"Sure! {GOOD}", "out of range": GOOD.replace("0.7", "7"),
    "keys": '{"arousal": 0.7}', "not a number": GOOD.replace("0.7", "NaN"), "no JSON": "I cannot hear.",
    "cut off": Raw(200, completion(GOOD, "length")), "empty": Raw(200, completion(None)),
    "no completion": Raw(200, b"<html>"), "server error": Raw(503, b"oops"), "busy": BUSY,
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_is_bad_is_asked_again_and_counted(chat: Chat, configure: Configure, hear: Any, kind: str) -> None:
    chat.says = first(BAD[kind])
    configured = configure()
    heard = hear(LanguageModel.load(configured))
    assert np.isfinite(heard.adv).all() and len(chat.asked) == 2
    assert costs(configured)["outcomes"] == {kind: 1, "answered": 1}
    told = [one["content"] for one in chat.asked[1]["messages"]][-1]
    assert ("That was not taken" in told) == (kind not in ("no completion", "server error", "busy"))


def test_one_that_stays_bad_is_a_failure_with_its_reason(chat: Chat, configure: Configure, hear: Any) -> None:
    chat.says = lambda body: "Hm." if "word 1" in json.dumps(body) else well(body)
    configured = configure(retries=2)
    heard = hear(LanguageModel.load(configured), clips=3)
    assert heard.reasons == [None, "no good answer: it is no JSON (asked 3 times)", None]
    assert np.isnan(heard.adv[1]).all() and np.isfinite(heard.adv[[0, 2]]).all()
    assert costs(configured)["outcomes"] == {"answered": 2, "no JSON": 3}
    assert costs(configured)["prompt_tokens"] == 500  # bad answers cost as well


def test_a_request_that_is_declined_is_not_repeated(chat: Chat, configure: Configure, hear: Any) -> None:
    declined = Raw(400, {"error": {"message": "too  long\nfor me"}})
    chat.says = lambda body: declined if "word 0" in json.dumps(body) else well(body)
    heard = hear(LanguageModel.load(configure()), clips=2)
    assert heard.reasons == ["the server declined it (400, too long for me)", None]
    assert len(chat.asked) == 2


def test_a_server_may_say_how_long_to_wait(chat: Chat, configure: Configure, hear: Any) -> None:
    chat.says = first(Raw(429, b"", {"Retry-After": "0"}))
    started = time.monotonic()
    assert np.isfinite(hear(LanguageModel.load(configure(backoff=30))).adv).all() and time.monotonic() - started < 20
    assert endpoint._pause({"Retry-After": "99999"}) == endpoint.LONGEST_PAUSE  # type: ignore[arg-type]
    assert endpoint._pause({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}) is None  # type: ignore[arg-type]


def test_a_model_that_never_answers_as_it_should_is_given_up(
    chat: Chat, configure: Configure, hear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "IN_VAIN_ANSWERS", 3)
    chat.says = lambda _: "No."
    with pytest.raises(Outage, match=r"3 questions in a row were in vain, the last: no good answer: it is no JSON"):
        hear(LanguageModel.load(configure(retries=0, concurrency=1)), clips=8)
    assert len(chat.asked) == 3


# Slowly, and not at all ----------------------------------------------------------------------------------------------


def test_a_slow_server_is_not_waited_for(chat: Chat, configure: Configure, hear: Any) -> None:
    chat.says = first(None)
    configured = configure(timeout=0.3)
    started = time.monotonic()
    assert np.isfinite(hear(LanguageModel.load(configured)).adv).all() and time.monotonic() - started < 3
    assert costs(configured)["outcomes"] == {"answered": 1, "timeout": 1} and costs(configured)["without_usage"] == 1


def test_a_server_that_drips_is_slow(configure: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte comes within the socket's limit, the answer as a whole does not."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = listening.accept()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            while not stop.wait(0.05):
                connection.sendall(b"x")

        threading.Thread(target=drip, daemon=True).start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        started = time.monotonic()
        with pytest.raises(DistillError, match=r"no answer within 0\.3 s"):
            LanguageModel.load(configure(url=url, timeout=0.3))
        assert time.monotonic() - started < 2
        stop.set()


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def test_where_no_server_is_it_is_said_before_any_work(chat: Chat, configure: Configure) -> None:
    url = f"http://127.0.0.1:{closed_port()}/v1"
    with pytest.raises(DistillError, match=f"{url}: cannot be reached .*is the server running") as caught:
        open_teacher(f"llm:{configure(url=url + '?key=' + KEY)}")
    assert "\n" not in str(caught.value) and KEY not in str(caught.value)


def test_without_a_server_the_answers_that_are_there_do(
    chat: Chat, configure: Configure, hear: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    before = hear(LanguageModel.load(configure()), clips=2)
    gone = LanguageModel.load(configure(url=f"http://127.0.0.1:{closed_port()}/v1", retries=1))
    assert "Going on with the 2 answers" in capsys.readouterr().err
    np.testing.assert_array_equal(hear(gone, clips=2).adv, before.adv)
    with pytest.raises(Outage, match=r"cannot be reached.*what was answered is kept"):
        hear(gone, clips=3)


def test_a_server_that_is_always_busy_stops_the_run(
    chat: Chat, configure: Configure, hear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "IN_VAIN_SERVER", 2)
    chat.says = lambda _: BUSY
    with pytest.raises(Outage, match="2 questions in a row were in vain, the last: the server answered 429, slow down"):
        hear(LanguageModel.load(configure(retries=0, concurrency=1)), clips=5)


@pytest.mark.parametrize(
    ("status", "said"),
    [(401, "key is not accepted"), (403, "key"), (404, "no such url, or no such model"), (302, "no chat")],
)
def test_what_will_never_do_stops_at_once(chat: Chat, configure: Configure, hear: Any, status: int, said: str) -> None:
    chat.says = lambda _: Raw(status, {"error": "nope"}, {"Location": "http://127.0.0.1:9/"})
    with pytest.raises(Outage, match=f"answered {status}, nope: .*{said}"):
        hear(LanguageModel.load(configure(concurrency=1)), clips=5)
    assert len(chat.asked) == 1


# Money and keys ------------------------------------------------------------------------------------------------------


def test_the_budget_stops_the_run_and_what_was_answered_is_kept(chat: Chat, configure: Configure, hear: Any) -> None:
    price = {"prompt": 1000, "completion": 5000}  # 0.1 + 0.1 a request
    configured = configure(price=price, max_cost=0.5, concurrency=1)
    with pytest.raises(BudgetSpent, match=r"cost\.json: the budget max_cost of 0\.5 is spent \(0\.6\)"):
        hear(LanguageModel.load(configured), clips=5)
    assert len(chat.asked) == 3 and costs(configured)["cost"] == pytest.approx(0.6)
    hear(LanguageModel.load(configure(price=price, max_cost=2, concurrency=1)), clips=5)
    assert len(chat.asked) == 5 and costs(configured)["requests"] == 5


def test_a_server_that_does_not_count_cannot_hold_a_budget(chat: Chat, configure: Configure, hear: Any) -> None:
    chat.says = lambda body: Raw(200, completion(well(body), usage=None))
    with pytest.raises(DistillError, match="max_cost cannot be held"):
        hear(LanguageModel.load(configure(price={"prompt": 1, "completion": 1}, max_cost=1)))
    assert np.isfinite(hear(LanguageModel.load(configure())).adv).all()


def test_the_key_is_sent_and_stands_nowhere(
    chat: Chat, configure: Configure, hear: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE_UP_KEY", KEY)
    echo = {"error": {"message": f"Incorrect API key provided: {KEY}"}}
    chat.says = lambda body: Raw(400, echo) if "word 1" in json.dumps(body) else KEY if "word 2" in str(body) else GOOD
    model = LanguageModel.load(configure(api_key_env="MADE_UP_KEY", retries=0))
    heard = hear(model, clips=3)
    assert set(chat.keys) == {f"Bearer {KEY}"} and heard.reasons[1] and "provided: ***" in heard.reasons[1]
    assert KEY not in repr(heard.reasons) + repr(model.config) + repr(model.card) + repr(model)
    chat.models = Raw(401, echo)
    with pytest.raises(Outage, match=r"401, Incorrect API key provided: \*\*\*: the key is not accepted"):
        LanguageModel.load(configure(api_key_env="MADE_UP_KEY", cache="new"))
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) >= 3 and not any(KEY.encode() in path.read_bytes() for path in written)


@pytest.mark.parametrize(("value", "said"), [("", "is not set"), ("a\nb", "characters"), ("schlüssel", "characters")])
def test_a_key_that_is_none_is_refused_without_showing_it(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, value: str, said: str
) -> None:
    monkeypatch.setenv("MADE_UP_KEY", value)
    with pytest.raises(DistillError, match=f"^MADE_UP_KEY: .*{said}") as caught:
        LanguageModel.load(configure(api_key_env="MADE_UP_KEY"))
    assert not value or value not in str(caught.value)


def test_the_key_does_not_follow_a_redirect(
    chat: Chat, configure: Configure, hear: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MADE_UP_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.3)
        there = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        chat.says = lambda _: Raw(302, b"", {"Location": there})
        with pytest.raises(Outage, match="302"):
            hear(LanguageModel.load(configure(api_key_env="MADE_UP_KEY")))
        with pytest.raises(TimeoutError):
            listening.accept()


# Its card, and in a mean ---------------------------------------------------------------------------------------------


def test_its_card_is_known_without_a_server(chat: Chat, configure: Configure) -> None:
    card = card_of(f"llm:{configure(url='http://127.0.0.1:9/v1?key=secret', licence='MIT')}")
    assert card is not None and card.name == "llm:made-up" and card.licence == "MIT" and card.data_licence == "unknown"
    assert card.source == "http://127.0.0.1:9/v1" and card.own_threads and not chat.probed
    other = card_of(f"llm:{configure(model='other')}")
    same = card_of(f"llm:{configure(url='http://127.0.0.1:9/v1', timeout=3)}")
    assert other is not None and same is not None and other.revision != card.revision == same.revision


def test_in_a_mean_the_columns_reach_it_and_its_reasons_come_back(chat: Chat, configure: Configure, hear: Any) -> None:
    chat.says = lambda body: Raw(400) if "word 1" in json.dumps(body) else GOOD
    heard = hear(open_teacher(f"mean:prosody,llm:{configure()}"), clips=2)
    assert np.isfinite(heard.adv[0]).all() and np.isnan(heard.adv[1]).all() and heard.spread is not None
    assert heard.reasons[0] is None and "declined" in heard.reasons[1]


def test_ctrl_c_does_not_wait_for_the_server(chat: Chat, configure: Configure, corpus: Path, tmp_path: Path) -> None:
    chat.says = lambda _: None
    process = subprocess.Popen(
        [sys.executable, "-m", "distill", "label", str(corpus), "-o", str(tmp_path / "labels"),
         "--teacher", f"llm:{configure(timeout=60)}"],
        stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    while not chat.asked and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(2)
    _, err = process.communicate(timeout=10)
    assert process.returncode == 130 and "interrupted" in err
