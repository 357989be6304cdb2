"""Self-tuning methods beside others: names, settings, lives, and the command that shows what they tune."""

import csv
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from metaobj.common.command.cli import main
from metaobj.common.errors import UserError
from metaobj.common.evaluation.checks import check_steps
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.contestants import find_contestants
from metaobj.common.objectives.followed import Following, follow_method
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import plugins
from metaobj.common.objectives.train import meta_train
from metaobj.selftuning.interface import load
from metaobj.selftuning.methods import ONLINE

pytestmark = pytest.mark.usefixtures("quick_compilation")
ON_TABLES = [name for name, method in ONLINE.items() if not method.embedding]
TABLES = [Entry("tests.worlds:LESSON", updates=40)]


def test_any_comparison_may_name_them():
    suite = make_suite("CartPole-v1")
    field = find_contestants(["pretrained:lpg-tabular", "A2C", "STAC", "bmg"], suite)
    assert [one.name for one in field.contestants] == ["LPG", "A2C", "STAC", "BMG"]
    assert field.learned == ("LPG",)
    alone = find_contestants(["A2C", *ON_TABLES], TABLES)
    assert len(alone.contestants) == 1 + len(ON_TABLES) and alone.first is None
    told = find_contestants(["A2C", "mg-conditioned", "FRODO-outer"], suite)
    assert [one.name for one in told.contestants] == ["A2C", "MG-conditioned", "FRODO-outer"]
    with pytest.raises(UserError, match="embedding: 16 given; tabular agents cannot be told numbers, networks can"):
        find_contestants(["A2C", "STAC-outer-conditioned"], TABLES)


def test_they_live_as_long_as_others_but_for_less_than_an_update():
    methods = [one.methods[0] for one in find_contestants(["A2C", *ON_TABLES], TABLES).contestants]
    check_steps(methods, TABLES)
    for method in methods[1:]:
        program = method.programs(TABLES[0], _environment())
        lived = program.first_steps + method.updates(TABLES[0], program) * program.steps_per_update
        assert 40 * 20 * 16 - program.steps_per_update < lived <= 40 * 20 * 16


def _environment():
    from metaobj.common.environments.registry import make_environment

    return make_environment(TABLES[0].environment, TABLES[0].split)[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MG", "BMG"])
def test_they_learn_and_tell_what_they_tuned(name, tmp_path):
    """The lesson is learnt; discount and lambda have moved within their bounds, and the entropy with them."""
    following = Following(name, "tests.worlds:LESSON", agents=3, steps=80 * 320, set=("learning_rate=20",))
    seen = follow_method(following, tmp_path, Console(quiet=True))
    reward = seen.values["reward"]
    assert reward.shape == (3, len(seen.env_steps)) and reward[:, -1].min() > 0.9
    length = (1 - 0.8**5) / 0.2  # of an episode, which each step ends with probability 0.2, and the fifth for certain
    np.testing.assert_allclose(seen.values["episode_return"][:, -1], reward[:, -1] * length, rtol=0.2)
    for tuned in ("discount", "lambda_", *(["entropy_weight"] if name == "BMG" else [])):
        values = seen.values[tuned]
        assert (values[:, -1] != values[:, 0]).all() and (values > 0).all() and (values < 1).all()
    assert (seen.values["restarts"] == 0).all()
    with (tmp_path / "follow.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == reward.size
    np.testing.assert_allclose([float(row["reward"]) for row in rows], reward.ravel(), rtol=1e-5)
    assert (tmp_path / "follow.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"set": ("rate=1",)}, "set: 'rate' given; MG has learning_rate, meta_learning_rate"),
        ({"set": ("learning_rate=fast",)}, "set: 'learning_rate=fast' given; learning_rate must be a finite number"),
        ({"set": ("learning_rate=-1",)}, "must be a finite number, at least 0"),
        ({"environment": "control"}, "environment: control given; is a suite of 3 tasks, one is needed"),
        ({"steps": 3}, "steps: 3 given; one update on tests.worlds:LESSON takes 320"),
        ({"method": "nobody"}, "nobody"),
    ],
)
def test_what_cannot_be_followed_is_told(changes, says, tmp_path):
    following = replace(Following("MG", "tests.worlds:LESSON", 1, 640), **changes)
    with pytest.raises(UserError, match=says):
        follow_method(following, tmp_path, Console(quiet=True))
    assert not list(tmp_path.iterdir())


def test_the_command_tells_in_one_line(capsys, tmp_path):
    with pytest.raises(SystemExit) as ended:
        main(["follow", "MG", "--environment", "nowhere", "--out", str(tmp_path / "x")])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("metaobj: environment: 'nowhere' is unknown") and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["backprop", "persistent-es"])
def test_a_population_tunes_numbers_together(estimator, tmp_path):
    """Trained, loaded, inspected, and evaluated like any other objective; by either way of taking gradients."""
    plugin = plugins()["selftuning"]
    config = replace(plugin.presets["smoke"], distribution="small-layouts", estimator=estimator, mix=0.0)
    outcome = meta_train(plugin, config, tmp_path / "run")
    loaded = load(outcome.objective)
    (discount,) = loaded.values["discount"]
    assert 0 < discount < 1 and discount != config.inner.discount.initial
    assert loaded.values["value_weight"] == (config.inner.value_weight.initial,)
    main_lines = plugin.inspect(load_objective(outcome.objective), tmp_path / "out").verdict
    assert main_lines[0] == f"discount: 0.95 became {discount:.4g}"
    with (tmp_path / "out" / "numbers.csv").open(newline="") as file:
        assert [row["number"] for row in csv.DictReader(file)] == [name for name, _ in config.inner.items()]
    field = find_contestants([str(outcome.objective), "A2C"], TABLES)
    assert [one.name for one in field.contestants] == ["SelfTuning", "A2C"]
    method = field.contestants[0].methods[0]
    assert sorted(method.grid(TABLES[0].agent)) == ["learning_rate"]


def test_it_is_a_kind_of_objective():
    plugin = plugins()["selftuning"]
    config = plugin.presets["smoke"]
    assert plugin.rebuild(plugin.describe(config)) == plugin.build(config)
