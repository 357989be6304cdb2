"""What an objective of this kind does with rewards to come, and through which predictions it looks beyond a rollout."""

from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.agents.agent import Heads, log_probability
from metaobj.common.experience.batches import Batch
from metaobj.common.files import make_folder, write_csv
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.common.pictures.style import COLOURS, grid_of_panels, save_figure, set_title, style_panel
from metaobj.common.types import PyTree, Rollout
from metaobj.disco.agent import before_and_after
from metaobj.disco.config import DiscoTraining
from metaobj.disco.network import Said
from metaobj.disco.objective import Disco
from metaobj.disco.scalars import squash, two_hot

STEPS, ROLLOUTS, ACTIONS = 20, 64, 3
PAID = (0, 4, 9, 14, 19)
"""Steps that are paid for, one at a time."""
CUTS = ("q", "y", "z")


def inspect(loaded: Loaded[DiscoTraining, Disco], folder: Path) -> Inspection:
    """Write reach.png and inspection.csv: how far back a reward moves the policy's targets, and how the target of the
    last step moves with what is predicted of the state after it.
    """
    make_folder(folder)
    rule, eta = loaded.objective, loaded.eta
    reach = np.asarray(reaches(rule, eta))  # [len(PAID), T]
    beyond = {name: float(value) for name, value in sight(rule, eta).items()}
    figure, (panel, bars) = grid_of_panels(2, 5.2, 3.2, 2)
    for at, row in zip(PAID, reach, strict=True):
        panel.plot(np.arange(STEPS), row, marker="o", markersize=3, linewidth=1.2, label=f"reward at step {at}")
    panel.legend(frameon=False, fontsize=8)
    style_panel(panel, "how a reward moves the policy's targets", "step of the rollout", "change of log pi_hat(a)")
    bars.barh(list(beyond), list(beyond.values()), color=COLOURS[0], height=0.6)
    bars.invert_yaxis()
    style_panel(bars, "and a better outlook after the last step", "change of log pi_hat(a)", grid_axis="x")
    set_title(
        figure, loaded.plugin.name_of(rule), f"means of {ROLLOUTS} rollouts of a fresh agent with {ACTIONS} actions"
    )
    save_figure(figure, folder / "reach.png")
    rows: list[tuple[str, int, int, float]] = []
    rows += [("reward", at, step, float(x)) for at, row in zip(PAID, reach, strict=True) for step, x in enumerate(row)]
    rows += [(name, STEPS, STEPS - 1, value) for name, value in beyond.items()]
    write_csv(folder / "inspection.csv", ("of", "moved_at", "target_of_step", "change"), rows)
    through = max(beyond, key=lambda name: abs(beyond[name]))
    verdict = (
        f"a reward moves the target of its step by {reach[-1, -1]:+.2f}, of the one before by {reach[-1, -2]:+.2f}, "
        f"of ten steps before by {reach[-1, -11]:+.2f}",
        "what is foretold of the state after a rollout moves the last target: "
        + ", ".join(f"{name} by {value:+.3f}" for name, value in beyond.items())
        + f"; most of all {through}",
    )
    return Inspection([folder / "reach.png", folder / "inspection.csv"], verdict)


def _rollout(rule: Disco, key: jax.Array) -> tuple[Heads, Batch]:
    """Heads of a fresh agent at T + 1 time steps and steps that paid nothing."""
    action_key, *keys = jax.random.split(key, 6)
    sizes = rule.heads(ACTIONS)
    shape = (STEPS + 1, ROLLOUTS)
    heads = {
        "policy": jnp.zeros((*shape, ACTIONS)),
        "y": 0.1 * jax.random.normal(keys[0], (*shape, sizes["y"])),
        "z": 0.1 * jax.random.normal(keys[1], (*shape, ACTIONS, sizes["z"])),
        "q": jnp.log(two_hot(squash(0.1 * jax.random.normal(keys[2], (*shape, ACTIONS)))) + 1e-6),
        "next_policy": jnp.zeros((*shape, ACTIONS, ACTIONS)),
    }
    nothing, never = jnp.zeros((STEPS, ROLLOUTS)), jnp.zeros((STEPS, ROLLOUTS), bool)
    action = jax.random.randint(action_key, (STEPS, ROLLOUTS), 0, ACTIONS)
    rollout = Rollout(nothing, action, nothing, never, never, nothing)
    mu = jnp.full((STEPS, ROLLOUTS, ACTIONS), -jnp.log(float(ACTIONS)))
    return heads, Batch.of(rollout, behaviour=mu, memory=rule.first_memory())


def _said(rule: Disco, eta: PyTree, heads: Heads, batch: Batch) -> Said:
    return rule.targets(eta, *before_and_after(heads, heads), batch)[0].said


def _targets(rule: Disco, eta: PyTree, heads: Heads, batch: Batch) -> jax.Array:
    """Log pi_hat(a) [T, ROLLOUTS]."""
    return log_probability(_said(rule, eta, heads, batch).policy, batch.rollout.action)


def reaches(rule: Disco, eta: PyTree) -> jax.Array:
    """How a reward of 1 at each of the steps in `PAID` moves log pi_hat(a) in the half of the rollouts that have it,
    against the other half, [len(PAID), T].
    """
    heads, batch = _rollout(rule, jax.random.key(0))

    @jax.jit  # what it is given is no constant of it: compiling would fold them
    def said(at: jax.Array, eta: PyTree, heads: Heads, batch: Batch) -> jax.Array:
        reward = jnp.where((jnp.arange(STEPS)[:, None] == at) & _half(), 1.0, 0.0)
        return _targets(rule, eta, heads, batch._replace(rollout=batch.rollout._replace(reward=reward)))

    without = said(jnp.asarray(-1), eta, heads, batch)
    return jnp.stack([_apart(said(jnp.asarray(at), eta, heads, batch) - without) for at in PAID])


def sight(rule: Disco, eta: PyTree) -> Mapping[str, jax.Array]:
    """How log pi_hat(a) of the last step moves in the half of the rollouts whose last state promises more, against the
    other half: by an action value of 1, or by the y or z that a step is to have whose action was paid 1.
    """
    heads, batch = _rollout(rule, jax.random.key(1))
    paid = jnp.where((jnp.arange(STEPS)[:, None] == STEPS - 1) & _half(), 1.0, 0.0)
    told = _said(rule, eta, heads, batch._replace(rollout=batch.rollout._replace(reward=paid)))

    def better(target: jax.Array, head: jax.Array) -> jax.Array:
        return jnp.broadcast_to(jnp.mean(target[-1, ::2], 0), head[-1].shape)

    new = {
        "q": jnp.log(two_hot(squash(jnp.ones((ROLLOUTS, ACTIONS)))) + 1e-6),
        "y": better(told.y, heads["y"]),
        "z": better(told.z, heads["z"]),
    }
    without = _targets(rule, eta, heads, batch)
    found = {}
    for name in CUTS:
        where = _half()[0].reshape(-1, *(1,) * (heads[name].ndim - 2))
        changed = {**heads, name: heads[name].at[-1].set(jnp.where(where, new[name], heads[name][-1]))}
        found[name] = _apart(_targets(rule, eta, changed, batch) - without)[-1]
    return found


def _half() -> jax.Array:
    """Every second rollout, [1, ROLLOUTS]."""
    return (jnp.arange(ROLLOUTS) % 2 == 0)[None]


def _apart(moved: jax.Array) -> jax.Array:
    """[T, ROLLOUTS] as the mean of that half less the mean of the other, [T]."""
    return jnp.mean(moved[:, ::2], 1) - jnp.mean(moved[:, 1::2], 1)
