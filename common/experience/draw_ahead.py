"""Drawing the random numbers of a loop's steps before the loop.

A random number in the body of a loop costs a call of the generator per step, which on a CPU is a loop of small
operations itself; all steps' numbers in one call cost next to nothing. What a function computes from its key alone is
therefore taken out of it.
"""

from collections.abc import Callable

import jax
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun

from metaobj.common.types import PRNGKey, PyTree


def split_off_noise(
    function: Callable[..., PyTree], key: PRNGKey, *arguments: PyTree
) -> tuple[Callable[[PRNGKey], list[jax.Array]], Callable[..., PyTree]]:
    """(noise, rest) with rest(noise(key), *arguments) == function(key, *arguments).

    The key and the arguments here are examples: both results work for others of the same shapes and dtypes.
    """
    closed, out_shape = jax.make_jaxpr(function, return_shape=True)(key, *arguments)
    jaxpr = closed.jaxpr
    of_key, constant = {jaxpr.invars[0]}, set[Var]()
    before, after = list[JaxprEqn](), list[JaxprEqn]()
    for equation in jaxpr.eqns:
        read = {v for v in equation.invars if not isinstance(v, Literal)}
        if equation.effects or not read <= of_key | constant:
            after.append(equation)
        elif read <= constant:  # both parts may read it
            constant.update(equation.outvars)
            before.append(equation)
            after.append(equation)
        else:
            of_key.update(equation.outvars)
            before.append(equation)
    read_after = [v for equation in after for v in equation.invars] + list(jaxpr.outvars)
    drawn = list(dict.fromkeys(v for v in read_after if not isinstance(v, Literal) and v in of_key))
    first = jaxpr.replace(constvars=[], invars=jaxpr.invars[:1], outvars=drawn, eqns=before)
    second = jaxpr.replace(invars=[*drawn, *jaxpr.invars[1:]], eqns=after)

    def rest(noise: list[jax.Array], *arguments: PyTree) -> PyTree:
        outputs = jaxpr_as_fun(ClosedJaxpr(second, closed.consts))(*noise, *jax.tree.leaves(arguments))
        return jax.tree.unflatten(jax.tree.structure(out_shape), outputs)

    return jaxpr_as_fun(ClosedJaxpr(first, [])), rest
