"""What makes LPG's rule carry, at a size that two cores can repeat: parts, starts, numbers of worlds, meta-updates.

    python -m experiments.carry_study [parts|starts|worlds ...] [--seeds 3] [--only NAME ...]

Rules are meta-trained with tables alone, on small grids and Markov chains, from several seeds. Then fresh agents learn
by each frozen rule: in held-out chains (plain ones, and costly ones, in which the policy is not free to keep a value),
in held-out layouts, and with networks in Catch, which is like no training world. Each rule has the best learning rate
of four on each task, told by other agents than those whose scores stand in the table.

The table, `study.csv`, grows with every rule; what stands in it is not done again. Pictures and the page are made of
all of it at the end.
"""

import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args

import jax
import numpy as np
import tyro
from rich.console import Console

from experiments.carry_page import Row, read_rows, write_page
from metaobj.common.devices import use_all_cores
from metaobj.common.errors import UserError
from metaobj.common.evaluation.baselines import A2C_RATES, a2c
from metaobj.common.evaluation.curves import final_score
from metaobj.common.evaluation.statistics import area_under_curve
from metaobj.common.evaluation.training import train_agents
from metaobj.common.evaluation.worlds import DrawnWorlds, draw_worlds
from metaobj.common.files import write_csv
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import CONTROL_DENSE, TABULAR_RATES, Entry
from metaobj.common.lifetimes.population import Family, make_families
from metaobj.common.objectives.file import kept
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import make_trainer, meta_train, save_objective
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.meta_loss import MetaLossConfig
from metaobj.lpg.objective import LPG, LPGConfig
from metaobj.lpg.plugin import plugin
from metaobj.lpg.programs import programs

Part = Literal["parts", "starts", "worlds"]

_GRIDS = "grid/small_layouts+grid/random_small_worlds"
_CHAINS = "chain/long+chain/long_costly"
BASE = LPGTraining(
    distribution=f"{_GRIDS}+{_CHAINS}",
    scale=8,
    meta_updates=200,
    log_every=20,
    checkpoint_every=100,
    discount=0.99,
    network=LPGConfig(units=32, prediction_size=16),
    meta_loss=MetaLossConfig(policy_entropy=0.05, scale_advantages=True),
    value=replace(LPGTraining().value, learning_rate=3e-2, scale_rewards=True),
)
_AS_PAID = replace(BASE.meta_loss, scale_advantages=False)
PARTS: dict[str, LPGTraining] = {
    "as it is": BASE,
    "the rule does not read y": replace(BASE, network=replace(BASE.network, bootstrap=False)),
    "agents do not learn y": replace(BASE, kl_weights=(0.0,)),
    "rewards to go in the meta-loss": replace(BASE, meta_loss=replace(BASE.meta_loss, use_value=False)),
    "rewards as they are paid": replace(BASE, meta_loss=_AS_PAID, value=replace(BASE.value, scale_rewards=False)),
    "layouts alone": replace(BASE, distribution="grid/small_layouts", scale=32),
    "K = 1": replace(BASE, inner_updates=1),
    "no b0": replace(BASE, meta_loss=replace(BASE.meta_loss, policy_entropy=0.0)),
    "looks 5 updates ahead, no b0": replace(BASE, meta_loss=replace(BASE.meta_loss, policy_entropy=0.0, look_ahead=5)),
}
START = "START"
"""Stands for the file that the start is kept in."""
STARTS: dict[str, LPGTraining] = {
    "meta-training alone": BASE,
    "from the start": replace(BASE, init=START),
    "from the start, held to it": replace(BASE, init=START, meta_loss=replace(BASE.meta_loss, anchor=0.1)),
    "reads V, starts as A2C": replace(
        BASE,
        network=replace(BASE.network, value_inputs=True),
        meta_loss=replace(BASE.meta_loss, policy_entropy=0.02),
    ),
}
WORLDS = (4, 16, 64, 256, 1024)
GROWTH = replace(BASE, distribution="grid/any_small+grid/random_small_worlds", scale=16, checkpoint_every=40)
"""Of as many worlds as there are, to see what more of them is for."""

