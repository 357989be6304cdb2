"""What an objective of this kind does with rewards to come, and through which predictions it looks beyond a rollout."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from metaobj.common.evaluation.credit import verdict
from metaobj.common.evaluation.credit_files import credit_picture, credit_table
from metaobj.common.files import make_folder, write_csv
from metaobj.common.keys import stream
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.common.pictures.style import MUTED, add_legend, colours, new_figure, save_figure, set_title, style_panel
from metaobj.disco.config import DiscoTraining
from metaobj.disco.inspection_data import ENVIRONMENT, Movements, Size, bootstrapping, movements
from metaobj.disco.objective import Disco

_FAR = 10
"""Steps from a reward at which its reach is told in words."""
_OUTLOOKS = {
    "q": "action values 1 higher after the end, and the policy's target",
    "y": "y after the end as of a paid step, and the policy's target",
    "z": "z after the end as of a paid step, and the policy's target",
}


def inspect(loaded: Loaded[DiscoTraining, Disco], folder: Path, size: Size | None = None) -> Inspection:
    """Write what moves the targets of agents of several ages (reach.png, inspection.csv), and what fresh agents earn in
    chains that are longer than a rollout while the rule is kept from seeing predictions (bootstrap.png, bootstrap.csv).

    Args:
        loaded: the objective.
        folder: for the files; made if missing.
        size: how much is simulated.
    """
    size = size or Size()
    make_folder(folder)
    key = stream(0, "inspection")
    paths = [Path(folder) / name for name in ("reach.png", "inspection.csv", "bootstrap.png", "bootstrap.csv")]
    ages = movements(loaded, size, key)
    _reach_picture(paths[0], ages, loaded.plugin.name_of(loaded.objective), size)
    write_csv(paths[1], ("changed", "target", "agent_updates", "distance", "moved"), _rows(ages))
    found = bootstrapping(loaded, size, stream(key, "evaluation"))
    said = verdict(found)
    credit_picture(paths[2], found, said)
    credit_table(paths[3], found)
    return Inspection(paths, (said, *map(_in_words, (ages[0], ages[-1]))))


def _in_words(age: Movements) -> str:
    far = min(_FAR, len(age.reward.policy) - 1)
    moved = ", ".join(
        f"{name} of its own step by {values[0]:{form}}, of {far} steps before by {values[far]:{form}}"
        for name, values, form in (("log pi_hat(a)", age.reward.policy, "+.3f"), ("y_hat", age.reward.y, ".2f"))
    )
    beyond = ", ".join(f"{name} {moved.policy[0]:+.4f}" for name, moved in age.outlook.items())
    return (
        f"after {age.updates} updates a reward of 1 moves {moved}; what a better outlook after the rollout does to the "
        f"last step's log pi_hat(a): {beyond}"
    )


def _rows(ages: Sequence[Movements]) -> list[tuple[object, ...]]:
    return [
        (changed, target, age.updates, distance, f"{value:.6g}")
        for age in ages
        for changed, moved in {"reward": age.reward, **age.outlook}.items()
        for target, values in moved._asdict().items()
        for distance, value in enumerate(values)
    ]


def _reach_picture(path: Path, ages: Sequence[Movements], name: str, size: Size) -> None:
    figure = new_figure(11.5, 6.6)
    grid = figure.subplots(2, 3)
    measures = {"policy": "change of log pi_hat(a)", "y": "share of y_hat that moves", "z": "share of z_hat that moves"}
    targets = {"policy": "the policy's target", "y": "the target of y", "z": "the target of z"}
    back = "steps back from the reward"
    for panel, (target, measure) in zip(grid[0], measures.items(), strict=True):
        _lines(panel, [getattr(age.reward, target) for age in ages])
        style_panel(panel, f"a reward of 1 and {targets[target]}", back, measure)
    for panel, (head, title) in zip(grid[1], _OUTLOOKS.items(), strict=True):
        _lines(panel, [np.asarray(age.outlook[head].policy) for age in ages])
        style_panel(panel, title, "steps back from the last of the rollout", measures["policy"])
    add_legend(figure, [f"agents after {age.updates} updates" for age in ages])
    set_title(
        figure,
        f"What moves the targets that {name} gives",
        f"{size.agents} agents in {ENVIRONMENT}, {size.environments} environments each, of which every second one is "
        "changed: means there, less those elsewhere\n"
        "only within an episode, so that few steps are behind what is far back",
    )
    save_figure(figure, path)


def _lines(panel: Axes, values: Sequence[np.ndarray]) -> None:
    """Of each age."""
    for of_age, colour in zip(values, colours(len(values)), strict=True):
        panel.plot(of_age, color=colour, linewidth=1.6, marker="o", markersize=2.5)
    panel.axhline(0, color=MUTED, linewidth=0.8)
    panel.xaxis.set_major_locator(MaxNLocator(6, integer=True))
