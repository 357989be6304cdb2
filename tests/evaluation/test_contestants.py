"""What names say of those who take part."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.errors import UserError
from metaobj.common.evaluation.protocol import EvaluationProtocol, Trials
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.objectives import contestants, file
from metaobj.common.objectives.contestants import (
    GRIDS_FOR_NETWORKS,
    find_contestants,
    learned,
    title_of,
    tuning_entries,
    usual_suite,
)
from metaobj.common.objectives.loading import load_objective

TABLES = [Entry("tests.worlds:LESSON")]
POINTS = [Entry("tests.worlds_continuous:POINT", agent=ACTOR_CRITIC)]


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two run folders with what they had learned by steps 5 and 10; of the second by 10 alone."""
    arrays, metadata = file.load("pretrained:lpg-tabular")
    for name, steps in (("one", (5, 10)), ("two", (10,))):
        (tmp_path / name / file.STEPS).mkdir(parents=True)
        for step in steps:
            scaled = {key: value * (1 + 0.1 * step) for key, value in arrays.items()}
            about = {key: value for key, value in metadata.items() if key not in ("digest", "format_version")}
            file.save(tmp_path / name / file.STEPS / f"{step}.safetensors", file.unflatten(scaled), about)
        last = tmp_path / name / file.STEPS / f"{steps[-1]}.safetensors"
        (tmp_path / name / "objective.safetensors").write_bytes(last.read_bytes())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_learned_method_is_tuned_over_what_it_was_trained_with() -> None:
    loaded = load_objective("pretrained:lpg-tabular")
    method = learned(loaded)
    assert method.name == "LPG"
    tabular = method.grid(AgentConfig())
    assert tabular["learning_rate"] == (40.0, 80.0, 160.0) and tabular["kl_weight"] == (0.1, 0.5, 1.0)
    assert max(method.grid(AgentConfig("dense"))["learning_rate"]) < 0.1, "agents that it never met"
    assert learned(load_objective("pretrained:metagenrl-demo")).name == "MetaGenRL"


@pytest.mark.parametrize(("trained_with", "lives_with"), [(None, "adam"), ("rmsprop", "rmsprop")])
def test_its_agents_learn_by_the_optimiser_that_they_had_in_training(trained_with: Any, lives_with: str) -> None:
    """Networks of any kind do as networks did there; where there were none, as the suite says."""
    loaded = load_objective("pretrained:lpg-tabular")
    if trained_with:
        agent = AgentConfig("dense", (8,), optimiser=trained_with)
        most = Entry("grid/random_small", 2, agent=agent, learning_rates=(3.0,))
        few = Entry("grid/random_dense", 1, agent=replace(agent, optimiser="adam"), learning_rates=(9.0,))
        loaded = replace(loaded, entries=(*loaded.entries, most, few))
    suite = Entry("Breakout-MinAtar", agent=AgentConfig("conv", (8,), (2,), "adam"))
    method = learned(loaded)
    (family,) = make_families([suite], method.programs)
    assert family.program.agent.config.optimiser == lives_with
    assert (method.grid(suite.agent)["learning_rate"] == (3.0,)) == bool(trained_with)


def test_tuning_is_on_what_was_trained_on_most() -> None:
    entries = [Entry("grid/sparse", 3), Entry("grid/dense", 9, updates=900), Entry("grid/long_dense", 5, updates=100)]
    chosen = tuning_entries(entries, AgentConfig(), longest=500)
    assert [(entry.environment, entry.updates) for entry in chosen] == [("grid/dense", 500), ("grid/long_dense", 100)]
    dense = AgentConfig("dense", (64,), optimiser="adam")
    others = tuning_entries(entries, dense, longest=300)
    assert [other.environment for other in others] == ["grid/moving_any_small", "grid/moving_survive"]
    assert {(other.agent, other.updates) for other in others} == {(dense, 300)}
    others = tuning_entries(entries, dense, longest=300, suite=[Entry("grid/moving_any_small")])
    assert [other.environment for other in others] == ["grid/moving_survive", "grid/moving_negative"]


@pytest.mark.slow
@pytest.mark.parametrize("torso", ["dense", "conv"])
def test_agents_learn_in_what_they_are_tuned_on(torso: Any) -> None:
    """Else chance would choose their settings."""
    agent = AgentConfig(torso, hidden=(64,), channels=(8,), optimiser="adam")
    field = find_contestants(["A2C"], [Entry("Breakout-MinAtar", agent=agent)])
    setting = {"learning_rate": 0.002, "critic_learning_rate": 0.03, "entropy_weight": 0.01}
    entries = tuning_entries((), agent, EvaluationProtocol().longest_tuning_life, limit=len(GRIDS_FOR_NETWORKS))
    assert [entry.environment for entry in entries] == [*GRIDS_FOR_NETWORKS]
    for entry in entries:
        trials = Trials(EvaluationProtocol(tuning_seeds=4, bins=10))
        (record,) = trials.train(field.contestants[0].methods[0], entry, [setting], "tuning")
        assert np.median(record.scores[:, -1]) > 0.25, entry.environment


