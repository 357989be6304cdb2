"""Pictures of what a learned LPG does: what its targets follow, what its predictions mean, whether it bootstraps."""

from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from numpy.typing import ArrayLike

from metaobj.common.evaluation.credit import verdict
from metaobj.common.evaluation.credit_files import credit_picture, credit_table
from metaobj.common.files import make_folder, write_csv
from metaobj.common.keys import stream
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.lpg import inspection_plots
from metaobj.lpg.bootstrap import bootstrapping
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.inspection_data import (
    DISCOUNTS,
    Pulses,
    Size,
    Snapshot,
    Values,
    look_at_ages,
    make_setup,
    pulses,
    true_values,
    typical_predictions,
)
from metaobj.lpg.objective import LPG

VALUE_DISCOUNT = 0.9
"""Of the values that states are called rich or poor by."""


@dataclass(frozen=True)
class Number:
    """One line of `inspection.csv`."""

    quantity: str
    value: float
    updates: int | None = None
    """The agents' age."""
    discount: float | None = None


def inspect(loaded: Loaded[LPGTraining, LPG], folder: Path, size: Size | None = None) -> Inspection:
    """Train fresh agents on held-out worlds by the objective and draw what it did and what it would do.

    Args:
        loaded: the objective; settings that its file does not know take defaults.
        folder: for the files; made if missing.
        size: how much is simulated.

    Returns:
        rollout.png, prediction.png, bootstrapping.png, and inspection.csv with the numbers behind them; bootstrap.png
        and bootstrap.csv; and whether the rule bootstraps.
    """
    size = size or Size()
    folder = Path(folder)
    make_folder(folder)
    objective, eta = loaded.objective, loaded.eta
    setup = make_setup(loaded, size)
    program = setup.family.program
    key = stream(0, "inspection")
    ages = look_at_ages(objective, eta, setup, size, key)
    values = [true_values(snapshot, program.discount) for _, snapshot in ages]
    numbers: list[Number] = []
    for (updates, snapshot), value in zip(ages, values, strict=True):
        numbers += follow_numbers(updates, snapshot, value) + prediction_numbers(updates, snapshot, value)

    updates, snapshot = ages[min(1, len(ages) - 1)]
    value = values[min(1, len(ages) - 1)]
    by_state = value.by_discount[DISCOUNTS.index(VALUE_DISCOUNT)]
    usual, poor, rich = typical_predictions(snapshot, value.visited, by_state)
    batch = snapshot.batch
    scalars = [float(leaf[0]) for leaf in (batch.discount, batch.progress, batch.log_length)]
    pi = float(np.mean(snapshot.pi))
    answers = pulses(objective, eta, program.rollout_steps, pi, (usual, poor, rich), scalars)
    low, high = np.quantile(by_state[value.visited], (0.1, 0.9))
    numbers += pulse_numbers(updates, answers)
    numbers.append(Number("value_difference_of_rich_and_poor_states", float(high - low), updates, VALUE_DISCOUNT))

    table = {(number.quantity, number.updates, number.discount): number.value for number in numbers}
    names = ("rollout.png", "prediction.png", "bootstrapping.png", "inspection.csv", "bootstrap.png", "bootstrap.csv")
    paths = [folder / name for name in names]
    inspection_plots.rollout_picture(paths[0], (updates, snapshot), value, table, [age for age, _ in ages])
    inspection_plots.prediction_picture(paths[1], ages, values, table, VALUE_DISCOUNT)
    inspection_plots.bootstrapping_picture(paths[2], answers, pi, VALUE_DISCOUNT)
    write_csv(paths[3], ("quantity", "agent_updates", "discount", "value"), map(_row, numbers))

    found = bootstrapping(loaded, size, stream(key, "evaluation"))
    said = verdict(found)
    credit_picture(paths[4], found, said)
    credit_table(paths[5], found)
    return Inspection(paths, (said,))


def follow_numbers(updates: int, snapshot: Snapshot, values: Values) -> list[Number]:
    """Correlations of pi_hat with what a hand-written rule might use in its place, over all steps of all agents."""
    rivals: dict[str, ArrayLike] = {
        "reward": snapshot.batch.rollout.reward,
        "advantage": snapshot.batch.advantages,
        "rewards_to_go": snapshot.batch.rewards_to_go,
        "return_to_go": values.returns_to_go,
    }
    return [
        Number(f"correlation_of_pi_hat_and_{name}", correlation(snapshot.pi_hat, rival), updates)
        for name, rival in rivals.items()
    ]


