"""What was asked and what it cost: a line a request, their sum beside them, and a budget that holds across runs."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.files import write_json
from teacher.llm.journal import Journal

REQUESTS, SUMMARY = "requests.jsonl", "cost.json"


@dataclass(frozen=True)
class Price:
    """What a million tokens cost, of prompts and of answers, in whatever currency the budget is in."""

    prompt: float
    completion: float


class BudgetSpent(DistillError):
    """The run stops here; what was answered is kept."""


class CostLog:
    """Every request of a folder, also those of earlier runs and of other processes, with its outcome and tokens."""

    def __init__(self, folder: Path, model: str, price: Price | None, max_cost: float | None) -> None:
        self._folder, self._model, self._price, self._max_cost = folder, model, price, max_cost
        self._outcomes: Counter[str] = Counter()
        self._sums: Counter[str] = Counter()
        self._cost = 0.0
        self._lock = threading.Lock()
        self._journal = Journal(folder / REQUESTS, self._take)

    @property
    def cost(self) -> float:
        """All that was spent so far, as far as the server told."""
        return self._cost

    def reject_spent(self) -> None:
        """Ask before every request.

        Raises:
            BudgetSpent: there is nothing left.
        """
        self._journal.catch_up()
        if self._max_cost is not None and self._cost >= self._max_cost:
            raise BudgetSpent(
                f"{self._folder / SUMMARY}: the budget max_cost of {self._max_cost:g} is spent ({self._cost:.4g}); "
                "what was answered is kept: raise it and run the same command again"
            )

    def add(self, outcome: str, usage: Any = None) -> None:
        """Note a request. outcome: "answered", or why it was in vain; usage: the server's own count of tokens.

        Raises:
            BudgetSpent: there is a budget, and the server does not tell what it counts.
        """
        tokens = _tokens(usage)
        entry: dict[str, Any] = {"model": self._model, "outcome": outcome}
        if tokens is not None:
            entry |= {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}
            if self._price is not None:
                million = 1e6
                entry["cost"] = (tokens[0] * self._price.prompt + tokens[1] * self._price.completion) / million
        self._journal.add(entry)
        if self._max_cost is not None and tokens is None and usage is not NO_REPLY:
            raise BudgetSpent("the server does not say how many tokens it took (`usage`), so max_cost cannot be held")

    def write(self) -> dict[str, Any]:
        """Write the sums as `cost.json`, and give them."""
        with self._lock:
            sums = {
                "requests": sum(self._outcomes.values()), "outcomes": dict(sorted(self._outcomes.items())),
                "prompt_tokens": self._sums["prompt_tokens"], "completion_tokens": self._sums["completion_tokens"],
                "without_usage": self._sums["without_usage"], "cost": round(self._cost, 9), "max_cost": self._max_cost,
            }  # fmt: skip
            if self._outcomes:
                write_json(self._folder / SUMMARY, sums)
            return sums

    def _take(self, entry: dict[str, Any]) -> None:
        self._outcomes[str(entry.get("outcome"))] += 1
        self._sums["without_usage"] += "prompt_tokens" not in entry
        for name in ("prompt_tokens", "completion_tokens"):
            self._sums[name] += int(entry.get(name, 0))
        self._cost += float(entry.get("cost", 0.0))


#: Stands for the usage of a request that nobody answered.
NO_REPLY = object()


def _tokens(usage: Any) -> tuple[int, int] | None:
    """Tokens of prompt and answer; None where the server does not say."""
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in counts):
        return None
    return counts[0], counts[1]  # type: ignore[return-value]
