import csv
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.environments.adapters.extras import install_command
from metaobj.common.environments.names import EXTRAS, needed_extra
from metaobj.common.environments.registry import make_environment
from metaobj.common.errors import UserError
from metaobj.common.evaluation.checks import check_steps
from metaobj.common.evaluation.references import REFERENCES, known_returns
from metaobj.common.evaluation.suites import APART, SUITES, make_suite, versioned
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry, make_distribution
from metaobj.common.lifetimes.population import make_families
from metaobj.common.objectives.plugin import Plugin, get_plugin, plugins

TABLE = Path(__file__).parents[2] / "experiments" / "results" / "references.csv"
NAMES = sorted({entry.environment for suite in SUITES.values() for entry in suite.entries})


def kind_of(agent: AgentConfig) -> Plugin:
    return get_plugin("metagenrl" if agent.torso == "actor-critic" else "lpg")


def needs(name: str) -> None:
    extra = needed_extra(name)
    if extra is not None:
        pytest.importorskip(extra)


LONG = {"minatar"} | {name for name, suite in SUITES.items() if suite.extras}  # transfer has two of MinAtar's games too


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in sorted(SUITES)]
)
def test_every_suite_has_a_kind_of_objective_whose_agents_can_live_there(name: str) -> None:
    for extra in SUITES[name].extras:
        pytest.importorskip(extra)
    suite = make_suite(name)
    kind = kind_of(suite[0].agent)
    methods = kind.baselines(kind.presets[kind.default_preset])
    tables = any(entry.agent.torso == "tabular" for entry in suite)
    if suite[0].agent.torso != "actor-critic":  # what learns without meta-training is for discrete actions
        methods = [*methods, *(method for other in plugins().values() for method in other.methods(20))]
    networks = [method for method in methods if method.name in ("PPO", "DPO") or "conditioned" in method.name]
    check_steps([method for method in methods if not (tables and method in networks)], suite)
    if tables:
        with pytest.raises(UserError, match="tabular given; PPO's agents are dense or conv"):
            check_steps(methods, suite)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if needed_extra(name) else name for name in NAMES]
)
def test_agents_can_live_in_every_task(name: str) -> None:
    """Born and updated once by the first method of their kind, traced only."""
    needs(name)
    entry = next(entry for suite in SUITES.values() for entry in suite.entries if entry.environment == name)
    kind = kind_of(entry.agent)
    method = kind.baselines(kind.presets[kind.default_preset])[0]
    family = make_families([entry], method.programs)[0]
    setting = dict.fromkeys(method.settings(entry.agent)[0], 0.1)

    def live(key: jax.Array) -> tuple:
        lifetime = family.start(key, key, setting, entry.updates)
        return lifetime, family.program.update(method.rule, method.weights, lifetime)[0]

    before, after = jax.eval_shape(live, jax.random.key(0))
    assert jax.tree.structure(before) == jax.tree.structure(after)


def test_a_suite_is_asked_for_with_its_version_or_without() -> None:
    assert make_suite("control@1") == make_suite("control") == SUITES["control"].entries
    assert versioned("control+held-out@1+Pendulum-v1") == "control@1+held-out@1+Pendulum-v1"
    assert [entry.environment for entry in make_suite("bsuite@1+CartPole-v1")][-1] == "CartPole-v1"
    for version in ("2", "", "one", "@1"):
        with pytest.raises(UserError, match=f"suite: 'control@{version}' given; what there is now is control@1"):
            make_suite(f"control@{version}")
    with pytest.raises(UserError, match="suite: 'contrl@1' is unknown; did you mean control"):
        make_suite("contrl@1")


def test_means_leave_out_what_no_rule_can_learn() -> None:
    assert SUITES["control"].headline == ("CartPole-v1", "Acrobot-v1")
    assert SUITES["bsuite"].headline == ("Catch-bsuite", "UmbrellaChain-bsuite", "DiscountingChain-bsuite")
    assert all(suite.headline for suite in SUITES.values()) and set(APART) < set(NAMES)


