"""An update by the public package `disco_rl`, timed; `experiments.benchmarks.disco` starts this in an interpreter that
has the package's requirements.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks.disco_work import WORKS, Work, made_up, serve


def updating(work: Work, agents: int) -> Any:
    """A function that takes one update of each of so many agents, by `vmap` where they are more than one, and keeps
    what they have become.
    """
    package, types, specs = map(import_module, ("disco_rl.agent", "disco_rl.types", "dm_env.specs"))
    settings = package.get_settings_disco()
    settings.learning_rate = 1e-2
    settings.net_settings.net_args.dense = work.hidden
    settings.net_settings.net_args.model_kwargs = {"head_mlp_hiddens": (work.units,), "lstm_size": work.units}
    agent = package.Agent(
        single_observation_spec=specs.Array((work.board, work.board), np.float32),
        single_action_spec=specs.BoundedArray((), np.int32, 0, work.actions - 1),
        agent_settings=settings,
        batch_axis_name=None,
    )
    file = np.load(Path(str(package.__file__)).parent / "update_rules/weights/disco_103.npz")
    weights: dict[str, dict[str, Any]] = {}
    for name in file.files:
        layer, _, part = name.rpartition("/")
        weights.setdefault(layer, {})[part] = jnp.asarray(file[name])

    def rollout(seed: int) -> Any:
        seen = made_up(work, seed)
        return types.ActorRollout(
            observations=seen.observations,
            actions=seen.actions,
            rewards=seen.rewards,
            discounts=~seen.ends,
            agent_outs={"logits": seen.logits},
            states={},
            logits=seen.logits,
        )

    def step(key: Any, rollout: Any, learner: Any, weights: Any) -> Any:
        return agent.learner_step(key, rollout, learner, {}, weights, False)[0]  # what is logged is left out

    keys = jax.random.split(jax.random.PRNGKey(0), agents)
    if agents == 1:
        run, learner, batch, key = jax.jit(step), agent.initial_learner_state(keys[0]), rollout(0), keys[0]
    else:
        run = jax.jit(jax.vmap(step, (0, 0, 0, None)))
        learner = jax.vmap(agent.initial_learner_state)(keys)
        batch, key = jax.tree.map(lambda *leaves: np.stack(leaves), *map(rollout, range(agents))), keys
    batch = jax.device_put(batch)

    def update() -> None:
        nonlocal learner
        learner = jax.block_until_ready(run(key, batch, learner, weights))

    return update


if __name__ == "__main__":
    name, number = sys.argv[1], int(sys.argv[2])
    serve(updating(WORKS[name], number), {"jax": jax.__version__})
