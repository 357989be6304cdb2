"""The pictures of an inspection. What is in them is worked out in `lpg.inspection` and `lpg.inspection_data`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from metaobj.common.pictures.style import INK, MUTED, colours, new_figure, save_figure, set_title, style_panel
from metaobj.lpg.inspection_data import DISCOUNTS, Pulses, Snapshot, Values

Table = Mapping[tuple[str, int | None, float | None], float]
"""Numbers by (quantity, agents' updates, discount)."""
_DIVERGING = "RdBu_r"
_POINTS = 2500
_WORLDS = 3
_RIVALS = {
    "reward": "reward of the step",
    "advantage": "advantage",
    "rewards_to_go": "return within the rollout",
    "return_to_go": "true return to go",
}


def rollout_picture(
    path: Path, half_trained: tuple[int, Snapshot], values: Values, table: Table, ages: Sequence[int]
) -> None:
    """What the rule asks for along real rollouts, beside what a hand-written rule would go by.

    Args:
        path: of the PNG.
        half_trained: their updates so far, and what was seen of them.
        values: theirs.
        table: correlations at all ages.
        ages: updates.
    """
    updates, snapshot = half_trained
    batch, rollout = snapshot.batch, snapshot.batch.rollout
    worlds = min(_WORLDS, len(snapshot.pi_hat))
    figure = new_figure(3.5 * (worlds + 1), 8.6)
    grid = figure.subplots(3, worlds + 1, squeeze=False)
    pi_hat_colour, advantage_colour, true_colour, within_colour = colours(4)
    steps = np.arange(snapshot.pi_hat.shape[1])
    # The environment in which most happens shows most.
    chosen = [(world, int(np.argmax(np.sum(rollout.reward[world] != 0, 0)))) for world in range(worlds)]
    top = max(snapshot.y_hat[world, :, column].max() for world, column in chosen)
    for panels, (world, column) in zip(grid[:, :worlds].T, chosen, strict=True):
        here = (world, slice(None), column)
        first = world == 0
        panels[0].bar(steps, rollout.reward[here], color="#bdbdbd", width=0.8, label="reward")
        panels[0].plot(steps, batch.advantages[here], color=advantage_colour, linewidth=1.6, label="advantage")
        panels[0].plot(steps, snapshot.pi_hat[here], color=pi_hat_colour, linewidth=2, label="pi_hat")
        for returns, colour, name in (
            (values.returns_to_go[here], true_colour, _RIVALS["return_to_go"]),
            (batch.rewards_to_go[here], within_colour, _RIVALS["rewards_to_go"]),
        ):
            panels[1].plot(steps, returns - returns.mean(), color=colour, linewidth=1.8, label=name)
        image = panels[2].imshow(snapshot.y_hat[here].T, aspect="auto", cmap="Blues", vmin=0, vmax=top)
        style_panel(
            panels[0], f"world {world + 1}: policy target", y_label="reward, advantage, pi_hat" if first else ""
        )
        style_panel(panels[1], "returns", y_label="return, less its mean here" if first else "")
        style_panel(
            panels[2],
            "prediction target y_hat",
            "step of the rollout",
            "category of y" if first else "",
            grid_axis=None,
        )
        for panel in panels:
            panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
            panel.yaxis.set_major_locator(MaxNLocator(5, integer=panel is panels[2]))
            panel.set_xlim(-0.6, len(steps) - 0.4)
            for end in np.flatnonzero((rollout.terminated | rollout.truncated)[here]):
                panel.axvline(end + 0.5, color=INK, linewidth=1, linestyle=":")
    for panel in grid[:2, 0]:
        _legend(panel)
    bar = figure.colorbar(image, ax=list(grid[2, :worlds]), location="bottom", aspect=60, shrink=0.6, pad=0.04)
    style_panel(bar.ax, x_label="probability", grid_axis=None)
    bar.outline.set_visible(False)

    shown = np.random.default_rng(0).permutation(snapshot.pi_hat.size)[:_POINTS]
    pi_hat = snapshot.pi_hat.ravel()[shown]
    for panel, name, rival, colour in (
        (grid[0, -1], "advantage", batch.advantages, advantage_colour),
        (grid[1, -1], "rewards_to_go", batch.rewards_to_go, within_colour),
    ):
        panel.scatter(rival.ravel()[shown], pi_hat, s=5, color=colour, alpha=0.3, linewidths=0)
        _cut(panel, rival, snapshot.pi_hat)
        strength = table[(f"correlation_of_pi_hat_and_{name}", updates, None)]
        style_panel(panel, f"all {len(snapshot.pi_hat)} worlds, correlation {strength:.2f}", _RIVALS[name], "pi_hat")
    _correlations(grid[2, -1], table, ages)
    set_title(
        figure,
        "What the rule asks of an agent along its own steps",
        f"agents after {updates} updates, one environment of each; dotted: an episode ended",
    )
    save_figure(figure, path)


def _correlations(panel: Axes, table: Table, ages: Sequence[int]) -> None:
    height = 0.8 / len(ages)
    for at, (updates, colour) in enumerate(zip(ages, colours(len(ages)), strict=True)):
        strengths = [table[(f"correlation_of_pi_hat_and_{name}", updates, None)] for name in _RIVALS]
        places = np.arange(len(_RIVALS)) + (at - (len(ages) - 1) / 2) * height
        panel.barh(places, strengths, height * 0.9, color=colour, label=_age(updates))
    panel.set_yticks(range(len(_RIVALS)), [name.replace(" ", "\n", 1) for name in _RIVALS.values()])
    panel.invert_yaxis()
    panel.axvline(0, color=MUTED, linewidth=0.8)
    panel.set_xlim(min(0.0, panel.get_xlim()[0]), 1.0)
    style_panel(panel, "what pi_hat goes along with, by age", "correlation with pi_hat", grid_axis="x")
    panel.tick_params(axis="y", length=0)
    _legend(panel, "lower right")


def prediction_picture(
    path: Path,
    ages: Sequence[tuple[int, Snapshot]],
    values: Sequence[Values],
    table: Table,
    discount: float,
) -> None:
    """What the prediction y has come to mean.

    Args:
        path: of the PNG.
        ages: updates so far, and what was seen.
        values: of each age's agents.
        table: what y and phi(y) say of values.
        discount: of the values that are drawn state by state; one of `DISCOUNTS`.
    """
    columns = max(3, len(ages))
    figure = new_figure(3.9 * columns, 7.4)
    grid = figure.subplots(2, columns, squeeze=False)
    symbol = f"value of the state at discount {discount:g}"
    for at, (panel, (updates, snapshot), value, colour) in enumerate(
        zip(grid[0], ages, values, colours(len(ages)), strict=False)
    ):
        x = value.by_discount[DISCOUNTS.index(discount)][value.visited]
        phi = snapshot.state_phi[value.visited]
        shown = np.random.default_rng(0).permutation(len(x))[:_POINTS]
        panel.scatter(x[shown], phi[shown], s=6, color=colour, alpha=0.35, linewidths=0)
        _cut(panel, x, phi)
        strength = table[("rank_correlation_of_phi_and_value", updates, discount)]
        style_panel(
            panel, f"{_age(updates)}: rank correlation {strength:.2f}", symbol, "phi(y) of the state" if at == 0 else ""
        )
    for panel, quantity, title, label in (
        (grid[1, 0], "r_squared_of_value_from_y", "values that y tells (in worlds left out)", "R², y to value"),
        (grid[1, 1], "rank_correlation_of_phi_and_value", "values that phi(y) tells", "rank correlation"),
    ):
        for (updates, _), colour in zip(ages, colours(len(ages)), strict=True):
            heights = [table[(quantity, updates, gamma)] for gamma in DISCOUNTS]
            panel.plot(range(len(DISCOUNTS)), heights, color=colour, marker="o", linewidth=1.8, label=_age(updates))
        panel.axhline(0, color=MUTED, linewidth=0.8)
        panel.set_xticks(range(len(DISCOUNTS)), [f"{gamma:g}" for gamma in DISCOUNTS])
        low, high = panel.get_ylim()
        # Far below 0 it makes no difference how bad a fit is.
        panel.set_ylim(max(low, -0.5 if panel is grid[1, 0] else -1.05), max(high, 0.5))
        style_panel(panel, title, "discount of the value", label)
        _legend(panel)
    _categories(figure, grid[1, 2], ages[min(1, len(ages) - 1)], values[min(1, len(ages) - 1)], discount)
    for panel in [*grid[0, len(ages) :], *grid[1, 3:]]:
        panel.remove()
    set_title(
        figure,
        "What the agent's prediction y has come to mean",
        "states that agents visit in held-out worlds, against the values of the agents' own policies",
    )
    save_figure(figure, path)


def _categories(figure: Figure, panel: Axes, age: tuple[int, Snapshot], values: Values, discount: float) -> None:
    """How y shifts between its categories from poor states to rich ones."""
    updates, snapshot = age
    y = np.asarray(jax.nn.softmax(snapshot.state_logits))[values.visited]  # [n, m]
    value = values.by_discount[DISCOUNTS.index(discount)][values.visited]
    order = np.array_split(np.argsort(value), 8)
    shift = np.stack([np.median(y[part], 0) for part in order if len(part)]) - np.median(y, 0)  # [parts, m]
    top = _top(shift)
    image = panel.imshow(
        shift.T, aspect="auto", cmap=_DIVERGING, vmin=-top, vmax=top, extent=(0, 100, y.shape[1] - 0.5, -0.5)
    )
    panel.yaxis.set_major_locator(MaxNLocator(8, integer=True))
    style_panel(
        panel,
        f"y from poor to rich states, {updates} updates",
        f"states by value at discount {discount:g}, percentile",
        "category of y",
        grid_axis=None,
    )
    _bar(figure, image, [panel], "probability, above the median state's")


def bootstrapping_picture(path: Path, answers: Pulses, pi: float, discount: float) -> None:
    """How far back a reward and a prediction reach.

    Args:
        path: of the PNG.
        answers: changes of pi_hat.
        pi: probability of the actions taken.
        discount: of the values that made states poor or rich.
    """
    figure = new_figure(13.5, 4.6)
    panels = figure.subplots(1, 3)
    T = len(answers.reward)
    rich = "state k rich, not poor"
    for panel, answer, title, label in (
        (panels[0], answers.reward, "+1 paid at step k", "step k"),
        (panels[1], answers.prediction, rich, f"state k, of step k ({T}: the one after the last step)"),
    ):
        top = _top(answer)
        image = panel.imshow(np.ma.masked_where(_cannot(answer), answer), cmap=_DIVERGING, vmin=-top, vmax=top)
        panel.set_facecolor("#f2f2f2")
        panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        panel.yaxis.set_major_locator(MaxNLocator(6, integer=True))
        size = np.abs(answer).max()
        style_panel(panel, f"{title} (up to {size:.1g})", label, "step whose target moves", grid_axis=None)
        _bar(figure, image, [panel], "change of pi_hat")
    reward_colour, prediction_colour = colours(2)
    for answer, colour, name in (
        (answers.reward, reward_colour, "+1 paid at step k"),
        (answers.prediction, prediction_colour, rich),
    ):
        means = [np.mean(np.diagonal(answer, distance)) for distance in range(T)]
        panels[2].plot(range(T), means, color=colour, linewidth=1.8, marker=".", label=name)
    last = answers.prediction[::-1, -1]  # of the steps at distances 1, 2, ..., T
    panels[2].plot(
        range(1, T + 1),
        last,
        color=prediction_colour,
        linewidth=1.4,
        linestyle="--",
        label="the same for the last state alone",
    )
    panels[2].axhline(0, color=MUTED, linewidth=0.8)
    panels[2].xaxis.set_major_locator(MaxNLocator(6, integer=True))
    style_panel(panels[2], "mean by distance", "steps from the target to k", "change of pi_hat")
    _legend(panels[2])
    set_title(
        figure,
        "How far back a reward moves the policy target, and whether a state's prediction does the same (bootstrapping)",
        f"in a made-up rollout: no other reward, actions of probability {pi:.2f}, elsewhere the median prediction;\n"
        "a rich or poor state has the median y of the fifth of states of most or least value "
        f"(at discount {discount:g})",
    )
    save_figure(figure, path)


def _cannot(answer: np.ndarray) -> np.ndarray:
    """Where nothing can be: targets of steps after what happened."""
    return np.tri(answer.shape[0], answer.shape[1], k=-1, dtype=bool)


def _age(updates: int) -> str:
    return f"{updates} update{'s' * (updates != 1)}"


def _top(values: np.ndarray) -> float:
    """Half the range of a diverging colour map; not 0."""
    return float(np.abs(values).max()) or 1.0


def _cut(panel: Axes, x: ArrayLike, y: ArrayLike) -> None:
    """Leave the outermost points of a scatter outside: a single saturated prediction would flatten all others."""
    for values, set_limits in ((x, panel.set_xlim), (y, panel.set_ylim)):
        low, high = np.quantile(np.asarray(values), (0.05, 0.95))
        margin = 0.4 * (high - low) or 0.5
        set_limits(low - margin, high + margin)


def _legend(panel: Axes, place: Literal["best", "lower right"] = "best") -> None:
    panel.legend(frameon=False, fontsize=7.5, labelcolor=INK, handlelength=1.4, loc=place)


def _bar(figure: Figure, image: AxesImage, panels: list[Axes], label: str) -> None:
    bar = figure.colorbar(image, ax=panels, aspect=25, pad=0.02)
    style_panel(bar.ax, y_label=label, grid_axis=None)
    bar.outline.set_visible(False)
