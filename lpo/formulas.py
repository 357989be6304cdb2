"""A learned drift as a formula.

Agents feel nothing of a drift f(r, A) but its slope in r, so the slope is what formulas are fitted to, on ratios and
advantages such as agents meet. Every formula is a Python expression of r and A, and is fitted, judged and printed as
the very expression that it is. All are nowhere negative and have value and slope 0 at r = 1, as drifts must.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from scipy.optimize import minimize_scalar, nnls

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.files import atomic_write, write_csv
from metaobj.common.keys import stream
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.lpo.config import LPOTraining
from metaobj.lpo.inspection import slopes
from metaobj.lpo.interface import LoadedLPO
from metaobj.lpo.objective import LPO

_WORDS = {
    "log": jnp.log,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "clip": jnp.clip,
    "where": jnp.where,
}
"""What an expression may be made of beside r, A and its parameters."""


@dataclass(frozen=True)
class Samples:
    """Where slopes are compared: log r is normal around 0, A standard normal."""

    samples: int = 20_000
    """How many (r, A)."""
    spread: float = 0.3
    """Standard deviation of log r: how far policies have moved from those that acted."""
    terms: int = 4
    """At most so many terms in the sparse sum."""
    seed: int = 0
    """Seed of the samples."""

    def __post_init__(self) -> None:
        check_numbers(self, "samples", at_least=10, at_most=MOST)
        check_numbers(self, "spread", above=0)
        check_numbers(self, "terms", at_least=1, at_most=MOST)
        check_numbers(self, "seed", at_least=0, at_most=2**32 - 1)

    def draw(self) -> tuple[jax.Array, jax.Array]:
        """(r, A), [samples] each."""
        ratio_key, advantage_key = jax.random.split(stream(self.seed, "evaluation"))
        log_ratio = self.spread * jax.random.normal(ratio_key, (self.samples,))
        return jnp.exp(log_ratio), jax.random.normal(advantage_key, (self.samples,))


class Formula(NamedTuple):
    """A drift as an expression, and how well its slope is that of another."""

    name: str
    expression: str  # of r and A; numbers are in it
    parameters: Mapping[str, float]
    r2: float  # 1 - the mean squared error of the slope / the variance of the wanted one


class Form(NamedTuple):
    """An expression of r, A and parameters, which are sought within bounds."""

    name: str
    expression: str
    bounds: Mapping[str, tuple[float, float]]


FORMS = (
    Form("PPO's clip", "relu((r - clip(r, 1 - eps, 1 + eps)) * A)", {"eps": (0.01, 1.0)}),
    Form(
        "DPO's form",
        "where(A >= 0, relu((r - 1) * A - alpha * tanh((r - 1) * A / alpha)), "
        "relu(log(r) * A - beta * tanh(log(r) * A / beta)))",
        {"alpha": (0.02, 50.0), "beta": (0.02, 50.0)},
    ),
)
_SIDES = ("relu(A)", "relu(-A)")
"""Good and bad actions are told apart."""
_WAYS = ("r - 1", "1 - r")
TERMS = (
    *(f"{side} * {shape}" for side in _SIDES for shape in ("(r - 1)**2", "log(r)**2", "(r - 1 - log(r))")),
    *(f"{side}**2 * {shape}" for side in _SIDES for shape in ("(r - 1)**2", "log(r)**2")),
    *(f"{side} * relu({way} - {eps})" for side in _SIDES for way in _WAYS for eps in (0.01, 0.1, 0.2, 0.3, 0.5)),
    *(f"{side}**2 * relu({way} - 0.01)" for side in _SIDES for way in _WAYS),
    *(
        f"relu({z} - {size} * tanh({z} / {size}))"
        for z in ("(r - 1) * relu(A)", "-log(r) * relu(-A)", "(1 - r) * relu(-A)", "log(r) * relu(A)")
        for size in (0.1, 0.3, 0.6, 1, 2, 4)
    ),
)
"""Of which sums are made."""


@cache
def drift_of(expression: str, parameters: tuple[str, ...] = ()) -> Callable[..., jax.Array]:
    """An expression of this module as a function (r [...], A [...], *parameters) to f [...]."""
    drift: Callable[..., jax.Array] = eval(f"lambda {', '.join(('r', 'A', *parameters))}: {expression}", dict(_WORDS))
    return drift


@cache
def slope_of(expression: str, parameters: tuple[str, ...] = ()) -> Callable[..., jax.Array]:
    """Likewise to df / dr, of r [N] and A [N]."""
    return jax.jit(jax.vmap(jax.grad(drift_of(expression, parameters)), (0, 0, *(None for _ in parameters))))


@jax.jit
def slopes_of_terms(ratio: jax.Array, advantage: jax.Array) -> jax.Array:
    """The slopes of all `TERMS` at r [N] and A [N], [N, terms]."""
    return jnp.stack([slope_of(term)(ratio, advantage) for term in TERMS], 1)


def fit(wanted: jax.Array, ratio: jax.Array, advantage: jax.Array, terms: int) -> list[Formula]:
    """The formulas whose slopes are nearest to what is `wanted` [N] at r [N] and A [N], the best one first.

    Raises:
        UserError: there is nothing to fit: the slope is the same everywhere, or not finite.
    """
    if not 0 < float(jnp.var(wanted)) < np.inf:
        raise UserError("the drift's slope is the same everywhere on the samples, or not finite; nothing to fit")
    found = [_fit_form(form, wanted, ratio, advantage) for form in FORMS]
    found.append(_fit_sum(wanted, ratio, advantage, terms))
    return sorted(found, key=lambda formula: -formula.r2)


def _formula(
    name: str, expression: str, parameters: Mapping[str, float], wanted: jax.Array, ratio: jax.Array, A: jax.Array
) -> Formula:
    """Judged as it is printed."""
    error = slope_of(expression)(ratio, A) - wanted
    return Formula(name, expression, parameters, float(1.0 - jnp.mean(error**2) / jnp.var(wanted)))


def _fit_form(form: Form, wanted: jax.Array, ratio: jax.Array, advantage: jax.Array) -> Formula:
    """One parameter after the other, on a grid and then between its best point's neighbours. (Where a form has two, one
    is of good actions and the other of bad ones.)
    """
    names = tuple(form.bounds)
    slope = slope_of(form.expression, names)
    at = {name: float(np.sqrt(low * high)) for name, (low, high) in form.bounds.items()}
    for name, (low, high) in form.bounds.items():

        def error(log_value: float, name: str = name) -> float:
            values = {**at, name: float(np.exp(log_value))}
            return float(jnp.mean((slope(ratio, advantage, *(values[n] for n in names)) - wanted) ** 2))

        grid = np.linspace(np.log(low), np.log(high), 41)
        best = int(np.argmin([error(value) for value in grid]))
        around = (grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)])
        at[name] = float(np.exp(minimize_scalar(error, bounds=around, method="bounded").x))
    parameters = {name: float(f"{value:.4g}") for name, value in at.items()}
    expression = form.expression
    for name, value in parameters.items():
        expression = expression.replace(name, f"{value:g}")
    return _formula(form.name, expression, parameters, wanted, ratio, advantage)


def _fit_sum(wanted: jax.Array, ratio: jax.Array, advantage: jax.Array, terms: int) -> Formula:
    """A sum of few terms: each time the one is added that, all coefficients fitted anew, explains most. No coefficient
    and no term is negative, and so no drift.
    """
    slopes = np.asarray(slopes_of_terms(ratio, advantage), np.float64)  # [N, terms]
    sizes = np.linalg.norm(slopes, axis=0)
    usable = [at for at in range(len(TERMS)) if np.isfinite(sizes[at]) and sizes[at] > 0]
    target = np.asarray(wanted, np.float64)

    def solved(chosen: Sequence[int]) -> tuple[np.ndarray, float]:
        """Coefficients, and the norm of what they leave."""
        coefficients, left = nnls(slopes[:, chosen], target)
        return coefficients, float(left)

    chosen: list[int] = []
    for _ in range(min(terms, len(usable))):
        rest = [at for at in usable if at not in chosen]
        chosen.append(min(rest, key=lambda at: solved([*chosen, at])[1]))
    parts = {TERMS[at]: float(f"{c:.4g}") for at, c in zip(chosen, solved(chosen)[0], strict=True) if c > 0}
    expression = " + ".join(f"{c:g} * {term}" for term, c in parts.items()) or "0 * relu(r * A)"
    return _formula(f"sum of {len(parts)}", expression, parts, wanted, ratio, advantage)


def formulas(loaded: Loaded[LPOTraining, LPO], options: Samples, folder: Path, console: Console) -> Inspection:
    """Write formulas.csv, with all that were fitted, and formula.json, with the best; tell them.

    Raises:
        UserError: the drift is flat where it is looked at.
    """
    ratio, advantage = options.draw()

    with console.status("fitting formulas"):
        # Of r A - f the slope is A - df / dr.
        wanted = advantage - jax.jit(partial(slopes, LoadedLPO.of(loaded).loss))(ratio, advantage)
        try:
            found = fit(wanted, ratio, advantage, options.terms)
        except UserError as error:
            raise UserError(f"{loaded.source}: {error}") from None
    best = found[0]
    paths = [folder / "formulas.csv", folder / "formula.json"]
    rows = [(one.name, one.r2, json.dumps(one.parameters), one.expression) for one in found]
    write_csv(paths[0], ("form", "r2", "parameters", "drift"), rows)
    record = {**best._asdict(), "of": loaded.metadata["digest"], "samples": asdict(options)}
    atomic_write(paths[1], json.dumps(record, indent=1) + "\n")
    width = max(len(one.name) for one in found)
    table = [f"{one.name:{width}}  R2 {one.r2:6.3f}  {_numbers(one)}" for one in found]
    return Inspection(paths, (*table, "", f"f = {best.expression}"))


def _numbers(formula: Formula) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in formula.parameters.items())
