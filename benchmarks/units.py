"""Numbers as a person reads them. Each takes one value of benchmark.json and gives its text; null is a dash."""

from __future__ import annotations

NOTHING = "\N{EN DASH}"


def significant(value: float | None, digits: int = 3) -> str:
    """Three significant digits, whole numbers from a hundred on.

    >>> [significant(value) for value in (0.70041, 12.0, 1234.6, 99.96, 0, None)]
    ['0.700', '12.0', '1,235', '100', '0', '–']
    """
    if value is None:
        return NOTHING
    if abs(value) >= 10 ** (digits - 1) or value == 0:
        return f"{value:,.0f}"
    return f"{value:#.{digits}g}".rstrip(".")


def whole(value: float | None) -> str:
    """Every digit of a count.

    >>> whole(17234), whole(None)
    ('17,234', '–')
    """
    return NOTHING if value is None else f"{value:,.0f}"


def size(value: float | None) -> str:
    """Bytes in powers of a thousand.

    >>> size(812), size(71_984), size(1_843_002)
    ('812 B', '72.0 kB', '1.84 MB')
    """
    return _scaled(value, ("B", "kB", "MB", "GB", "TB"))


def count(value: float | None) -> str:
    """A large count.

    >>> count(940), count(4_213_000), count(17_234)
    ('940', '4.21 M', '17.2 k')
    """
    return _scaled(value, ("", "k", "M", "G", "T"))


def hundredths(value: float | None) -> str:
    """A correlation.

    >>> hundredths(0.7149), hundredths(-0.001), hundredths(None)
    ('0.71', '0.00', '–')
    """
    return NOTHING if value is None else f"{round(value, 2) + 0.0:.2f}"


def _scaled(value: float | None, units: tuple[str, ...]) -> str:
    if value is None:
        return NOTHING
    step = 0
    while abs(value) >= 999.5 and step < len(units) - 1:
        value, step = value / 1000, step + 1
    number = f"{value:.0f}" if step == 0 else significant(value)
    return f"{number} {units[step]}".rstrip()
