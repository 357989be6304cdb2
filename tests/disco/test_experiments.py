"""What the experiments with Disco compare is comparable."""

import pytest

from experiments.benchmarks.disco import ratios
from experiments.benchmarks.disco_work import WORKS, made_up
from experiments.disco_study import TUNED, VARIANTS, untrained, variant
from metaobj.common.lifetimes.distributions import make_distribution


def steps_of(name: str, meta_updates: int) -> int:
    """Environment steps of a variant's meta-training."""
    plugin, trained = variant(name, meta_updates)
    config = trained.config
    entries = make_distribution(config.distribution, config.scale, plugin.distributions)
    at_once = sum(entry.lifetimes * entry.num_environments for entry in entries) * config.rollout_steps
    assert config.meta_updates % config.log_every == 0
    return at_once * (config.inner_updates + 1) * config.meta_updates


@pytest.mark.parametrize("meta_updates", [4, 60])
def test_all_variants_are_trained_for_as_many_steps(meta_updates):
    assert len({steps_of(name, meta_updates) for name in VARIANTS}) == 1


def test_what_goes_on_from_the_published_weights_begins_where_they_are_compared():
    _, trained = variant(TUNED, 4)
    method = untrained("Disco103")
    assert trained.config.init == "pretrained:disco103" and trained.config.network == method.rule.config


def test_work_is_the_same_for_all_who_ask():
    one, same, other = (made_up(WORKS["small"], seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(one, same, strict=True))
    assert (one.actions != other.actions).any()
    assert (one.rewards != 0).sum() == one.ends.sum()


def test_ratios_are_of_steps_for_each_second():
    rows = {
        "here, 1": {"agents": 1, "steps_per_cpu_second": 30.0},
        "public, 1": {"agents": 1, "steps_per_cpu_second": 20.0},
        "here, 32": {"agents": 32, "steps_per_cpu_second": 80.0},
        "public, 32": {"agents": 32, "steps_per_cpu_second": 40.0},
    }
    wanted = {"1 here to 1 public": 1.5, "32 here to 1 public": 4.0, "32 here to 32 public, by vmap": 2.0}
    assert ratios(rows) == wanted
    assert ratios({name: row for name, row in rows.items() if name.startswith("here")}) == {}