def test_unseen_grids_are_one_program_that_nothing_is_trained_on() -> None:
    suite = make_suite("unseen-grids")
    kind = kind_of(suite[0].agent)
    method = kind.baselines(kind.presets[kind.default_preset])[0]
    assert [family.tasks for family in make_families(suite, method.programs)] == [tuple(range(7))]
    distributions = [DISTRIBUTIONS, *(plugin.distributions for plugin in plugins().values())]
    trained_on = {entry.environment for some in distributions for of_one in some.values() for entry in of_one}
    for entry in suite:
        assert entry.split == "held_out" and (entry.updates, entry.num_environments) == (1000, 16)
        assert entry.environment not in trained_on
        with pytest.raises(UserError, match=f"'{entry.environment}' has no training part"):
            make_distribution(f"small-layouts+{entry.environment}")
        with pytest.raises(UserError, match=f"'{entry.environment}' has no training part"):
            make_families([Entry(entry.environment)], method.programs)


def test_suites_tell_their_extras() -> None:
    assert SUITES["jumanji"].extras == ("jumanji",) and SUITES["transfer"].extras == ()


def test_every_task_whose_worlds_do_not_vary_has_a_reference() -> None:
    drawn = ("grid/", "chain/", "unseen/")
    fixed = {name for name in NAMES if not name.startswith(drawn) and not name.endswith("/varied")}
    assert fixed - {"brax/halfcheetah"} == set(REFERENCES), "of all but one that was not measured"


@pytest.mark.parametrize("name", sorted(REFERENCES))
def test_the_references_are_what_was_measured(name: str) -> None:
    reference = known_returns(name)
    assert reference is not None and reference.source
    if reference.best is not None:
        assert math.isfinite(reference.best) and reference.best > reference.random
    with TABLE.open() as file:
        rows = {row["environment"]: row for row in csv.DictReader(file)}
    measured, error = float(rows[name]["random"]), float(rows[name]["standard_error"])
    assert abs(reference.random - measured) <= 4 * error
    assert int(rows[name]["episodes"]) >= 64


def test_what_is_no_fixed_task_has_no_reference() -> None:
    assert known_returns("CartPole-v1/varied") is None and known_returns("grid/dense") is None


MODULES = {
    "brax/ant": "brax.envs",
    "craftax/Craftax-Classic-Symbolic-v1": "craftax.craftax_env",
    "gymnasium/CartPole-v1": "gymnasium",
    "jumanji/Snake-v1": "jumanji.environments.routing.snake.env",
}


@pytest.mark.parametrize("name", MODULES)
def test_a_missing_extra_is_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, MODULES[name], None)
    extra = name.partition("/")[0]
    says = f"environment: '{name}' needs the package {extra}; install it with: {install_command(extra)}"
    for make in (make_environment, make_suite):
        with pytest.raises(UserError) as error:
            make(name)
        assert str(error.value) == says


CLONE = {"url": "file://HERE", "dir_info": {"editable": True}}


@pytest.mark.parametrize(
    ("installed", "prefix", "active", "says"),
    [
        (
            CLONE,
            "HERE/.venv",
            "",
            ".venv/bin/pip install -e '.[brax]'",
        ),
        (CLONE, "/a/venv", "/a/venv", "pip install -e '.[brax]'"),
        ({**CLONE, "url": "file:///a%20b"}, "/a/v", "", "/a/v/bin/pip install -e '/a b[brax]'"),
        ({"url": "file:///a/b", "dir_info": {}}, "/usr", "", "pip install 'metaobj[brax]'"),
        (None, "/usr", "", "pip install 'metaobj[brax]'"),
    ],
)
def test_the_command_for_an_extra_works_where_the_user_stands(
    installed: Any, prefix: str, active: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = json.dumps(installed).replace("HERE", str(tmp_path)) if installed else None
    found = SimpleNamespace(read_text=lambda name: text)
    monkeypatch.setattr("metaobj.common.environments.adapters.extras.metadata.distribution", lambda name: found)
    monkeypatch.setattr(sys, "prefix", prefix.replace("HERE", str(tmp_path)))
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setenv("VIRTUAL_ENV", active)
    assert install_command("brax") == says


def test_an_atari_game_without_its_emulator(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gymnasium")
    monkeypatch.setitem(sys.modules, "ale_py", None)
    with pytest.raises(UserError, match=r"the package ale-py; install it with: \S*pip install 'gymnasium\[atari\]'"):
        make_suite("gymnasium/ALE/Pong-v5")


def test_every_extra_is_one_of_the_packages() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert all(f"\n{extra} = [" in text for extra in EXTRAS)