def prediction_numbers(updates: int, snapshot: Snapshot, values: Values) -> list[Number]:
    """How much y, and what the rule reads of it, phi(y), say of the values of states."""
    y = np.asarray(jax.nn.softmax(snapshot.state_logits))[values.visited]  # [n, m]
    phi = np.asarray(snapshot.state_phi)[values.visited]  # [n]
    agent = np.nonzero(values.visited)[0]
    numbers = []
    for discount, by_state in zip(DISCOUNTS, values.by_discount, strict=True):
        value = by_state[values.visited]
        numbers += [
            Number("r_squared_of_value_from_y", explained(y, value, agent), updates, discount),
            Number("rank_correlation_of_phi_and_value", correlation(_ranks(phi), _ranks(value)), updates, discount),
        ]
    return numbers


def pulse_numbers(updates: int, answers: Pulses) -> list[Number]:
    """The answers to pulses by distance, summarised."""
    reward, prediction = by_distance(answers.reward), by_distance(answers.prediction[:, :-1])
    last_reward, last_prediction = float(answers.reward[-1, -1]), float(answers.prediction[-1, -1])
    found = {
        "pi_hat_per_reward_at_own_step": reward[0],
        "pi_hat_per_reward_decay_per_step": decay(reward),
        "pi_hat_per_richer_own_state": prediction[0],
        "pi_hat_per_richer_next_state": float(np.mean(np.diagonal(answers.prediction, 1))),
        "pi_hat_per_richer_last_state_mean_over_steps": float(np.mean(answers.prediction[:, -1])),
        "richer_last_state_is_worth_rewards": last_prediction / last_reward if last_reward else 0.0,
    }
    return [Number(name, float(value), updates) for name, value in found.items()]


def correlation(a: ArrayLike, b: ArrayLike) -> float:
    """Pearson's; 0 where one of the two is constant."""
    x, y = (np.asarray(values, np.float64).ravel() for values in (a, b))
    x, y = x - x.mean(), y - y.mean()
    scale = np.sqrt((x @ x) * (y @ y))
    return float(x @ y / scale) if scale > 1e-12 else 0.0


def explained(features: np.ndarray, targets: np.ndarray, groups: np.ndarray, folds: int = 4) -> float:
    """R^2 of a ridge regression, on groups that it was not fitted to.

    A prediction in a seldom visited state may be saturated, and a line bends for it; so features are cut at their 5th
    and 95th percentiles.

    Args:
        features: [n, m].
        targets: [n].
        groups: [n] integers; those equal modulo `folds` are left out together.
    """
    targets = targets.astype(np.float64)
    residuals = targets - targets.mean()
    for fold in range(folds):
        out = groups % folds == fold
        if not out.any() or out.all():
            continue
        cut = np.clip(features.astype(np.float64), *np.quantile(features[~out], (0.05, 0.95), axis=0))
        centre, mean = cut[~out].mean(0), targets[~out].mean()
        x = cut[~out] - centre
        gram = x.T @ x
        ridge = (1e-2 * np.trace(gram) / len(gram) + 1e-12) * np.eye(len(gram))
        weights = np.linalg.solve(gram + ridge, x.T @ (targets[~out] - mean))
        residuals[out] = targets[out] - mean - (cut[out] - centre) @ weights
    total = np.sum((targets - targets.mean()) ** 2)
    return float(1 - np.sum(residuals**2) / total) if total > 1e-12 else 0.0


def by_distance(answers: np.ndarray) -> np.ndarray:
    """Means of the diagonals [T] of answers [T, T]: at distance d, of step t to what happens at t + d."""
    return np.array([np.mean(np.diagonal(answers, distance)) for distance in range(len(answers))])


def decay(answers: np.ndarray) -> float:
    """The factor that best takes each answer to the next one, by least squares."""
    before, after = answers[:-1], answers[1:]
    return float(before @ after / (before @ before)) if np.any(before) else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks, ties sharing their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _row(number: Number) -> list[object]:
    at = ["" if value is None else value for value in (number.updates, number.discount)]
    return [number.quantity, *at, f"{number.value:.6g}"]
