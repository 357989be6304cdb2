"""What an anchor's curves amount to, and the page that says it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from experiments.anchors.catalogue import ANCHORS, SOURCES, Anchor, Contestant
from experiments.anchors.measure import Curves, load
from metaobj.common.evaluation.bootstrap import Interval, stratified_bootstrap
from metaobj.common.evaluation.statistics import mean
from metaobj.common.files import atomic_write


@dataclass(frozen=True, eq=False)
class Summary:
    """Of one setting's curves, over its seeds. A diverged agent has the worst return that any of them had."""

    final: Interval
    """Mean of the last bin."""
    best: float
    """Highest mean of a bin."""
    area: float
    """Mean over all bins."""
    diverged: int

    def __str__(self) -> str:
        lost = f", {self.diverged} diverged" if self.diverged else ""
        return f"{_interval(self.final)}, best bin {self.best:.4g}, area {self.area:.4g}{lost}"

    def inside(self, anchor: Anchor, contestant: Contestant) -> bool:
        """Whether the last bin reaches the bar and has kept what it must of the best one."""
        assert contestant.bar is not None
        kept = anchor.keeps is None or self.final.point >= anchor.keeps * self.best
        return bool(self.final.point >= contestant.bar and kept)


def summarise(curves: Curves) -> Summary:
    """Final mean with a 95 % bootstrap interval over seeds, best bin, area."""
    returns = np.where(curves.diverged, np.nan, curves.returns)
    returns = np.where(np.isfinite(returns), returns, np.nanmin(returns))
    by_bin = returns.mean(0)
    final = stratified_bootstrap(returns[None, :, -1], mean)
    return Summary(final, float(by_bin.max()), float(by_bin.mean()), int(curves.diverged[:, -1].sum()))


def chosen(curves: list[Curves]) -> Curves:
    """The setting with the best sum of final and mean return, as the evaluation tunes."""
    return max(curves, key=lambda one: float(summarise(one).final.point) + summarise(one).area)


def write_page(folder: Path) -> None:
    """README.md of all tables in the folder; what none of them holds is told to be missing."""
    lines = [_HEAD]
    for name, anchor in ANCHORS.items():
        path = folder / f"{name}.csv"
        measured = load(path) if path.exists() else []
        for contestant in anchor.contestants:
            own = [one for one in measured if one.method == contestant.method.name]
            published = "; ".join(f"{what} ([{source}]({SOURCES[source]}))" for what, source in anchor.published)
            cells = [anchor.entry.environment, contestant.method.name, *_cells(own)]
            lines.append("| " + " | ".join([*cells, published, _verdict(anchor, contestant, own)]) + " |")
    atomic_write(folder / "README.md", "\n".join(lines) + "\n")


def _cells(curves: list[Curves]) -> list[str]:
    """Steps, seeds, setting, final, best bin, area."""
    if not curves:
        return ["not measured", *5 * [""]]
    one = chosen(curves)
    summary = summarise(one)
    steps, setting = f"{one.env_steps[-1]:,}".replace(",", " "), one.setting.replace(" ", ", ")
    figures = (_interval(summary.final), f"{summary.best:.4g}", f"{summary.area:.4g}")
    return [steps, str(len(one.returns)), setting, *figures]


def _verdict(anchor: Anchor, contestant: Contestant, curves: list[Curves]) -> str:
    if contestant.bar is None:
        return "no bar"
    if not curves:
        return f"{contestant.bar:g}"
    best = summarise(chosen(curves)).inside(anchor, contestant)
    inside = sum(summarise(one).inside(anchor, contestant) for one in curves)
    return f"{contestant.bar:g}: {'yes' if best else '**no**'} ({inside} of {len(curves)})"


def _interval(interval: Interval) -> str:
    return f"{interval.point:.4g} [{interval.low:.4g}, {interval.high:.4g}]"


_HEAD = """# Anchors

The hand-written methods against figures that others have published for the same budget, so that what learned objectives
are compared with is known to be at full strength. `python -m experiments.anchors all` runs everything; curves of each
agent are in the tables beside this page.

- Budgets are environment steps over all parallel environments of an agent.
- A row is the setting with the best sum of final and mean return of those in its table; the same seeds have chosen and
  judged it. How many settings reach the bar is told beside it.
- *Final* is the last bin, a mean over seeds with a 95 % bootstrap interval; *best bin* the highest mean of a bin;
  *area* the mean over the whole life. On-policy agents are taken as they act, with all exploration, by the episodes
  that ended in a bin (about a twenty-fourth of the life); TD3 and DDPG are tested without noise in eight episodes.
- Published figures of gymnax-blines are of one run each, read from the logs in its repository; those of RL Zoo are of
  one trained agent without noise.
- gymnax-blines plays MinAtar with two dense layers of 256, 64 environments and a discount of 0.999; here it is one
  convolution of 16 channels and a layer of 128, 16 environments and 0.99.
- Brax's hopper has no published figure for this backend (spring of Brax 0.14) and these methods, so no bar; what there
  is was measured on other simulators and tells an order of magnitude at most.

| environment | method | env steps | seeds | setting | final | best bin | area | published | bar: reached (settings) |
|---|---|---|---|---|---|---|---|---|---|"""
