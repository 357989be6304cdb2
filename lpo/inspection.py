"""Which way a learned drift sends agents: the slope of the objective, beside PPO's and DPO's."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.files import make_folder, write_csv
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.common.pictures.style import add_legend, colours, new_figure, save_figure, set_title, style_panel
from metaobj.common.rules.handwritten import clipped_surrogate, dpo_surrogate
from metaobj.lpo.config import LPOTraining
from metaobj.lpo.interface import LoadedLPO
from metaobj.lpo.objective import LPO

RATIOS = np.linspace(0.5, 1.5, 83)  # 1 is one of them, and the bounds of the clip are not: there are two slopes
ADVANTAGES = np.concatenate([-np.linspace(2.0, 0.1, 20), np.linspace(0.1, 2.0, 20)])
Surrogate = Callable[[jax.Array, jax.Array], jax.Array]


def slopes(surrogate: Surrogate, ratio: jax.Array, advantage: jax.Array) -> jax.Array:
    """The slope d(r A - f) / dr at each (r [N], A [N]): positive where the action is made likelier, [N]."""
    return jax.vmap(jax.grad(lambda r, a: -surrogate(jnp.log(r), a)))(ratio, advantage)


def inspect(loaded: Loaded[LPOTraining, LPO], folder: str | Path) -> Inspection:
    """Write slopes.png, and slopes.csv with the numbers behind it."""
    folder = Path(folder)
    make_folder(folder)
    surrogates = {"LPO": LoadedLPO.of(loaded).loss, "PPO": clipped_surrogate, "DPO": dpo_surrogate}
    ratio, advantage = (jnp.asarray(grid.ravel()) for grid in np.meshgrid(RATIOS, ADVANTAGES))
    shape = (len(ADVANTAGES), len(RATIOS))
    found = {
        name: np.asarray(jax.jit(partial(slopes, surrogate))(ratio, advantage)).reshape(shape)
        for name, surrogate in surrogates.items()
    }
    paths = [folder / "slopes.png", folder / "slopes.csv"]
    _draw(paths[0], found)
    columns = (np.asarray(ratio), np.asarray(advantage), *(grid.ravel() for grid in found.values()))
    rows = [[f"{value:.5g}" for value in row] for row in zip(*columns, strict=True)]
    write_csv(paths[1], ("ratio", "advantage", *found), rows)
    return Inspection(paths, tuple(_told(sign, found) for sign in (1, -1)))


def _told(sign: int, found: dict[str, np.ndarray]) -> str:
    """Where a good (1) or a bad action (-1) is no longer made likelier, or less likely: as a ratio at |A| = 1."""
    row = int(np.argmin(np.abs(ADVANTAGES - sign)))
    told = []
    for name, grid in found.items():
        way = RATIOS[::sign]
        onward = sign * (way - 1.0) > 0
        along = sign * grid[row, ::sign]
        ends = way[onward & (along <= 0)]
        told.append(f"{name} {ends[0]:.2f}" if ends.size else f"{name} nowhere up to {way[-1]:.2f}")
    return f"A = {sign:+d}: the push ends at r = {', '.join(told)}"


def _draw(path: Path, found: dict[str, np.ndarray]) -> None:
    figure = new_figure(11.0, 6.4)
    panels = figure.subplots(2, len(found), height_ratios=[1.2, 1.0])
    largest = float(np.abs(ADVANTAGES).max())
    shades = {"cmap": "RdBu_r", "vmin": -largest, "vmax": largest, "shading": "nearest"}
    for panel, (name, grid) in zip(panels[0], found.items(), strict=True):
        image = panel.pcolormesh(RATIOS, ADVANTAGES, grid, **shades)
        panel.axvline(1.0, color="#555555", linewidth=0.8, linestyle=":")
        style_panel(panel, title=name, x_label="r", y_label="A", grid_axis=None)
    bar = figure.colorbar(image, ax=list(panels[0]), shrink=0.9, pad=0.02)
    style_panel(bar.ax, y_label="d(r A - f) / dr", grid_axis=None)
    for panel, advantage in zip(panels[1], (1.0, -1.0), strict=False):
        row = int(np.argmin(np.abs(ADVANTAGES - advantage)))
        for grid, colour in zip(found.values(), colours(len(found)), strict=True):
            panel.plot(RATIOS, grid[row], color=colour, linewidth=2)
        panel.axhline(0.0, color="#555555", linewidth=0.8)
        panel.axvline(1.0, color="#555555", linewidth=0.8, linestyle=":")
        style_panel(panel, title=f"A = {advantage:+.0f}", x_label="r", y_label="d(r A - f) / dr")
    for panel in panels[1][2:]:
        panel.remove()
    add_legend(figure, list(found))
    title = "Where the objective sends an action, by its probability ratio r and its advantage A"
    set_title(figure, title, "red: made likelier, blue: less likely")
    save_figure(figure, path)
