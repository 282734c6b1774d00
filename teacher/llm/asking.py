"""One answer: from the cache, or asked until it is good, the fault told back, with pauses that grow."""

from __future__ import annotations

import threading
from typing import Any

from teacher.llm.answers import BadAnswer, read_answer
from teacher.llm.cache import Cache
from teacher.llm.config import Config
from teacher.llm.cost import NO_REPLY, CostLog
from teacher.llm.endpoint import LONGEST_PAUSE, Endpoint, Failed, Outage, Reply, TryAgain, shown
from teacher.llm.prompt import told_back

#: So many questions in a row without an answer are no matter of single clips any more: where the server fails, and
#: where it answers, but never as it should.
IN_VAIN_SERVER, IN_VAIN_ANSWERS = 8, 32


class Unanswered(Exception):
    """A question that stays without an answer, and why; the next may go well."""


class Asking:
    """Questions to one endpoint, by several threads."""

    def __init__(self, config: Config, endpoint: Endpoint, cache: Cache, costs: CostLog) -> None:
        self._config, self._endpoint, self._cache, self._costs = config, endpoint, cache, costs
        self._in_vain = 0  # questions since the last good answer
        self._lock = threading.Lock()

    def answer(self, body: dict[str, Any], key: str, stop: threading.Event) -> dict[str, float]:
        """{axis: number}, on the configuration's scale. body: of the request; key: what the answer is kept under.

        Raises:
            Unanswered: after all retries there is none.
            Outage, BudgetSpent: nobody is to be asked further.
        """
        known = self._cache.get(key)
        return known if known is not None else self._asked(body, key, stop)

    def _asked(self, body: dict[str, Any], key: str, stop: threading.Event) -> dict[str, float]:
        asked, fault = body, Failed("", "")
        for attempt in range(self._config.retries + 1):
            if stop.is_set():
                raise Unanswered("the run was stopped")
            self._costs.reject_spent()
            reply = None
            try:
                reply = self._endpoint.chat(asked)
                return self._taken(reply, key)
            except BadAnswer as bad:
                fault = Failed(bad.kind, f"no good answer: {bad.told}")
                asked = {**body, "messages": [*body["messages"], *told_back(reply.text if reply else "", bad.told)]}
            except Failed as failed:
                fault = failed
                self._costs.add(failed.kind, NO_REPLY)
                if not isinstance(failed, TryAgain):
                    break
                if attempt < self._config.retries:
                    stop.wait(self._pause(attempt, failed))
        raise self._given_up(fault)

    def _taken(self, reply: Reply, key: str) -> dict[str, float]:
        """The numbers of a reply, kept; what it cost is noted, good or bad."""
        try:
            answer = _numbers(reply, self._config.range)
        except BadAnswer as bad:
            self._costs.add(bad.kind, reply.usage)
            raise
        self._cache.put(key, answer)
        self._in_vain = 0
        self._costs.add("answered", reply.usage)
        return answer

    def _pause(self, attempt: int, failed: TryAgain) -> float:
        return failed.pause if failed.pause is not None else min(self._config.backoff * 2**attempt, LONGEST_PAUSE)

    def _given_up(self, fault: Failed) -> Exception:
        """What a question without an answer means: one clip less, or the end."""
        with self._lock:
            self._in_vain += 1
            in_vain = self._in_vain
        serving = not isinstance(fault, TryAgain)
        if getattr(fault, "gone", False):
            return Outage(f"{shown(self._config.url)}: {fault}; what was answered is kept: run the same command again")
        if in_vain >= (IN_VAIN_ANSWERS if serving else IN_VAIN_SERVER):
            return Outage(
                f"{shown(self._config.url)}: {in_vain} questions in a row were in vain, the last: {fault}; what was "
                "answered is kept: run the same command again"
            )
        often = self._config.retries and fault.kind != "declined"
        return Unanswered(f"{fault} (asked {self._config.retries + 1} times)" if often else str(fault))


def _numbers(reply: Reply, scale: tuple[float, float]) -> dict[str, float]:
    if not reply.whole:
        raise BadAnswer("cut off", "it is cut off")
    if not reply.text.strip():
        raise BadAnswer("empty", "it is empty")
    return read_answer(reply.text, scale)
