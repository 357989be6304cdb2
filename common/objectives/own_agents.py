"""What objectives ask of agents that are not this project's: checked by shapes and types alone, under `jit` too."""

from collections.abc import Mapping
from math import prod
from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.errors import UserError
from metaobj.common.types import PyTree, Rollout


def check_rollout(rollout: Rollout, *, discrete: bool) -> None:
    """Whether every part of a rollout is [T, B, ...]. (Whether T comes first cannot be told.)

    Args:
        rollout: as it was given.
        discrete: whether actions are whole numbers [T, B], and not [T, B, A].

    Raises:
        UserError: a part is not.
    """
    shape = jnp.shape(rollout.reward)
    if len(shape) != 2:
        raise UserError(
            f"rollout: reward is {list(shape)}; must be [T, B], steps first, with B = 1 of a single environment"
        )
    for name, value in rollout._asdict().items():
        found = jnp.shape(value)
        bare = name in ("terminated", "truncated") or (name == "action" and discrete)
        if found[:2] != shape or (bare and len(found) > 2):
            more = "" if bare else ", ..."
            raise UserError(f"rollout: {name} is {list(found)}; must be [{shape[0]}, {shape[1]}{more}], as reward is")
    kinds = {"terminated": jnp.bool_, "truncated": jnp.bool_, "action": jnp.integer if discrete else jnp.floating}
    told = {jnp.bool_: "bool", jnp.integer: "whole numbers", jnp.floating: "floats"}
    for name, kind in kinds.items():
        dtype = jnp.result_type(getattr(rollout, name))
        if not jnp.issubdtype(dtype, kind):
            raise UserError(f"rollout: {name} is {dtype}; must be {told[kind]}")


def check_heads(
    heads: Any, shapes: Mapping[str, tuple[int | None, ...]], leading: tuple[int, ...], what: str = "apply"
) -> None:
    """Whether an agent gives what an objective reads.

    Args:
        heads: what it gives.
        shapes: of each of them at a step, by name; None is any number of actions.
        leading: the axes before, such as [T, B].
        what: who gives it, for the message.

    Raises:
        UserError: one is missing, or of another shape.
    """
    if not isinstance(heads, Mapping):
        raise UserError(f"{what}: gives {type(heads).__name__}; must be a dictionary with {', '.join(shapes)}")
    for name, shape in shapes.items():
        if name not in heads:
            raise UserError(f"{what}: gives {', '.join(map(str, heads)) or 'nothing'}; the head {name} is missing")
        wanted, found = (*leading, *shape), jnp.shape(heads[name])
        if len(found) != len(wanted) or any(n not in (None, m) for n, m in zip(wanted, found, strict=True)):
            told = ", ".join("number of actions" if n is None else str(n) for n in wanted)
            raise UserError(f"{what}: the head {name} is {list(found)}; must be [{told}]")


def check_values(values: Mapping[str, jax.Array], rollout: Rollout) -> None:
    """Whether each is [T, B]; UserError says which is not."""
    shape = jnp.shape(rollout.reward)
    for name, value in values.items():
        if jnp.shape(value) != shape:
            raise UserError(f"{name}: {list(jnp.shape(value))} given; must be {list(shape)}, as reward is")


def one_line(kind: str, eta: PyTree, metadata: Mapping[str, Any]) -> str:
    """What a loaded objective says of itself at a prompt."""
    weights = sum(prod(jnp.shape(leaf)) for leaf in jax.tree.leaves(eta))
    updates = metadata.get("meta_updates")
    return f"<{kind} of {weights} weights{'' if updates is None else f', {updates} meta-updates'}>"