def test_one_objective_beside_a_baseline_goes_by_its_kind() -> None:
    field = find_contestants(["pretrained:lpg-tabular", "a2c"], TABLES)
    assert [one.name for one in field.contestants] == ["LPG", "A2C"] and field.learned == ("LPG",)
    assert field.plugin.kind == "lpg" and field.trained_on()[0].environment == "grid/small_layouts"
    assert {method.rollout_steps for one in field.contestants for method in one.methods} == {20}


def test_several_go_by_their_own_names(runs: Path) -> None:
    names = ["one", "one@5", "two/objective.safetensors", "pretrained:lpg-tabular", "both=one,two", "PPO"]
    field = find_contestants(names, [replace(TABLES[0], agent=AgentConfig("dense"))])
    assert [one.name for one in field.contestants] == ["one", "one@5", "two", "lpg-tabular", "both", "PPO"]
    assert [len(one.methods) for one in field.contestants] == [1, 1, 1, 1, 2, 1]
    assert field.learned == ("one", "one@5", "two", "lpg-tabular", "both")
    early, late = (field.contestants[at].methods[0].weights["policy"]["kernel"] for at in (1, 0))
    assert abs(early / late - 1.5 / 2).max() < 1e-6


def test_baselines_alone_are_of_the_kind_whose_agents_can_live_there() -> None:
    field = find_contestants(["PPO"], POINTS)
    assert field.plugin.kind == "metagenrl" and field.learned == ()
    assert field.trained_on(), "what that kind trains on, for tuning"
    assert find_contestants(["a2c"], TABLES).plugin.kind == "lpg"
    # Whatever other kinds there are whose agents are networks, too.
    for names in (["A2C"], ["PPO", "DPO"]):
        assert find_contestants(names, make_suite("control")).plugin.kind == "lpg"


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["one", "SARSA"], "SARSA: no such file"),
        (["one", "TD3"], "TD3: is for continuous actions; LPG's agents have discrete ones; choose from A2C, PPO"),
        (["one@7"], "one@7: the run has kept no objective of that step; there are 5, 10"),
        (["nowhere@7"], "nowhere@7: the run has kept no objective of that step; there are none"),
        (["one", "./one"], "one: the name of two of them; tell objectives apart as NAME=PATH"),
        (["A2C", "a2c"], "A2C: the name of two of them"),
        (
            ["both=one,pretrained:metagenrl-demo"],
            "both: pretrained:metagenrl-demo is of another kind",
        ),
        (["both=one,,two"], "both=one,,two: an objective is missing between the commas"),
        (["x" * 300], "x+: no such file"),
        (["LPG=" + ",".join(["one"] * 99 + ["x" * 300])], "x+: no such file"),
        (["\udcff=one"], "'.udcff': cannot be written; give it a name as NAME=PATH"),
        (["=one,two"], "=one,two: a group needs a name before its ="),
        (["A2C", "TD3"], "A2C TD3: no kind of objective is compared with all of these"),
        (["TD3"], "tests.worlds:LESSON: "),
    ],
)
def test_names_that_say_nothing(names: list[str], says: str, runs: Path) -> None:
    with pytest.raises(UserError, match=f"^{says}"):
        find_contestants(names, TABLES)


def test_a_run_that_is_called_as_a_baseline_is(runs: Path) -> None:
    (runs / "one").rename(runs / "A2C")
    with pytest.raises(UserError, match="A2C: is a baseline and a path; write ./A2C for the path"):
        find_contestants(["A2C"], TABLES)
    assert find_contestants(["./A2C", "PPO"], POINTS[:0]).learned == ("LPG",)


def test_what_a_run_had_learned_stays_to_be_found(runs: Path) -> None:
    """Also beside a folder of that very name, and in one whose name has an equals sign."""
    (runs / "one@5").mkdir()
    (runs / "two").rename(runs / "lr=0.1")
    field = find_contestants(["one@5", "lr=0.1@10", "lr=0.1"], TABLES)
    assert [one.name for one in field.contestants] == ["one@5", "lr=0.1@10", "lr=0.1"]


def test_the_usual_suite(runs: Path) -> None:
    assert usual_suite(["A2C", "both=one,two"]) == "held-out-layouts"
    with pytest.raises(UserError, match="suite: missing; baselines alone have no suite of their own"):
        usual_suite(["A2C", "PPO"])


def test_titles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.safetensors").write_text("")
    names: dict[str, Any] = {"a.safetensors": "a", "runs/b/": "b", "runs/b@20": "b@20", "pretrained:c": "c"}
    assert {name: title_of(name) for name in names} == names
    assert contestants.title_of(".") == tmp_path.name
