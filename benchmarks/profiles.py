"""What hardware of a class has to give, and whether a student fits into it, in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.errors import DistillError
from distill.files import read_json

#: What the layouts take, untrained: `distill benchmark-engine -o benchmarks/emulated/engine.json`.
_ENGINE = Path(__file__).parent / "emulated" / "engine.json"

#: On a core without published timings an instruction that took more cycles than this on average would be a surprise.
SLOW = 4.0


@dataclass(frozen=True)
class Profile:
    """A class of devices. core: what is emulated for it, None where nothing is; clock: cycles a second of the core, all
    of them, were it to do nothing else; flash, ram: bytes; source: of these numbers."""

    name: str
    title: str
    core: str | None
    clock: float | None
    flash: int | None
    ram: int | None
    source: str


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "hearing-aid", "hearing aid with a Cortex-M3", "cortex-m3", 375e6 / 4, (2 << 20) // 8, 320_000,
            "onsemi Ezairo 7160 SL (E7160/D rev. 7): 375 MIPS over four cores, of which the Cortex-M3 is taken to have "
            "a quarter, and an EEPROM of 2 Mbit; RAM: the target for hearing aids of Fedorov et al. (2020), TinyLSTMs",
        ),
        Profile(
            "wearable-m4", "wearable with a Cortex-M4", "cortex-m4", 64e6, 512 << 10, 64 << 10,
            "Nordic nRF52832-QFAA: 64 MHz, 512 kB of flash, 64 kB of RAM",
        ),
        Profile(
            "wearable-m55", "wearable with a Cortex-M55", "cortex-m55", 220e6, 2 << 20, 1344 << 10,
            "Nuvoton NuMicro M55M1H2LJAE: 220 MHz, 2 MB of flash, 1344 kB of SRAM",
        ),
        Profile(
            "raspberry-pi", "Raspberry Pi Zero 2 W", None, None, None, 512 << 20,
            "Raspberry Pi Zero 2 W product brief: Cortex-A53, 512 MB of RAM",
        ),
    )
}  # fmt: skip


def profile(name: str) -> Profile:
    """The profile of this name.

    >>> profile("wearable-m4").clock
    64000000.0

    Raises:
        DistillError: there is none.
    """
    if name not in PROFILES:
        raise DistillError(f"{name}: no such profile; there are {', '.join(PROFILES)}")
    return PROFILES[name]


def judged(one: Profile, device: Mapping[str, Any] | None) -> dict[str, Any]:
    """{fits, duty_cycle, verdict} of what was measured on the profile's core, None where nothing is emulated.

    fits: true, false, or null where it cannot be told. duty_cycle: the share of the time that can be heard, at most 1,
    by the upper bound of the cycles.

    >>> device = {"flash_bytes": 79_000, "ram_bytes": 16_000, "instructions_per_second": 60e6,
    ...           "cycles_per_second": {"low": 64e6, "high": 80e6}}
    >>> judged(profile("wearable-m4"), device)["verdict"]
    'does not fit all the time: a second of audio takes 1.00 to 1.25 s of the core; it can hear 80 % of the time'
    """
    if device is None or one.core is None or one.clock is None:
        told = f"cannot be told here: {one.title} is not emulated; run `distill benchmark` on it"
        return {"fits": None, "duty_cycle": None, "verdict": told}
    lacking = _memory(one, device)
    if lacking:
        return {"fits": False, "duty_cycle": 0.0, "verdict": f"does not fit: {lacking}"}
    cycles = device["cycles_per_second"]
    return _uncounted(one, device) if cycles is None else _timed(cycles["low"] / one.clock, cycles["high"] / one.clock)


def described(one: Profile, devices: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What `benchmark.json` holds: the budget, what is said of the student that was measured, and, unless it fits,
    which layouts would (`would_fit`), by the figures that come with the package."""
    budget = {"clock_hz": one.clock, "flash_bytes": one.flash, "ram_bytes": one.ram, "source": one.source}
    said = judged(one, devices[one.core] if one.core else None)
    others = fitting(one) if one.core and not said["fits"] else []
    told = f"; {' and '.join(others)} would fit" if others else ""
    head = {"name": one.name, "title": one.title, "core": one.core, **budget}
    return {**head, **said, "verdict": said["verdict"] + told, "would_fit": others}


def fitting(one: Profile) -> list[str]:
    """The layouts that fit, in the order of their instructions, the largest first.

    >>> "wav2small-lite" in fitting(profile("hearing-aid"))
    True
    """
    known = {name: cores[one.core] for name, cores in read_json(_ENGINE).items() if one.core in cores}
    fits = [name for name, device in known.items() if judged(one, device)["fits"]]
    return sorted(fits, key=lambda name: -known[name]["instructions_per_second"])


def _memory(one: Profile, device: Mapping[str, Any]) -> str | None:
    for kind, there in (("flash", one.flash), ("ram", one.ram)):
        if there is not None and device[f"{kind}_bytes"] > there:
            return f"{device[f'{kind}_bytes']:,} bytes of {kind} are more than {there:,}"
    return None


def _timed(low: float, high: float) -> dict[str, Any]:
    share = f"a second of audio takes {low:.2f} to {high:.2f} s of the core"
    if high <= 1:
        return {"fits": True, "duty_cycle": 1.0, "verdict": f"fits: {share}"}
    hears = f"it can hear {100 / high:.0f} % of the time"
    if low < 1:
        return {"fits": None, "duty_cycle": 1 / high, "verdict": f"may fit: {share}; at the worst {hears}"}
    return {"fits": False, "duty_cycle": 1 / high, "verdict": f"does not fit all the time: {share}; {hears}"}


def _uncounted(one: Profile, device: Mapping[str, Any]) -> dict[str, Any]:
    """A core without published timings: how slow its instructions might be."""
    assert one.clock is not None
    room = one.clock / device["instructions_per_second"]
    millions = device["instructions_per_second"] / 1e6
    said = f"a second of audio is {millions:.1f} M instructions for {one.clock / 1e6:.0f} M cycles"
    if room >= SLOW:
        told = f"fits: {said}, {room:.1f} for each; what one takes is not published"
        return {"fits": True, "duty_cycle": 1.0, "verdict": told}
    return {"fits": None, "duty_cycle": None, "verdict": f"cannot be told: {said}, and what one takes is not published"}
