"""Which part of a student an instruction belongs to, by the function that it comes from in the source."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from benchmarks.emulated.building import run, tool
from benchmarks.emulated.counting import Counts

#: Parts by functions of the engine; what is inlined into them is theirs. The first that matches, the innermost first.
PARTS: Mapping[str, str] = {
    r"log_mel|mel_level|hear_levels|log2_q16|transform|spectrum_power|windowed": "front-end",
    r"add_samples|know_level|level_.*|running_level": "level",
    r"kernel_first": "first convolution",
    r"kernel_conv|column_of|products(_at)?|outputs|student_(less|plus|outputs)|\w+_channels?": "convolutions",
    r"kernel_pool": "max-pooling",
    r"carry|next_token|pooling_init": "softmax pooling",
    r"kernel_attend|attend_row|student_attend|token_of": "lin and sof",
    r"answer|pooled": "head",
}

#: What none of them is: samples and rows that are moved on, functions of the compiler's library.
REST = "the rest"


def breakdown(program: Path, counts: Counts, parts: Mapping[str, str] = PARTS) -> dict[str, int]:
    """Instructions by part, the largest first. The program has to be compiled with -g."""
    found: Counter[str] = Counter()
    for chain, count in zip(chains(program, list(counts)), counts.values(), strict=True):
        found[part_of(chain, parts)] += count.executed
    return dict(found.most_common())


def part_of(chain: Iterable[str], parts: Mapping[str, str] = PARTS) -> str:
    """Of an instruction, by the functions that its place was inlined into, the innermost first.

    >>> part_of(["requantised", "kernel_first", "run_fine"]), part_of(["memcpy"])
    ('first convolution', 'the rest')
    """
    named = (part for function in chain for pattern, part in parts.items() if re.fullmatch(pattern, function))
    return next(named, REST)


def chains(program: Path, addresses: Sequence[int]) -> list[list[str]]:
    """For every address the functions it lies in: what was inlined, into what, up to what the symbol table names."""
    command = [tool("arm-none-eabi-addr2line"), "-a", "-f", "-i", "-e", str(program)]
    asked = "".join(f"{address:#x}\n" for address in addresses)
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
    found: list[list[str]] = []
    lines = iter(done.stdout.splitlines())
    for line in lines:
        if line.startswith("0x"):
            found.append([])
        else:
            found[-1].append(_plain(line))
            next(lines)  # its file and line
    return found


def mnemonics(program: Path) -> dict[int, tuple[str, str]]:
    """Every instruction of a program by its address: its name and its operands."""
    lines = run([tool("arm-none-eabi-objdump"), "-d", "--no-show-raw-insn", str(program)]).splitlines()
    rows = (re.match(r"\s+([0-9a-f]+):\s+(\S+)\s*([^;@]*)", line) for line in lines)
    return {int(row[1], 16): (row[2], row[3].strip()) for row in rows if row}


def _plain(function: str) -> str:
    """Without what the compiler adds to a copy of it: `kernel_conv.constprop.0`."""
    return function.split(".")[0]