RATES = {"tabular": TABULAR_RATES, "dense": A2C_RATES}
KL_WEIGHT = 0.5


class Task(NamedTuple):
    """What fresh agents learn in."""

    entry: Entry
    tuning: int
    """Agents for each rate that choose it."""
    agents: int
    """Agents that are scored."""


_RMSPROP = replace(CONTROL_DENSE, optimiser="rmsprop")
TASKS: dict[str, Task] = {
    "plain chains": Task(Entry("chain/long", split="held_out"), 2, 6),
    "costly chains": Task(Entry("chain/long_costly", split="held_out"), 2, 6),
    "layouts": Task(Entry("grid/small_layouts", split="held_out"), 4, 16),
    "Catch": Task(Entry("Catch-bsuite", updates=250, agent=_RMSPROP, split="any"), 1, 3),
}
BINS = 10


@dataclass(frozen=True)
class Arguments:
    """Studies of what carries."""

    parts: Annotated[tuple[Part, ...], tyro.conf.Positional] = get_args(Part)
    """Which of them."""
    seeds: int = 3
    """Meta-training seeds."""
    only: tuple[str, ...] = ()
    """Only these variants."""
    out: Path = Path("experiments/results/carry/study")
    """Folder of the table and the pictures."""


class Judge:
    """Fresh agents on all tasks; what is compiled for one rule serves others of the same network."""

    def __init__(self) -> None:
        self._families: dict[tuple[str, Any], Family[Any]] = {}
        self._worlds: dict[str, DrawnWorlds] = {}

    def scores(
        self, rule: Any, weights: Any, make: Any, hyperparameters: Mapping[str, float]
    ) -> Iterator[tuple[str, float, float, float]]:
        """(task, best rate, final, area) for each task."""
        for name, task in TASKS.items():
            (family,) = make_families([task.entry], make)
            family = self._families.setdefault((name, family.program), family)
            if name not in self._worlds:
                key = stream(0, "evaluation")
                self._worlds[name] = draw_worlds(family, name, key, task.tuning + task.agents)
            rates = RATES[task.entry.agent.torso]
            settings = [{"learning_rate": rate, **hyperparameters} for rate in rates]
            key = stream(1, "evaluation")
            record = train_agents(rule, weights, family, self._worlds[name], task.entry.updates, settings, key, BINS)
            scores = record.scores.reshape(len(rates), -1, BINS)
            scores = np.where(np.isfinite(scores), scores, 0.0)
            best = int(np.argmax(scores[:, : task.tuning].mean((1, 2))))
            judged = scores[best, task.tuning :]
            yield name, rates[best], float(final_score(judged).mean()), float(area_under_curve(judged).mean())


def programs_of(config: LPGTraining) -> tuple[LPG, Any]:
    """The rule as agents see it, without what only meta-training reads, and how they live."""
    rule = LPG(config.network)
    return rule, programs(replace(config, meta_loss=MetaLossConfig()), rule)


def start_of(out: Path) -> Path:
    """The hand-written rule, distilled once for all."""
    path = out / "start.safetensors"
    if not path.exists():
        config = replace(BASE, start="actor-critic", start_updates=1000)
        trainer = make_trainer(plugin, config)
        say("distilling the start")
        assert plugin.start is not None
        eta = plugin.start(trainer, Console())
        out.mkdir(parents=True, exist_ok=True)
        save_objective(path, plugin, trainer, replace(trainer.init(), eta=eta), 0)
    return path


