"""Numbers and names of groups as words, the same in the terminal and on the page."""

from metaobj.common.evaluation.curves import ALL


def group_label(group: str) -> str:
    """What a group is called."""
    return "all normalised" if group == ALL else group


def with_interval(point: float, low: float, high: float, sign: str = "", between: str = " ") -> str:
    """The three numbers with as many decimals as the largest of them allows in a narrow column."""
    largest = max(abs(point), abs(low), abs(high))
    return f"{digits(point, largest, sign)}{between}[{digits(low, largest, sign)}, {digits(high, largest, sign)}]"


def spaced(number: int) -> str:
    """A whole number in groups of three digits."""
    return f"{number:,}".replace(",", " ")


def duration(seconds: float) -> str:
    """As long as it takes to read."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def digits(value: float, largest: float, sign: str = "") -> str:
    """A number with the decimals that suit the largest of those it is told with."""
    decimals = 4 if largest < 0.01 else 3 if largest < 10 else 1 if largest < 1000 else 0
    # The z writes what rounds to minus zero as zero.
    return f"{value:{sign}z.{decimals}f}" if largest < 1e6 else f"{value:{sign}.3g}"
