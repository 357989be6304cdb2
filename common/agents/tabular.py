"""An agent that is a table: one row of head outputs per state, learnt by SGD.

A rollout touches at most T x B of the table's rows, and a padded table may hold thousands. So the learning step works
on the gathered rows, and its reverse pass is written out: cotangents of the table are gathered and scattered in place,
where transposing a plain gather would write a dense table of zeros for every update.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, Learner, TargetRule, targets_and_memory
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Metrics, PRNGKey, PyTree


@dataclass(frozen=True)
class TabularAgent:
    """`num_states` rows for each of the `heads` (name, size). Starts at zero: uniform policy and predictions.

    A rule's loss is a mean over T x B steps: a visit moves a row by learning rate / (T B) times the visit's gradient.
    """

    num_states: int
    heads: tuple[tuple[str, int], ...]

    def init(self, key: PRNGKey) -> Learner:
        return Learner({name: jnp.zeros((self.num_states, size)) for name, size in self.heads}, ())

    def apply(self, params: PyTree, observation: jax.Array) -> Heads:
        return {name: table[observation] for name, table in params.items()}

    def learn(
        self, learner: Learner, rule: TargetRule, weights: PyTree, batch: Batch, remat: bool = False
    ) -> tuple[Learner, Metrics]:
        def row_updates(rows: Heads, next_rows: Heads, given: PyTree, batch: Batch) -> tuple[PyTree, PyTree]:
            weights, memory = given
            targets, about, memory = targets_and_memory(rule, weights, memory, rows, next_rows, batch)
            # The loss is a closed formula on the rows: differentiating it twice costs little, so no mixed mode here.
            gradient = jax.grad(rule.loss)(rows, targets, batch)
            return jax.tree.map(lambda g: -batch.hyperparameters["learning_rate"] * g, gradient), (about, memory)

        if remat:
            row_updates = jax.checkpoint(row_updates)
        observation, next_observation = batch.rollout.observation, batch.rollout.next_observation
        given = (weights, learner.memory)
        params, (about, memory) = _add_to_rows(row_updates, learner.params, observation, next_observation, given, batch)
        return replace(learner, params=params, memory=memory), about


def _add_to_rows(
    row_updates: Callable[..., tuple[PyTree, Any]],
    tables: PyTree,
    index: jax.Array,
    next_index: jax.Array,
    weights: PyTree,
    constants: PyTree,
) -> tuple[PyTree, Any]:
    """tables[index] += row_updates(tables[index], tables[next_index], weights, constants), with a sparse reverse."""

    def gather(tables: PyTree, index: jax.Array) -> PyTree:
        return jax.tree.map(lambda table: table[index], tables)

    def scatter(tables: PyTree, index: jax.Array, rows: PyTree) -> PyTree:
        return jax.tree.map(lambda table, row: table.at[index].add(row), tables, rows)

    @jax.custom_vjp
    def step(
        tables: PyTree, index: jax.Array, next_index: jax.Array, weights: PyTree, constants: PyTree
    ) -> tuple[PyTree, Any]:
        updates, aux = row_updates(gather(tables, index), gather(tables, next_index), weights, constants)
        return scatter(tables, index, updates), aux

    def forward(
        tables: PyTree, index: jax.Array, next_index: jax.Array, weights: PyTree, constants: PyTree
    ) -> tuple[tuple[PyTree, Any], PyTree]:
        def local(rows: PyTree, next_rows: PyTree, weights: PyTree) -> tuple[PyTree, Any]:
            return row_updates(rows, next_rows, weights, constants)

        (updates, aux), pullback = jax.vjp(local, gather(tables, index), gather(tables, next_index), weights)
        return (scatter(tables, index, updates), aux), (pullback, index, next_index)

    def backward(residuals: PyTree, cotangents: PyTree) -> tuple[PyTree, None, None, PyTree, None]:
        pullback, index, next_index = residuals
        tables_bar, aux_bar = cotangents
        rows_bar, next_rows_bar, weights_bar = pullback((gather(tables_bar, index), aux_bar))
        tables_bar = scatter(scatter(tables_bar, index, rows_bar), next_index, next_rows_bar)
        return tables_bar, None, None, weights_bar, None

    step.defvjp(forward, backward)
    return step(tables, index, next_index, weights, constants)
