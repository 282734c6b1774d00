"""Memory does not grow with the number of segments; ten times as many are `make check-long`'s."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

#: Bytes that labelling and reading may hold resident, with one million rows and with ten.
ONE_MILLION, TEN_MILLION = 800_000_000, 2_000_000_000


def simulated(folder: Path, rows: int) -> dict[str, Any]:
    script = Path(__file__).with_name("simulated.py")
    done = subprocess.run([sys.executable, script, folder, str(rows)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.timeout(900)
def test_a_million_rows_are_labelled_recognised_and_merged_in_bounded_memory(tmp_path: Path) -> None:
    measured = simulated(tmp_path, 1_000_000)
    assert measured["parts"] < 64 and measured["peak_rss_bytes"] < ONE_MILLION, measured


@pytest.mark.long
@pytest.mark.timeout(7200)
def test_ten_million_rows(tmp_path: Path) -> None:
    measured = simulated(tmp_path, 10_000_000)
    print(json.dumps(measured))
    assert measured["peak_rss_bytes"] < TEN_MILLION
