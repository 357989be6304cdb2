"""The anchors of the hand-written methods: their bookkeeping, and (slow) whether the methods reach their bars."""

from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

from experiments.anchors.catalogue import ANCHORS, GROUPS, ROLLOUT, SOURCES, Anchor, Contestant
from experiments.anchors.measure import Curves, load, measure, save, shortened
from experiments.anchors.page import chosen, summarise, write_page
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.evaluation.baselines import discrete_ppo
from metaobj.common.evaluation.checks import check_steps
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.lifetimes.distributions import CONTROL_CONV, CONTROL_DENSE, CONV, DENSE, Entry, make_distribution
from metaobj.common.lifetimes.population import make_families


def curves(returns, setting="learning_rate=0.001", diverged=False):
    returns = np.array(returns, float)
    steps = 320 * np.arange(1, returns.shape[1] + 1)
    return Curves("PPO", "CartPole-v1", setting, steps, returns, np.full(returns.shape, diverged))


def test_summary_by_hand():
    summary = summarise(curves([[1, 5, 2], [3, 7, 4]]))
    assert (float(summary.final.point), summary.best, summary.area) == (3.0, 6.0, pytest.approx(22 / 6))
    assert summary.final.low < 3.0 < summary.final.high and summary.diverged == 0


def test_a_diverged_agent_has_the_worst_return():
    one = curves([[1, 5, np.nan], [3, 7, 4]])
    one.diverged[0, 2] = True
    summary = summarise(one)
    assert float(summary.final.point) == 2.5 and summary.diverged == 1


def test_inside_the_bar():
    anchor, contestant = ANCHORS["cartpole"], ANCHORS["cartpole"].contestants[0]
    assert contestant.bar == 450 and anchor.keeps == 0.8
    assert summarise(curves([[20, 500, 460]])).inside(anchor, contestant)
    assert not summarise(curves([[20, 500, 440]])).inside(anchor, contestant)
    assert not summarise(curves([[20, 500, 460]])).inside(replace(anchor, keeps=0.95), contestant)
    negative = replace(contestant, bar=-100.0)
    assert summarise(curves([[-500, -80, -90]])).inside(replace(anchor, keeps=None), negative)


def test_the_setting_is_chosen_as_in_tuning():
    late, early, slow = curves([[0, 0, 9]], "a"), curves([[8, 8, 8]], "b"), curves([[0, 4, 8]], "c")
    assert chosen([late, early, slow]) is early


def test_curves_are_kept_whole(tmp_path):
    one, other = curves([[1, 2.5], [3, 4]], "a=1 b=2"), curves([[5, 6], [7, np.nan]], "a=2 b=2", diverged=True)
    save(tmp_path / "cartpole.csv", [one, other])
    for kept, was in zip(load(tmp_path / "cartpole.csv"), (one, other), strict=True):
        assert (kept.method, kept.environment, kept.setting) == (was.method, was.environment, was.setting)
        for field in ("env_steps", "returns", "diverged"):
            np.testing.assert_array_equal(getattr(kept, field), getattr(was, field))


def test_the_page_tells_the_bar_and_what_is_published(tmp_path):
    save(tmp_path / "cartpole.csv", [curves([[20, 500, 460]], "a=1 b=2"), curves([[20, 500, 90]], "a=2 b=2")])
    write_page(tmp_path)
    lines = (tmp_path / "README.md").read_text().splitlines()
    missing, row = (line for line in lines if line.startswith("| CartPole"))
    assert "| A2C | not measured |" in missing and missing.endswith("| 450 |")
    for told in ("| PPO |", "| 960 |", "a=1, b=2", "460 [460, 460]", "450: yes (1 of 2)", SOURCES["CleanRL"]):
        assert told in row, row


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "hopper" else name for name in ANCHORS]
)
def test_an_anchor_is_whole(name):
    """Its methods live equally long, its settings are of those that evaluations tune over, its sources are named."""
    anchor = ANCHORS[name]
    assert all(source in SOURCES for _, source in anchor.published)
    for contestant in anchor.contestants:
        grid = contestant.method.grid(anchor.entry.agent)
        assert list(contestant.settings) == list(grid)
        assert all(set(values) <= set(grid[name]) for name, values in contestant.settings.items())
    if anchor.entry.environment.startswith("brax/") and find_spec("brax") is None:
        pytest.skip("needs Brax")
    check_steps([contestant.method for contestant in anchor.contestants], [anchor.entry])
    for contestant in anchor.contestants:
        (family,) = make_families([anchor.entry], contestant.method.programs)
        assert contestant.method.updates(anchor.entry, family.program) >= anchor.bins


def test_groups_name_anchors():
    assert all(name in ANCHORS for names in GROUPS.values() for name in names)


def test_a_shorter_budget():
    entry = shortened(ANCHORS["cartpole"], 20_000).entry
    assert entry.updates * ROLLOUT * entry.num_environments == 15_360  # two updates for each of 24 bins


@pytest.mark.slow
@pytest.mark.usefixtures("quick_compilation")
def test_settings_and_seeds_are_agents_of_one_program():
    """Agents that do not learn have a third of the pay; the others more."""
    method = discrete_ppo(ROLLOUT)
    entry = Entry("tests.worlds:OBSERVED_LESSON", num_environments=8, updates=192, agent=AgentConfig("dense", (16,)))
    contestant = Contestant(method, {"learning_rate": (0.0, 3e-3), "entropy_weight": (0.01,)})
    still, learns = measure(Anchor(entry, (contestant,), (), bins=6), method, contestant.combinations, seeds=2)
    assert (still.setting, learns.setting) == (
        "learning_rate=0 entropy_weight=0.01",
        "learning_rate=0.003 entropy_weight=0.01",
    )
    assert still.returns.shape == learns.returns.shape == (2, 6) and learns.env_steps[-1] == 192 * 20 * 8
    assert (still.returns < 1.7).all() and (learns.returns[:, -1] > 2.7).all()


def test_what_is_evaluated_has_the_networks_of_the_field():
    for name, evaluated, trained in (
        ("MountainCar-v0", CONTROL_DENSE, DENSE),
        ("Seaquest-MinAtar", CONTROL_CONV, CONV),
    ):
        assert make_suite(name)[0].agent == evaluated and make_distribution(name)[0].agent == trained


_A2C = {"learning_rate": 1e-3, "critic_learning_rate": 3e-2, "entropy_weight": 0.003}
_PPO = {"learning_rate": 2e-3, "entropy_weight": 0.01}
_OFF_POLICY = {"learning_rate": 3e-4, "critic_learning_rate": 1e-3, "exploration_noise": 0.3}
BEST = {
    **{(name, "A2C"): _A2C for name in ("cartpole", "acrobot", "catch")},
    **{(name, "PPO"): _PPO for name in ("cartpole", "acrobot", "catch")},
    **{("pendulum", method): _OFF_POLICY for method in ("TD3", "DDPG")},
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "method"), BEST)
def test_the_bar_is_reached(name, method):
    anchor = ANCHORS[name]
    (contestant,) = [one for one in anchor.contestants if one.method.name == method]
    assert isinstance(contestant, Contestant) and contestant.bar is not None
    (one,) = measure(anchor, contestant.method, [BEST[name, method]], seeds=2, seed=1)
    assert summarise(one).inside(anchor, contestant), summarise(one)
