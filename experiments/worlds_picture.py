"""Draw what the environments of a distribution look like: some worlds of each, as lifetimes get them.

python -m experiments.worlds_picture carry --out experiments/results/carry/worlds.png [--each 4]
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

from experiments.script import run_script
from metaobj.common.devices import quick_jit
from metaobj.common.environments.protocol import sample_params
from metaobj.common.environments.registry import make_environment
from metaobj.common.environments.splits import Split
from metaobj.common.environments.viewer import render
from metaobj.common.errors import check_numbers
from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.pictures.style import INK, LABEL, MUTED, new_figure, plain, save_figure
from metaobj.common.types import PRNGKey
from metaobj.lpg.config import DISTRIBUTIONS


@dataclass(frozen=True)
class Arguments:
    """Worlds of a distribution."""

    name: Annotated[str, tyro.conf.Positional]
    """A distribution's name, or several joined by "+"."""
    out: Path = Path("worlds.png")
    """The picture."""
    each: int = 4
    """How many worlds of each environment."""
    seed: int = 0


def main() -> None:
    """Draw, and write the picture."""
    arguments = tyro.cli(Arguments, description=__doc__)
    check_numbers(arguments, "each", at_least=1, at_most=16)
    entries = make_distribution(arguments.name, 1, DISTRIBUTIONS)
    names = list(dict.fromkeys((entry.environment, entry.split) for entry in entries))
    keys = jax.random.split(jax.random.key(arguments.seed), (len(names), arguments.each))
    images = [
        [_world(name, split, keys[row, at]) for at in range(arguments.each)] for row, (name, split) in enumerate(names)
    ]
    heights = [max(image.shape[0] / image.shape[1] for image in row) for row in images]
    figure = new_figure(1.9 * arguments.each + 0.6, 1.9 * sum(heights) + 0.35 * len(names))
    panels = figure.subplots(len(names), arguments.each, squeeze=False, height_ratios=heights)
    for row, pictures, (name, _) in zip(panels, images, names, strict=True):
        for panel, picture in zip(row, pictures, strict=True):
            panel.imshow(picture)
            panel.set(xticks=[], yticks=[], anchor="NW")
            for spine in panel.spines.values():
                spine.set_visible(False)
        row[0].set_title(plain(name), fontsize=LABEL, color=INK, loc="left")
        row[-1].set_title(_updates(entries, name), fontsize=LABEL - 1, color=MUTED, loc="right")
    save_figure(figure, arguments.out)
    print(f"{arguments.out} written")


def _world(name: str, split: Split, key: PRNGKey) -> np.ndarray:
    """A world that is drawn by this key, as an episode begins."""
    environment, spec = make_environment(name, split)
    params_key, reset_key = jax.random.split(key)
    params = quick_jit()(lambda key: sample_params(environment, key, spec))(params_key)
    state = quick_jit()(environment.reset)(reset_key, params)[1]
    return render(environment, jax.device_get(state), jax.device_get(params))


def _updates(entries: tuple, name: str) -> str:
    """How long agents live there, and how many at once."""
    found = [entry for entry in entries if entry.environment == name]
    lives = sorted({entry.updates for entry in found})
    return f"{sum(entry.lifetimes for entry in found)} lifetimes of {' or '.join(map(str, lives))} updates"


if __name__ == "__main__":
    run_script(main)
