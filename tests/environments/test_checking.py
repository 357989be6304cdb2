"""An environment of someone's own that does not do what its spaces say is refused in one line, before any training."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from metaobj.common.environments.checking import check_environment
from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.environments.registry import make_environment
from metaobj.common.errors import UserError
from tests import worlds, worlds_continuous

pytestmark = pytest.mark.usefixtures("quick_compilation")


@dataclass(frozen=True)
class Corridor:
    """Six cells, and what may be wrong with them."""

    space: Space = Discrete(6)
    actions: Space = Discrete(2)
    fault: str = ""

    @property
    def observation_space(self) -> Space:
        return self.space

    @property
    def action_space(self) -> Space:
        return self.actions

    def _seen(self, at: jax.Array) -> Any:
        if self.fault == "off by one":
            return at + 1
        if self.fault == "not a number":
            return jnp.where(at > 3, jnp.nan, at.astype(float))
        if isinstance(self.space, Box):
            return at * jnp.ones(self.space.shape)
        return at

    def reset(self, key: jax.Array, params: Any) -> Any:
        at = jnp.int32(0)
        if self.fault == "no state":
            return self._seen(at)
        if self.fault == "shape":
            return jnp.zeros(3), at
        return self._seen(at), at

    def step(self, key: jax.Array, at: jax.Array, action: jax.Array, params: Any) -> Any:
        if self.fault == "branches":
            at = at + 1 if action == 1 else at - 1
        at = jnp.clip(at + 2 * action - 1, 0, 5)
        state = at.astype(float) if self.fault == "state" else at
        reward = (at == 5) * (jnp.inf if self.fault == "reward" else 1.0)
        if self.fault == "vector":
            reward = jnp.ones(2) * reward
        ended = (at == 5).astype(jnp.int32) if self.fault == "flag" else at == 5
        if self.fault == "five":
            return self._seen(at), state, reward, ended, {}
        seen = self._seen(at).astype(float) if self.fault == "type" else self._seen(at)
        return seen, state, reward, ended, jnp.bool_(False), {}


FAULTS: list[tuple[Corridor, str]] = [
    (Corridor(fault="off by one"), r"an observation of 6 is returned; its space is Discrete\(n=6\)"),
    (Corridor(space=Box((2,), 0.0, 4.0)), r"an observation of 5.0 is returned; its space is Box"),
    (Corridor(space=Box(()), fault="not a number"), "observations with NaN or infinity are returned; must be finite"),
    (Corridor(fault="no state"), r"reset returns shape \(\), int32; must return \(observation, state\)"),
    (Corridor(fault="shape"), r"reset: returns an observation of shape \(3,\), float32; its space is Discrete\(n=6\)"),
    (
        Corridor(space=Box((3,), 0.0, 5.0), fault="off by one"),
        r"returns an observation of shape \(\), int32; its space",
    ),
    (Corridor(fault="branches"), "step: raises TracerBoolConversionError where JAX traces it"),
    (Corridor(fault="state"), r"step returns a state of shape \(\), float32; reset returns one of shape \(\), int32"),
    (Corridor(fault="reward"), "step returns a reward of (nan|inf); must be finite"),
    (Corridor(fault="vector"), r"step returns as reward shape \(2,\), float32; must be one number, a float"),
    (Corridor(fault="flag"), r"step returns as terminated shape \(\), int32; must be one bool"),
    (Corridor(fault="five"), "step returns 5 values; must return"),
    (Corridor(fault="type"), "step: returns an observation of float32; its space is Discrete"),
    (Corridor(actions=Discrete(1)), r"action_space: Discrete\(n=1\) given; there is nothing to choose from"),
    (Corridor(space=Discrete(0)), r"observation_space: Discrete\(n=0\) given; n must be"),
    (Corridor(space=Discrete(10**12)), "n must be a whole number, at least 1 and at most 2147483647"),
    (Corridor(space=Box((0,))), "shape must be a tuple of whole numbers"),
    (Corridor(space=Box((2,), (0.0, 0.0, 0.0), 1.0)), "bounds must be one number, or one for each entry"),
    # What the type checker would refuse too.
    (Corridor(space="grid"), "observation_space: 'grid' given; must be a Discrete or a Box"),  # type: ignore[arg-type]  # on purpose
]


@pytest.mark.parametrize(("environment", "says"), FAULTS, ids=[says[:40] for _, says in FAULTS])
def test_a_fault_is_one_line(environment: Corridor, says: str) -> None:
    with pytest.raises(UserError, match=says) as caught:
        check_environment(environment, "mine:corridor")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("environment: 'mine:corridor'")


def test_what_is_right_passes() -> None:
    check_environment(Corridor(), "mine:corridor")
    check_environment(Corridor(space=Box((2,), 0.0, 5.0)), "mine:corridor")
    for name in ("RING", "PAIR", "OBSERVED_RING", "LESSON"):
        check_environment(getattr(worlds, name), name)
    for name in ("POINT", "LINE", "WIDE", "UNBOUNDED"):
        check_environment(getattr(worlds_continuous, name), name)


def test_modules_of_the_working_directory_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_here.py").write_text(
        "from tests.environments.test_checking import Corridor\ncorridor = Corridor()\nkind = Corridor\n"
        "class Unhashable(Corridor):\n    __hash__ = None\nunhashable = Unhashable()\n"
    )
    (tmp_path / "broken_here.py").write_text("raise RuntimeError('of its\\nown')")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    environment, spec = make_environment("mine_here:corridor")
    assert environment == Corridor() and spec == ()
    for name, says in {
        "mine_here:kind": "is a class; must be an instance of one, such as kind()",
        "mine_here:unhashable": "is not hashable; make its class a frozen dataclass",
        "broken_here:x": "cannot be imported: RuntimeError: of its own",
        "mine_here:nothing": "cannot be imported: AttributeError",
        "nowhere:x": "cannot be imported: ModuleNotFoundError",
    }.items():
        with pytest.raises(UserError) as caught:
            make_environment(name)
        assert says in str(caught.value)
    assert sys.path == before
