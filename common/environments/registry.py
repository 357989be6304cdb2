"""Environments by name: native worlds, those of other packages, and a user's own."""

import importlib
import os
import sys

from metaobj.common.environments.adapters.brax import BRAX_NAMES, make_brax
from metaobj.common.environments.adapters.craftax import CRAFTAX_NAMES, make_craftax
from metaobj.common.environments.adapters.gymnasium import make_gymnasium
from metaobj.common.environments.adapters.gymnax import GYMNAX_NAMES, VARIATIONS, make_gymnax
from metaobj.common.environments.adapters.jumanji import JUMANJI_NAMES, make_jumanji
from metaobj.common.environments.cartpole_swingup import SWINGUP_NAMES, make_swingup
from metaobj.common.environments.checking import check_environment
from metaobj.common.environments.delayed_chain import CHAIN_NAMES, make_chain
from metaobj.common.environments.grid.specs import GRID_NAMES, make_grid
from metaobj.common.environments.names import names_module
from metaobj.common.environments.point_mass import POINT_MASS_NAMES, make_point_mass
from metaobj.common.environments.protocol import Environment
from metaobj.common.environments.splits import Split
from metaobj.common.environments.torque import TORQUE_NAMES, make_torque
from metaobj.common.environments.unseen.grids import UNSEEN_NAMES, make_unseen
from metaobj.common.errors import UserError
from metaobj.common.types import PyTree


def environment_groups() -> dict[str, list[str]]:
    """The names that `environment_names` tells, by what they are."""
    gymnax = {"classic control": ("-v0", "-v1"), "bsuite": ("-bsuite",), "MinAtar": ("-MinAtar",), "others": ("-misc",)}
    return {
        "grid worlds": [f"grid/{name}" for name in GRID_NAMES],
        "delayed chains": [f"chain/{name}" for name in CHAIN_NAMES],
        "grids that nothing is trained on": [*UNSEEN_NAMES],
        "small control tasks": [*POINT_MASS_NAMES, *SWINGUP_NAMES, *TORQUE_NAMES],
        **{
            f"gymnax, {group}": [n for n in (*GYMNAX_NAMES, *VARIATIONS) if n.partition("/")[0].endswith(ends)]
            for group, ends in gymnax.items()
        },
        "Jumanji": [*JUMANJI_NAMES],
        "Craftax": [*CRAFTAX_NAMES],
        "Brax": [*BRAX_NAMES],
    }


def environment_names() -> list[str]:
    """All names that `make_environment` knows, without Gymnasium's and those of users' own modules."""
    return [name for names in environment_groups().values() for name in names]


def make_environment(name: str, split: Split = "any") -> tuple[Environment, PyTree]:
    """An environment and the distribution of its `params` (a spec for `sample_params`).

    Args:
        name: "grid/...", "chain/...", "unseen/...", a gymnax name, "gymnasium/ID" for what Gymnasium knows by that id,
            others that `environment_names` tells, or "module:object" for an environment of one's own: an instance of
            a class with `reset`, `step`, `observation_space` and `action_space`.
        split: which part of the distribution: "training" and "held_out" have nothing in common. Only native worlds
            have parts, and the grids of "unseen/..." have no training part.

    Raises:
        UserError: the name is unknown, what it names is not an environment or has no such part, or an optional package
            is missing.
    """
    family, _, rest = name.partition("/")
    if family == "grid" and rest in GRID_NAMES:
        return make_grid(rest, split)
    if family == "chain" and rest in CHAIN_NAMES:
        return make_chain(rest, split)
    if name in UNSEEN_NAMES:
        return make_unseen(name, split)
    if name in GYMNAX_NAMES or name in VARIATIONS:
        return make_gymnax(name, split)
    if name in POINT_MASS_NAMES:
        return make_point_mass(name, split)
    if name in SWINGUP_NAMES:
        return make_swingup(name, split)
    if name in JUMANJI_NAMES:
        return make_jumanji(name)
    if name in CRAFTAX_NAMES:
        return make_craftax(name)
    if family == "gymnasium" and rest:
        return make_gymnasium(name)
    if name in TORQUE_NAMES:
        return make_torque(name, split)
    if name in BRAX_NAMES:
        return make_brax(name, split)
    if names_module(name):
        return _import(name), ()
    raise UserError(
        f"environment: {name!r} is unknown; choose from {', '.join(environment_names())}, gymnasium/ID or module:object"
    )


def _import(name: str) -> Environment:
    """The object that a name tells, from a module on the import path or in the working directory."""
    module_name, _, attribute = name.partition(":")
    here = [os.getcwd()] if os.getcwd() not in sys.path else []
    sys.path += here  # last: it must not stand in for what is installed
    try:
        environment = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # whatever the module raises
        line = " ".join(f"{error}".split())
        raise UserError(f"environment: {name!r} cannot be imported: {type(error).__name__}: {line:.200}") from error
    finally:
        for folder in here:
            sys.path.remove(folder)
    if isinstance(environment, type):
        raise UserError(f"environment: {name!r} is a class; must be an instance of one, such as {attribute}()")
    missing = [
        part for part in ("reset", "step", "observation_space", "action_space") if not hasattr(environment, part)
    ]
    if missing:
        raise UserError(f"environment: {name!r} has no {', '.join(missing)}")
    try:
        hash(environment)
    except TypeError as error:
        raise UserError(f"environment: {name!r} is not hashable; make its class a frozen dataclass") from error
    check_environment(environment, name)
    return environment
