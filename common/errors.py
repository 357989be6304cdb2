"""The one kind of error that is the user's to mend."""

import math
from numbers import Real

import numpy as np

MOST = 2**31 - 1
"""No size and no count is larger: numbers of elements and steps are 32-bit integers in many a place."""


class UserError(Exception):
    """Wrong input, told in one line: the field, what was given, and what is allowed.

    The command prints it without a traceback and exits with status 2; from Python it is raised as it is.
    """


class LengthError(UserError):
    """An agent's life is of a length that does not suit."""


def check_numbers(
    config: object,
    names: str,
    *,
    at_least: float = -math.inf,
    above: float = -math.inf,
    at_most: float = math.inf,
    prefix: str = "",
) -> None:
    """Check that numbers of a configuration are finite and within bounds.

    Args:
        config: what holds them.
        names: of its attributes, with spaces between.
        at_least: smallest value allowed.
        above: a bound that is not allowed itself.
        at_most: largest value allowed.
        prefix: goes before the names in messages, such as "network.".

    Raises:
        UserError: naming the first that is not.
    """
    bounds = []
    if at_least > -math.inf:
        bounds.append(f"at least {at_least:g}")
    if above > -math.inf:
        bounds.append(f"greater than {above:g}")
    if at_most < math.inf:
        bounds.append(f"at most {int(at_most) if float(at_most).is_integer() else at_most}")
    for name in names.split():
        value = getattr(config, name)
        number = isinstance(value, Real) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or value < at_least or value <= above or value > at_most:
            allowed = "a finite number" if not number or not math.isfinite(value) else ""
            raise UserError(f"{prefix}{name}: {value} given; must be {' and '.join(filter(None, [allowed, *bounds]))}")


def check_widths(config: object, names: str, prefix: str = "") -> None:
    """Check that tuples of a configuration hold sizes of layers.

    Args:
        config: what holds them.
        names: of its attributes, with spaces between.
        prefix: goes before the names in messages.

    Raises:
        UserError: naming the first that does not.
    """
    for name in names.split():
        widths = getattr(config, name)
        if any(not isinstance(width, int) or not 1 <= width <= MOST for width in widths):
            given = " ".join(map(str, widths))
            raise UserError(f"{prefix}{name}: {given} given; widths must be at least 1 and at most {MOST}")


def require_finite(name: str, values: np.ndarray, axes: tuple[str, ...]) -> None:
    """Refuses NaN and infinity.

    Args:
        name: what the values are called in the error.
        values: any array.
        axes: the names of its last axes.

    Raises:
        ValueError: names the first place and how many there are.
    """
    bad = np.argwhere(~np.isfinite(values))
    if len(bad) == 0:
        return
    names = ("axis",) * (values.ndim - len(axes)) + axes
    place = ", ".join(f"{axis} {index}" for axis, index in zip(names, bad[0], strict=True))
    value = values[tuple(bad[0])]
    raise ValueError(f"{name}: {value} at {place} ({len(bad)} not finite in all); give a diverged run a floor score")
