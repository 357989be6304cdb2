"""An agent in PyTorch that learns CartPole by an exported objective, beside the same agent whose targets the package
computes, and beside the package's own agents.

    python -m experiments.torch_cartpole

Needs PyTorch (`make test-torch` makes an environment that has it: `.venv-torch/bin/python`). All learn with the
settings that `metaobj compare` chose for the objective on `transfer-small`.
"""

import importlib.util
import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
import tyro
from torch import nn

from experiments.script import run_script
from metaobj import Rollout
from metaobj.common.command.exporting import write_module
from metaobj.common.evaluation import follow
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.files import atomic_write, make_folder
from metaobj.common.lifetimes.on_policy import ADVANTAGES_RATE, RETURNS_RATE
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.loading import load_objective

STEPS, ENVIRONMENTS, ACTIONS, HIDDEN = 20, 16, 2, 64
Targets = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@dataclass(frozen=True)
class Arguments:
    """CartPole by an exported objective."""

    objective: str = "pretrained:lpg-value-cpu"
    seeds: int = 2
    updates: int = 600
    """Of each agent, on 20 steps of 16 environments; 1500 in the suite."""
    learning_rate: float = 2e-3
    kl_weight: float = 0.5
    out: Path = Path("experiments/results/torch")


class CartPole:
    """A pole on a cart, in NumPy (Barto, Sutton & Anderson 1983): 1 for each step, 500 of them at most."""

    def __init__(self, number: int, seed: int):
        self.draw = np.random.default_rng(seed)
        self.state = self.draw.uniform(-0.05, 0.05, (number, 4))
        self.time = np.zeros(number, int)

    def step(self, action: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(true successors, whether the pole or the cart is lost, whether time is up); then ended ones begin anew."""
        x, speed, angle, turning = self.state.T
        pole, mass, both = 0.05, 0.1, 1.1  # mass times half the length, mass, with the cart's
        push = (np.where(action == 1, 10.0, -10.0) + pole * turning**2 * np.sin(angle)) / both
        spin = (9.8 * np.sin(angle) - np.cos(angle) * push) / (0.5 * (4 / 3 - mass * np.cos(angle) ** 2 / both))
        change = np.stack([speed, push - pole * spin * np.cos(angle) / both, turning, spin], -1)
        after = self.state + 0.02 * change
        self.time += 1
        lost = (np.abs(after[:, 0]) > 2.4) | (np.abs(after[:, 2]) > 12 * math.pi / 180)
        late = (self.time >= 500) & ~lost
        ended = lost | late
        self.state = np.where(ended[:, None], self.draw.uniform(-0.05, 0.05, after.shape), after)
        self.time[ended] = 0
        return after, lost, late


def network(*heads: int) -> nn.Sequential:
    """Two hidden layers, and small first outputs."""
    layers = [nn.Linear(4, HIDDEN), nn.Linear(HIDDEN, HIDDEN), nn.Linear(HIDDEN, sum(heads))]
    for layer, scale in zip(layers, (1.0, 1.0, 0.1), strict=True):
        nn.init.normal_(layer.weight, std=scale / math.sqrt(layer.in_features))
        nn.init.zeros_(layer.bias)
    return nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])


def live(targets: Targets, module: Any, arguments: Arguments, scaled: bool, seed: int) -> np.ndarray:
    """One agent's life: mean return of the episodes that ended in each of 100 parts of it, [100].

    `targets` gives what `module.targets` gives; all else is the module's.
    """
    torch.manual_seed(seed)
    world, sizes = CartPole(ENVIRONMENTS, seed), [ACTIONS, module.PREDICTION_SIZE]
    agent, critic = network(*sizes), network(1)
    # RMSProp with its bias corrected, as the package's agents have it.
    optimiser = torch.optim.Adam(agent.parameters(), arguments.learning_rate, betas=(0.0, 0.99), eps=1e-5)
    critic_optimiser = torch.optim.Adam(critic.parameters(), 0.03)
    square_of_returns = square_of_advantages = 0.0
    running = np.zeros(ENVIRONMENTS)
    ended_by_part: list[list[float]] = [[] for _ in range(100)]
    for update in range(arguments.updates):
        rows: list[tuple[Any, ...]] = []
        for _ in range(STEPS):
            state = torch.from_numpy(world.state).float()
            with torch.no_grad():
                logits = agent(state)[:, :ACTIONS]
                action = (logits - torch.log(-torch.log(torch.rand_like(logits)))).argmax(-1)
            after, lost, late = world.step(action.numpy())
            running += 1
            ended_by_part[100 * update // arguments.updates] += running[lost | late].tolist()
            running[lost | late] = 0
            rows.append((state, action, *map(torch.from_numpy, (after, lost, late))))
        state, action, after, terminated, truncated = (torch.stack(part) for part in zip(*rows, strict=True))
        after, reward = after.float(), torch.ones(STEPS, ENVIRONMENTS)
        with torch.no_grad():
            values, next_values = critic(state)[..., 0], critic(after)[..., 0]
            returns = lambda_returns(reward, terminated, truncated, next_values, module.DISCOUNT)
            square_of_returns = largest(square_of_returns, returns, RETURNS_RATE)
            unit = math.sqrt(square_of_returns) if scaled else 1.0
            square_of_advantages = largest(square_of_advantages, (returns - values) / unit, ADVANTAGES_RATE)
            next_prediction = agent(after).split(sizes, -1)[1]
        policy, prediction = agent(state).split(sizes, -1)
        given = (policy.detach(), prediction.detach(), next_prediction, action, reward / unit, terminated, truncated)
        told = targets(*given, values / unit, next_values / unit, torch.tensor(math.sqrt(square_of_advantages)))
        optimiser.zero_grad()
        module.loss(policy, prediction, action, told, arguments.kl_weight).backward()
        optimiser.step()
        critic_optimiser.zero_grad()
        (0.5 * (critic(state)[..., 0] - returns) ** 2).mean().backward()
        critic_optimiser.step()
    means, last = [], 0.0
    for part in ended_by_part:
        last = float(np.mean(part)) if part else last
        means.append(last)
    return np.asarray(means)


def largest(before: float, values: torch.Tensor, rate: float) -> float:
    """A running mean square that rises at once and falls slowly, see `common.experience.returns.running_square`."""
    now = float((values**2).mean())
    return max(now, before + rate * (now - before))


def lambda_returns(
    reward: torch.Tensor, terminated: torch.Tensor, truncated: torch.Tensor, next_values: torch.Tensor, discount: float
) -> torch.Tensor:
    """What the critic learns, lambda = 0.95."""
    returns, following = [], next_values[-1]
    for t in reversed(range(STEPS)):
        ahead = torch.where(terminated[t] | truncated[t], next_values[t], 0.05 * next_values[t] + 0.95 * following)
        following = reward[t] + discount * torch.where(terminated[t], 0.0, ahead)
        returns.append(following)
    return torch.stack(returns[::-1])


def main() -> None:
    """Run all agents; leave a JSON file and a table."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(1)
    loaded = load_objective(arguments.objective)
    interface, reads_values = loaded.plugin.interface(loaded), loaded.objective.config.value_inputs
    with tempfile.TemporaryDirectory() as folder:
        path, _ = write_module(loaded, "torch", Path(folder) / "exported.py")
        spec = importlib.util.spec_from_file_location("exported", path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)

    def exported(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return module.targets(*(given if reads_values else given[:7]))

    @jax.jit
    def ours(policy: Any, prediction: Any, following: Any, action: Any, reward: Any, *rest: Any) -> Any:
        terminated, truncated, values, next_values, size = rest
        rollout = Rollout(reward, action, reward, terminated, truncated, reward)
        heads, next_heads = {"policy": policy, "prediction": prediction}, {"policy": policy, "prediction": following}
        return interface.targets(heads, next_heads, rollout, values=(values, next_values), advantage_size=size)

    def by_jax(*given: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        pi_hat, log_y_hat = ours(*(jnp.asarray(one.numpy()) for one in given))
        return torch.from_numpy(np.array(pi_hat)), torch.from_numpy(np.array(log_y_hat))

    make_folder(arguments.out)
    path = arguments.out / f"{follow.slug(arguments.objective.partition(':')[2])}.json"
    settings = {key: str(value) for key, value in vars(arguments).items() if key != "out"}
    found: dict[str, Any] = {}

    def note(name: str, curves: np.ndarray, began: float) -> None:
        found[name] = told(curves, time.time() - began)
        atomic_write(path, json.dumps({"settings": settings, "agents": found}, indent=1) + "\n")
        print(f"{name:32} final {found[name]['final']}  area {found[name]['area']}", flush=True)

    scaled = loaded.config.value.scale_rewards
    for name, targets in (("PyTorch, exported module", exported), ("PyTorch, the package's targets", by_jax)):
        began, curves = time.time(), []
        for seed in range(arguments.seeds):
            curves.append(live(targets, module, arguments, scaled, seed))
            note(name, np.stack(curves), began)
    began = time.time()
    entry = next(one for one in make_suite("transfer-small") if one.environment == "CartPole-v1")
    setting = {"learning_rate": arguments.learning_rate, "kl_weight": arguments.kl_weight}
    entry = replace(entry, updates=arguments.updates)
    seen = follow.follow(learned(loaded), entry, setting, arguments.seeds)
    note("JAX, the package's agents", seen.values[follow.RETURN], began)


def told(curves: np.ndarray, seconds: float) -> dict[str, Any]:
    """Of each seed: mean return in the last tenth of its life, over its life, and its curve [seeds, 100]."""
    return {
        "final": np.round(curves[:, -10:].mean(1), 1).tolist(),
        "area": np.round(curves.mean(1), 1).tolist(),
        "seconds": round(seconds),
        "returns": np.round(curves, 1).tolist(),
    }


if __name__ == "__main__":
    run_script(main)
