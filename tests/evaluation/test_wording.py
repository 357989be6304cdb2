import pytest

from metaobj.common.evaluation.wording import duration, with_interval


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.5, -0.0001, 1.0), "+0.500 [+0.000, +1.000]"),
        ((0.002, 0.0004, 0.004), "+0.0020 [+0.0004, +0.0040]"),
        ((-12.0, -20.25, 3.0), "-12.0 [-20.2, +3.0]"),
        ((1234.6, 900.0, 2000.0), "+1235 [+900, +2000]"),
    ],
)
def test_numbers_keep_the_digits_that_matter(numbers, text):
    assert with_interval(*numbers, sign="+") == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (99.4, "99 s"), (119, "2 min"), (5999, "100 min"), (9000, "2.5 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
