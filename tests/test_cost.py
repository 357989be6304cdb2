"""The model of what programs cost: work that is counted, prices that are fitted, many devices on paper."""

import math
from dataclasses import astuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from experiments.benchmarks.cost import WORK, with_predictions
from experiments.benchmarks.cost_devices import PARTS, Arguments, over_devices
from experiments.benchmarks.cost_devices import counted as counted_update
from metaobj.common.devices import AXIS
from metaobj.common.meta.cost import Link, Prices, Work, fitted, on_devices, work_of
from metaobj.common.meta.machine import Rates, measured_rates
from metaobj.common.objectives.benchmark import single_updates


def counted(function: object, *shapes: tuple[int, ...]) -> Work:
    return work_of(jax.make_jaxpr(function)(*map(jnp.zeros, shapes)).jaxpr)  # type: ignore[arg-type]


def test_products_of_matrices_are_counted() -> None:
    work = counted(jnp.matmul, (5, 2, 3), (5, 3, 4))
    assert work == Work(products=2 * 5 * 2 * 4 * 3, bytes=4 * (30 + 60 + 40), operations=1)
    image, kernel = (1, 8, 8, 3), (3, 3, 3, 16)
    convolution = counted(
        lambda x, w: jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")),
        image,
        kernel,
    )
    assert convolution.products == 2 * (8 * 8 * 16) * (3 * 3 * 3)


def test_a_loop_counts_as_often_as_it_runs_and_what_it_stacks() -> None:
    once = counted(lambda x: jnp.tanh(x @ x), (4, 4))

    def stacked(x: jax.Array) -> jax.Array:
        return jax.lax.scan(lambda x, _: ((y := jnp.tanh(x @ x)), y), x, None, length=7)[1]

    looped = counted(stacked, (4, 4))
    assert (looped.products, looped.dear, looped.operations) == (7 * once.products, 7 * 16, 7 * once.operations)
    assert looped.stacked == 7 * 4 * 16
    assert looped.bytes == 7 * once.bytes + looped.stacked


def test_of_branches_the_larger_counts_and_an_unknown_loop_once() -> None:
    branching = counted(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ x, lambda x: x, x), (4, 4))
    assert branching.products == 2 * 4**3
    unknown = counted(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 1, lambda x: x @ x + 1, x), (4, 4))
    assert unknown.products == 2 * 4**3


def test_a_sum_is_one_operation() -> None:
    assert counted(lambda x: jnp.sum(x, 0), (100, 3)).operations == 1


def test_the_work_is_of_one_device() -> None:
    mesh, parts = jax.sharding.AbstractMesh((4,), (AXIS,)), PartitionSpec(AXIS)
    spread = jax.shard_map(lambda x: x @ jnp.ones((3, 2)), mesh=mesh, in_specs=parts, out_specs=parts)
    assert counted(spread, (8, 3)).products == 2 * 2 * 3 * 2


def test_prices_are_found_again() -> None:
    prices = Prices(product=1e-10, byte=2e-10, dear=5e-9, operation=1e-6)
    random = np.random.default_rng(0)
    works = [Work(*(10 ** random.uniform(3, 9, 5))) for _ in range(12)]
    found = fitted(works, [prices.seconds(work) for work in works])
    assert astuple(found) == pytest.approx(astuple(prices))
    assert prices.seconds(Work(products=1e10, stacked=1e12)) == pytest.approx(1.0)


def test_no_price_is_negative() -> None:
    works = [Work(products=1e9, dear=float(number)) for number in range(1, 6)]
    found = fitted(works, [1.0 - 0.1 * work.dear for work in works])
    assert found.dear == 0.0 and found.product > 0.0 and found.byte == 0.0


def test_more_devices_do_not_help_below_one_lifetime_of_each_family() -> None:
    prices, link = Prices(0.0, 0.0, 0.0, 1.0), Link(bandwidth=1e9, latency=1e-5)

    def parts(devices: int) -> dict[str, float]:
        fixed, each = Work(operations=3.0), Work(operations=2.0)
        return on_devices(devices, (8, 2), prices, fixed, each, link, 1e6, 2e6, host_seconds=0.5)

    assert parts(1) == {"lifetimes": 20.0, "uneven": 0.0, "fixed": 3.0, "exchange": 0.0, "host": 0.5}
    assert parts(2)["exchange"] == pytest.approx(3e-5 + 2e-3)  # three messages, half of each size
    assert parts(2)["lifetimes"] == 10.0 and parts(2)["uneven"] == 0.0
    assert parts(4)["lifetimes"] + parts(4)["uneven"] == 2.0 * (2 + 1)
    assert [parts(n)["lifetimes"] + parts(n)["uneven"] for n in (8, 64)] == [4.0, 4.0]


def test_a_ring_sends_every_byte_twice_at_most() -> None:
    link = Link(bandwidth=1e9, latency=0.0)
    assert link.all_reduce(1, 1e9) == 0.0
    assert link.all_reduce(2, 1e9) == pytest.approx(1.0)
    assert link.all_reduce(1000, 1e9) == pytest.approx(2.0, rel=2e-3)
    assert Link(bandwidth=math.inf, latency=1e-3).all_reduce(5, 1e9) == pytest.approx(8e-3)


def test_floors_are_told_by_rates_of_this_machine() -> None:
    rates = Rates(products=1e9, bytes=1e8)
    assert rates.floor(Work(products=2e9, bytes=1e12, stacked=1e8), state=5e7) == (2.0, 2.0)
    here = measured_rates(1, size=64, length=1 << 16)
    assert 1e6 < here.products < 1e15 and 1e6 < here.bytes < 1e14


def test_a_preset_is_predicted_by_others_alone() -> None:
    prices = Prices(product=1e-10, byte=1e-10, dear=5e-9, operation=1e-6)
    random = np.random.default_rng(0)
    rows = []
    for case in ("a@1", "a@2", "b@1", "c@1", "d@1", "e@1"):
        work = Work(*(10 ** random.uniform(5, 8, 5)))
        slowed = random.uniform(1, 3)  # by other work on the machine, which slows the reference too
        references = prices.seconds(work) / 0.01 * (5 if case[0] == "a" else 1)
        known = dict(zip(WORK, astuple(work), strict=True))
        rows.append({"case": case, **known, "references": references, "reference_seconds": 0.01 * slowed})
    rows[2]["reference_seconds"] = 0.01
    told = with_predictions(rows)
    assert [row["ratio"] for row in told[:2]] == pytest.approx([0.2, 0.2])
    assert all("predicted" not in row for row in with_predictions(rows[:3]))


@pytest.mark.slow
def test_a_preset_over_devices() -> None:
    arguments = Arguments("selftuning/smoke@4", most=8)
    prices = Prices(0.0, 0.0, 0.0, 1.0)
    rows = over_devices(arguments, prices, host_seconds=0.0)
    assert [row["devices"] for row in rows] == [1, 2, 4, 8]
    whole = counted_update(single_updates("selftuning", "smoke", 4, 1, chunk=4096))
    assert rows[0]["seconds"] == pytest.approx(whole.operations, rel=1e-3)
    for row in rows:
        assert row["seconds"] == pytest.approx(sum(row[part] for part in PARTS))
