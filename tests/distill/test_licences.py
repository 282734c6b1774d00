"""The strictest parent's licence is the child's."""

import pytest

from distill.licences import kind, strictest


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", "permissive"),
        ("Apache-2.0", "permissive"),
        ("BSD-3-Clause", "permissive"),
        ("CC0-1.0", "permissive"),
        ("CC BY 4.0", "permissive"),
        ("CC-BY-4.0", "permissive"),
        ("CC-BY-SA-4.0", "share-alike"),
        ("GPL-3.0", "share-alike"),
        ("CC-BY-NC-4.0", "non-commercial"),
        ("CC-BY-NC-SA-4.0", "non-commercial"),
        ("CC BY-NC-SA 4.0", "non-commercial"),
        ("MSP-Podcast (academic)", "restricted"),
        ("restricted", "restricted"),
        ("unknown", "unknown"),
        ("permit", "unknown"),
        ("", "unknown"),
        ("MIT; CC-BY-NC-4.0", "non-commercial"),
    ],
)
def test_kinds(licence: str, expected: str) -> None:
    assert kind(licence) == expected


@pytest.mark.parametrize(
    ("parents", "child"),
    [
        (["MIT", "CC-BY-NC-SA-4.0", "CC BY-SA 4.0"], "CC-BY-NC-SA-4.0"),
        (["MIT", "restricted"], "restricted"),
        (["restricted", "ask Bob"], "ask Bob"),  # what nobody knows is stricter than what is known
        (["CC0-1.0; CC BY 4.0", "MIT", "CC0-1.0"], "CC0-1.0; CC BY 4.0; MIT"),
        ([], "unknown"),
        (["", " ; "], "unknown"),
    ],
)
def test_the_strictest_parent_binds_the_child(parents: list[str], child: str) -> None:
    assert strictest(parents) == child
