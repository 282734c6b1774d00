"""The strictest parent's licence is the child's."""

import pytest

from distill.errors import Refused
from distill.licences import KINDS, kind, require, strictest


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
        ("CC-BY-ND-4.0", "restricted"),  # a student is a derivative
        ("CC BY-NC-ND 4.0", "restricted"),
        ("CC-BY", "permissive"),
        ("ISC", "permissive"),
        ("Public Domain", "permissive"),
        ("ODbL-1.0", "share-alike"),
        ("AGPL-3.0", "share-alike"),
        ("noncommercial", "non-commercial"),
        ("for research only", "restricted"),
        ("MIT;", "permissive"),
        ("MIT; ask Bob", "unknown"),
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


@pytest.mark.parametrize("wanted", KINDS)
@pytest.mark.parametrize(
    ("licence", "at_least"), [("MIT", 0), ("GPL-3.0", 1), ("CC-BY-NC-4.0", 2), ("restricted", 3), ("ask Bob", 4)]
)
def test_what_is_stricter_than_required_is_refused(wanted: str, licence: str, at_least: int) -> None:
    parents = {"the weights": "MIT", "the recordings": licence}
    if KINDS.index(wanted) >= at_least:
        require(wanted, parents)
    else:
        with pytest.raises(Refused, match=f"^the recordings: {licence} is .*, and {wanted} is required"):
            require(wanted, parents)
    require(None, parents)
