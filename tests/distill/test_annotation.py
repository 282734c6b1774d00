"""One order of the three axes, everywhere."""

import numpy as np

from distill.annotation import AXES, axis_columns


def test_the_order() -> None:
    assert AXES == ("arousal", "dominance", "valence")


def test_lacking_answers_become_nan() -> None:
    columns = axis_columns([(0.5, None, 0.25), (None, None, None)])
    assert columns.dtype == np.float32
    np.testing.assert_array_equal(columns, [[0.5, np.nan, 0.25], [np.nan] * 3])
    assert axis_columns([]).shape == (0, 3)
