"""Cards of the objectives that ship: what each is, how it came to be, and what it does, in the files themselves.

    python -m experiments.cards     # writes them; `metaobj show pretrained:NAME` tells them

Disco103's card goes into its file where its weights are converted (`disco/convert.py`).
"""

from pathlib import Path

from experiments.script import run_script
from metaobj.common.objectives import file

CORES = "two cores of an AMD EPYC, no accelerator; Python 3.11, jax 0.10.2"
SHARED = {"licence": "Apache-2.0", "hardware": CORES, "seed": "0"}

CARDS: dict[str, dict[str, str]] = {
    "lpg-cpu": {
        "title": "LPG, trained on many kinds of worlds from a hand-written rule and held to it",
        "trained_on": "carry: small grids that pay now and then, or pay or cost on every step, chains, the like seen "
        "by networks, two pendulums of varied physics; agents are tables and networks",
        "command": "python -m experiments.carry --rule pure --init pretrained:lpg-distilled --scale 1 --seconds 1700 "
        "--learning-rate 0.0005 --policy-entropy 0.02 --anchor 0.1",
        "starts_from": "pretrained:lpg-distilled",
        "steps": "540 meta-updates, 132 710 400 environment steps, 28 minutes on one core",
        "date": "2026-11-26",
        "results": "transfer-small@1, 16 seeds: final 0.941 [0.925, 0.954], area 0.838 [0.813, 0.859] (A2C 0.993, "
        "0.887; its start 0.940, 0.839). CartPole 402, Acrobot -96 (its start 402, -150). Unseen grids 1.000 (A2C "
        "1.000), held-out layouts 0.65 (0.64), noisy chains 0.74 to 0.86 (0.96 to 0.98). Bootstraps through y: 1.00 of "
        "optimal on chains of 24 to 48 steps.",
    },
    "lpg-tabular": {
        "title": "LPG for tables, trained on small worlds from noise; was called lpg-cpu before 2026-11-27",
        "trained_on": "small-layouts+tabular: layouts of 5x5 cells, five grids, random small worlds and four chains; "
        "agents are tables",
        "command": "metaobj train lpg --preset lpg-tabular",
        "steps": "1600 meta-updates, 221 184 000 environment steps, 9.7 minutes",
        "date": "2026-11-21",
        "results": "held-out-layouts@1, 64 seeds: final score 0.925 [0.891, 0.941], area 0.908 [0.864, 0.924] (tuned "
        "A2C 0.782, 0.745). Far from what it was trained on it is far behind: control@1, 12 seeds: final 0.05 (A2C "
        "0.98, PPO 0.99); bsuite@1: 0.92 (1.00, 1.00). It does not learn long chains reliably.",
    },
    "lpg-value-cpu": {
        "title": "LPG+V, which reads the agent's value function; held to A2C, as which it starts",
        "trained_on": "carry: small grids that pay now and then, or pay or cost on every step, chains, the like seen "
        "by networks, two pendulums of varied physics; agents are tables and networks",
        "command": "python -m experiments.carry --rule value --scale 1 --seconds 1500 --learning-rate 0.001 "
        "--policy-entropy 0.02 --policy-target 0.05",
        "starts_from": "A2C without an entropy bonus",
        "steps": "340 meta-updates, 83 558 400 environment steps, 25 minutes on one busy core",
        "date": "2026-11-26",
        "results": "transfer-small@1, 16 seeds: final 0.989 [0.985, 0.994], area 0.896 [0.888, 0.903] (A2C 0.993, "
        "0.887; its start, before any meta-update, 0.993, 0.913: what it carries is its start's doing). CartPole 495, "
        "Acrobot -83. Held-out layouts 0.74 (A2C 0.64), noisy chains 0.70 (0.97).",
    },
    "lpg-distilled": {
        "title": "LPG that says a hand-written actor-critic, distilled, without any meta-training",
        "trained_on": "agents that learn by the hand-written rule on carry: small grids, chains, pendulums of varied "
        "physics; tables and networks",
        "command": "python -m experiments.carry --rule pure --start actor-critic --scale 1 --seconds 1",
        "starts_from": "a hand-written actor-critic whose critic is y, by 1500 updates of regression",
        "steps": "0 meta-updates",
        "date": "2026-11-26",
        "results": "transfer-small@1, 16 seeds: final 0.940 [0.927, 0.949], area 0.839 [0.813, 0.861] (A2C 0.991, "
        "0.918). CartPole 402, Acrobot -150. Unseen grids 1.000 (A2C 1.000), held-out layouts 0.66 (0.64). Made before "
        "distillation had a stream of keys of its own: made again, it differs in its numbers.",
    },
    "metagenrl-demo": {
        "title": "MetaGenRL, trained on pendulums and point masses of varied physics",
        "trained_on": "small-control: pendulums and point masses of varied physics, 8 agents each",
        "command": "metaobj train metagenrl --preset metagenrl-demo",
        "steps": "3000 meta-updates, 480 000 environment steps, 11 minutes on one busy core",
        "date": "2026-11-26",
        "results": "small-control@1, 8 seeds, 1 is what tuned DDPG ends at: final 1.01 [0.99, 1.02], area 0.77 [0.73, "
        "0.81] (DDPG's area 0.82); the cart-pole swing-up, which it never saw, 0.98 [0.90, 1.04], area 0.73 (0.83). "
        "held-out-physics@1: 0.96 [0.88, 1.01] of what DDPG gains.",
    },
}


def write(folder: Path) -> None:
    """Give each file in the folder its card; all else of it stays."""
    for name, card in CARDS.items():
        path = folder / f"{name}{file.SUFFIX}"
        arrays, metadata = file.load(path)
        file.save(path, file.unflatten(arrays), {**metadata, "card": {**SHARED, **card}})


def main() -> None:
    """Into the files that ship."""
    write(Path(file.__file__).parent / "pretrained")


if __name__ == "__main__":
    run_script(main)
