"""From instructions to cycles, as a bracket, where Arm publishes what an instruction takes.

Arm, "Cortex-M3 Technical Reference Manual" (DDI 0337, r2p1, table 3-1) and "Cortex-M4 Technical Reference Manual"
(DDI 0439, r0p1, tables 3-1 to 3-3 and 7-1), both with memory without wait states. Where they leave it open what an
instruction takes, the lower bound is the least and the upper one the most:

- a load or store of one word is 2 cycles, or 1 behind another one that it pipelines with;
- a branch that is taken refills the pipeline, P cycles of 1 to 3; how often one is taken is counted, not guessed;
- a division is 2 to 12; on a Cortex-M3 a long product 3 to 5, with accumulation 4 to 7;
- IT may be folded into the instruction before it; an instruction whose condition does not hold is 1.

Flash with wait states, a bus that is shared, interrupts: all of that comes on top. No such tables hold for a Cortex-M7
or M55, which issue several instructions at once or one vector's work over several cycles.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from benchmarks.emulated.counting import Count, Counts
from distill.errors import DistillError

#: Of a pipeline that is filled anew (P of the tables).
REFILL = (1, 3)

Bracket = tuple[int, int]

_CONDITIONS = "eq|ne|cs|hs|cc|lo|mi|pl|vs|vc|hi|ls|ge|lt|gt|le"

#: Names of instructions (without condition, width and the s of flags), and what they take.
_COMMON: Mapping[str, Bracket] = {
    r"mov|movw|movt|mvn|add|addw|adc|sub|subw|sbc|rsb|adr|cmp|cmn|tst|teq|and|orr|orn|eor|bic": (1, 1),
    r"lsl|lsr|asr|ror|rrx": (1, 1),
    r"clz|rev|rev16|revsh|rbit|[su]xt[bh]|bfc|bfi|[su]bfx|[su]sat|mul|nop|neg": (1, 1),
    r"it[te]{0,3}": (0, 1),
    r"[su]div": (2, 12),
    r"ldr|ldr[bh]|ldrs[bh]|str|str[bh]": (1, 2),
    r"b|bl|bx|blx|cbz|cbnz": (1, 1),
    r"tbb|tbh": (2, 2),
}  # fmt: skip

_M3: Mapping[str, Bracket] = {r"mla|mls": (2, 2), r"[su]mull": (3, 5), r"[su]mlal": (4, 7)}

_M4: Mapping[str, Bracket] = {
    # All products and the instructions on two halves or four bytes at once.
    r"mla|mls|[su]mull|[su]mlal|umaal": (1, 1),
    r"smm(ul|la|ls)r?|sm(ul|la|lal)[bt][bt]|sm(ul|la)w[bt]|sm(la|us|ua|ls)dx?|smlaldx?|smlsldx?": (1, 1),
    r"[su]xta?b16|[su]xta[bh]|pkh(bt|tb)|[su]sat16|sel|usada?8": (1, 1),
    r"(s|u|q|sh|uh|uq)(add|sub)(8|16)|(s|u|q|sh|uh|uq)(asx|sax)|q(d?add|d?sub)": (1, 1),
    r"vldr|vstr": (2, 2),
    r"vmov|vmrs|vmsr|vabs|vneg|vadd|vsub|vmul|vnmul|vcmpe?|vcvtr?": (1, 2),
    r"vf?n?m[al]s|vf?n?m[al]a|vfm[as]|vfnm[as]|vn?ml[as]": (3, 3),
    r"vdiv|vsqrt": (14, 14),
}

TIMINGS: Mapping[str, Mapping[str, Bracket]] = {"m3": {**_COMMON, **_M3}, "m4": {**_COMMON, **_M4}}

_SEVERAL = re.compile(r"ldm\w*|stm\w*|push|pop|vldm\w*|vstm\w*|vpush|vpop")


def bracket(counts: Counts, instructions: Mapping[int, tuple[str, str]], timings: str) -> dict[str, int]:
    """{low, high}: cycles of what was counted. instructions: name and operands by address. timings: a key of `TIMINGS`.

    >>> bracket({0: Count(10, 0), 2: Count(10, 9)}, {0: ("ldr.w", "r0, [r1]"), 2: ("bne.n", "0 <loop>")}, "m4")
    {'low': 29, 'high': 57}

    Raises:
        DistillError: an instruction is not in the table.
    """
    taken = [_taken(count, *instructions[address], TIMINGS[timings]) for address, count in counts.items()]
    return {"low": sum(low for low, _ in taken), "high": sum(high for _, high in taken)}


def _taken(count: Count, name: str, operands: str, table: Mapping[str, Bracket]) -> Bracket:
    low, high = _each(name, operands, table)
    return count.executed * low + count.left * REFILL[0], count.executed * high + count.left * REFILL[1]


def _each(name: str, operands: str, table: Mapping[str, Bracket]) -> Bracket:
    for plain, conditional in _spellings(name):
        found = _several(plain, operands) or _listed(plain, table)
        if found:
            return (min(found[0], 1), found[1]) if conditional else found
    raise DistillError(f"{name} {operands}: what this instruction takes is not in the table")


def _spellings(name: str) -> list[tuple[str, bool]]:
    """What a name may stand for, plainest first, and whether its condition may fail: `addseq.w` is `add`.

    >>> _spellings("bne.n")
    [('bne', False), ('b', True)]
    """
    bare = name.split(".")[0]
    without = [(bare, False)]
    ending = re.fullmatch(rf"(\w+?)({_CONDITIONS})", bare)
    if ending:
        without.append((ending[1], True))
    return without + [(one[:-1], condition) for one, condition in without if one.endswith("s")]


def _several(name: str, operands: str) -> Bracket | None:
    """1 + N: an instruction that loads or stores N words; LDRD and STRD two."""
    if name in ("ldrd", "strd"):
        return 3, 3
    if not _SEVERAL.fullmatch(name):
        return None
    words = sum(map(_words, operands[operands.index("{") + 1 : operands.index("}")].split(",")))
    return 1 + words, 1 + words


def _words(registers: str) -> int:
    first, _, last = registers.strip().partition("-")
    count = int(last[1:]) - int(first[1:]) + 1 if last else 1
    return 2 * count if first.startswith("d") else count


def _listed(name: str, table: Mapping[str, Bracket]) -> Bracket | None:
    return next((taken for pattern, taken in table.items() if re.fullmatch(pattern, name)), None)