def runs(part: Part, out: Path) -> Iterator[tuple[str, LPGTraining]]:
    """The variants of a part."""
    if part == "parts":
        yield from PARTS.items()
    elif part == "starts":
        for name, config in STARTS.items():
            yield name, replace(config, init=str(start_of(out))) if config.init == START else config
    else:
        for worlds in WORLDS:
            yield f"{worlds}", replace(GROWTH, worlds=worlds)


def baseline(judge: Judge) -> list[Row]:
    """A2C, with the entropy weight of three that is best for the very agents that are scored."""
    method = a2c(BASE.rollout_steps, BASE.discount, BASE.value)
    found: dict[str, list[Row]] = defaultdict(list)
    for entropy_weight in (0.0, 0.01, 0.1):
        settings = {"entropy_weight": entropy_weight, "critic_learning_rate": 0.03}
        for name, rate, final, area in judge.scores(method.rule, (), method.programs, settings):
            found[name].append(Row("baseline", "A2C", 0, 0, name, rate, final, area, 0.0))
    return [max(rows, key=lambda row: row.final) for rows in found.values()]


def main() -> None:
    """Run what is missing."""
    arguments = tyro.cli(Arguments, description=__doc__)
    use_all_cores()
    known = [*PARTS, *STARTS, *map(str, WORLDS)]
    if unknown := [name for name in arguments.only if name not in known]:
        raise UserError(f"only: {unknown[0]!r} given; choose from {', '.join(known)}")
    table = arguments.out / "study.csv"
    rows = read_rows(table)
    judge = Judge()

    def save() -> None:
        write_csv(table, Row._fields, rows)

    if not rows:
        rows += baseline(judge)
        save()
    for part in arguments.parts:
        for seed in range(arguments.seeds):
            for variant, config in runs(part, arguments.out):
                if arguments.only and variant not in arguments.only:
                    continue
                if any((row.part, row.variant, row.seed) == (part, variant, seed) for row in rows):
                    continue
                rows += study(judge, part, variant, replace(config, seed=seed), rows)
                save()
    write_page(arguments.out)
    say(f"{arguments.out / 'README.md'} written")


def study(judge: Judge, part: Part, variant: str, config: LPGTraining, rows: Sequence[Row]) -> list[Row]:
    """Meta-train, and let fresh agents learn by what was learnt at each checkpoint."""
    if replace(config, seed=0) == BASE:  # it has two names
        names = ("as it is", "meta-training alone")
        if same := [row for row in rows if row.variant in names and row.seed == config.seed]:
            return [row._replace(part=part, variant=variant) for row in same]
    found = []
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        begun = time.monotonic()
        outcome = meta_train(plugin, config, run)
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        seconds = time.monotonic() - begun
        steps = range(config.checkpoint_every, config.meta_updates + 1, config.checkpoint_every)
        if part != "starts" and replace(config, seed=0) != BASE and config.worlds != max(WORLDS):
            steps = steps[-1:]
        weights = {step: load_objective(kept(run, step)).eta for step in steps}
        if config.seed == 0 and config.init:  # it is the same for all seeds
            weights[0] = load_objective(config.init).eta
        elif config.seed == 0 and config.network.value_inputs:
            weights[0] = jax.device_get(make_trainer(plugin, config).init().eta)
    rule, make = programs_of(config)
    hyperparameters = {"kl_weight": KL_WEIGHT if any(config.kl_weights) else 0.0}
    for step, eta in sorted(weights.items()):
        for name, rate, final, area in judge.scores(rule, eta, make, hyperparameters):
            scores = (round(final, 4), round(area, 4), round(seconds, 1))
            found.append(Row(part, variant, config.seed, step, name, rate, *scores))
    last = {row.task: row.final for row in found if row.step == config.meta_updates}
    say(
        f"{part}, {variant}, seed {config.seed}: {seconds:.0f} s; " + ", ".join(f"{t} {f:.2f}" for t, f in last.items())
    )
    return found


def say(line: str) -> None:
    """At once, so that it is there when the study is cut off."""
    print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"error: {error}") from None
