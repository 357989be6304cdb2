"""The model of what programs cost: work that is counted, prices that are fitted, many devices on paper."""

import math
from dataclasses import astuple
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from experiments.benchmarks.cost import CHUNK, COLUMNS, WORK, measured_alike, with_predictions
from experiments.benchmarks.cost_devices import PARTS, Arguments, over_devices
from experiments.benchmarks.cost_model import Link, Prices, fitted, on_devices
from experiments.benchmarks.kernels import executed
from experiments.rows import add
from metaobj.common.devices import AXIS
from metaobj.common.errors import UserError
from metaobj.common.meta.cost import Work, work_of
from metaobj.common.meta.machine import Rates, measured_rates


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


def test_what_has_no_price_is_free() -> None:
    works = [Work(products=1e9, bytes=1e9 * number, dear=1e9) for number in range(1, 5)]
    found = fitted(works, [1.0 + 0.5 * number for number in range(1, 5)], of=("byte", "product"))
    assert astuple(found) == pytest.approx((1e-9, 5e-10, 0.0, 0.0))


def test_no_price_is_negative() -> None:
    works = [Work(products=1e9, dear=float(number)) for number in range(1, 6)]
    found = fitted(works, [1.0 - 0.1 * work.dear for work in works])
    assert found.dear == 0.0 and found.product > 0.0 and found.byte == 0.0


def test_more_devices_do_not_help_below_one_lifetime_of_each_family() -> None:
    prices, link = Prices(0.0, 0.0, 1.0, 1.0), Link(bandwidth=1e9, latency=1e-5)

    def parts(devices: int) -> dict[str, float]:
        fixed, piece, each = Work(operations=3.0), Work(operations=7.0), Work(dear=2.0)
        return on_devices(devices, (8, 2), prices, fixed, piece, each, 4, link, 1e6, 2e6, host_seconds=0.5)

    alone = {"lifetimes": 20.0, "uneven": 0.0, "pieces": 21.0, "fixed": 3.0, "exchange": 0.0, "host": 0.5}
    assert parts(1) == alone
    assert parts(2)["exchange"] == pytest.approx(3e-5 + 2e-3)  # three messages, half of each size
    assert parts(2)["lifetimes"] == 10.0 and parts(2)["uneven"] == 0.0
    assert parts(4)["lifetimes"] + parts(4)["uneven"] == 2.0 * (2 + 1)
    for devices in (8, 64):
        assert parts(devices)["lifetimes"] + parts(devices)["uneven"] == 4.0
        assert parts(devices)["pieces"] == 14.0


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


def rows_of(prices: Prices, cases: str) -> list[dict[str, Any]]:
    """As `cost.csv` has them, of made-up programs: work grows with the scale behind the @."""
    random = np.random.default_rng(0)
    made = []
    for case in cases.split():
        scale = int(case.partition("@")[2])
        work = Work(*(10 ** random.uniform(5, 8, 5)))
        if case.startswith("a@"):
            work = Work(1e7, 2e7, operations=30.0) + Work(1e8, 3e8, operations=5e4) * scale
        known = dict(zip(WORK, astuple(work), strict=True))
        sizes = {"lifetimes": 10.0 * scale, "eta_bytes": 1e4, "host_seconds": 1e-3}
        seconds = {"references": prices.seconds(work) / 0.01, "reference_seconds": 0.01}
        made.append({"case": case, **known, **sizes, **seconds, "seconds": prices.seconds(work)})
    return made


PRICES = Prices(product=1e-10, byte=1e-10, dear=0.0, operation=1e-6)


def test_a_preset_is_predicted_by_others_alone() -> None:
    rows = rows_of(PRICES, "a@1 a@2 b@1 c@1 d@1")
    for row in rows[:2]:
        row["references"] *= 5
    for row in rows[:-1]:  # a busy machine slows the reference as well
        row["reference_seconds"] *= 3
    told = with_predictions(rows)
    assert [row["ratio"] for row in told] == pytest.approx([0.2, 0.2, *[row["ratio"] for row in told[2:]]])
    assert told[0]["seconds"] == pytest.approx(5 * PRICES.seconds(Work(*(rows[0][name] for name in WORK))))
    assert all("predicted" not in row for row in with_predictions(rows[:3]))


def test_a_preset_over_devices() -> None:
    rows = rows_of(PRICES, "a@1 a@4 b@1 c@1 d@1")
    told = over_devices(Arguments("a@6", most=64), rows, families=(40, 20), chunk=10)
    assert [row["devices"] for row in told] == [1, 2, 4, 8, 16, 32, 64]
    whole = Work(1e7, 2e7, operations=30.0) + Work(1e8, 3e8, operations=5e4) * 6
    assert told[0]["seconds"] == pytest.approx(PRICES.seconds(whole) + 1e-3)
    for row in told:
        assert row["seconds"] == pytest.approx(sum(row[part] for part in PARTS))
    assert told[-1]["lifetimes"] + told[-1]["uneven"] == pytest.approx(2 * PRICES.seconds(Work(1e7, 3e7)))
    assert told[-1]["pieces"] == pytest.approx(2 * 5e-2)
    with pytest.raises(UserError, match="must hold its preset at two scales"):
        over_devices(Arguments("b@6"), rows, families=(40,), chunk=10)


def test_kernels_of_a_compiled_program_are_counted_as_often_as_they_run() -> None:
    def step(x: jax.Array, _: None) -> tuple[jax.Array, None]:
        return jnp.tanh(x @ x) * 2 + 1, None

    compiled = jax.jit(lambda x: jax.lax.scan(step, x, None, length=9)[0]).lower(jnp.zeros((64, 64))).compile()
    text = compiled.as_text()
    work = executed(Work(products=1.0), text)
    assert work.products == 1.0
    # A product, a fused elementwise kernel, what counts the steps and compares: from two to six a step.
    assert 9 * 2 <= work.operations <= 9 * 6 + 4
    assert 9 * 4 * 4 * 64**2 <= work.bytes <= 9 * 8 * 4 * 64**2
    told = compiled.cost_analysis()
    assert told["bytes accessed"] < work.bytes / 4  # where the loop's body counts once


KERNELS = """HloModule made_up

%changed (p.0: f32[100,8], p.1: f32[1,8], p.2: s32[]) -> f32[100,8] {
  %p.0 = f32[100,8]{1,0} parameter(0)
  %p.1 = f32[1,8]{1,0} parameter(1)
  %p.2 = s32[] parameter(2)
  ROOT %d = f32[100,8]{1,0} dynamic-update-slice(%p.0, %p.1, %p.2, %p.2)
}

%body (b: (s32[], f32[100,8])) -> (s32[], f32[100,8]) {
  %b = (s32[], f32[100,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%b), index=0
  %a = f32[100,8]{1,0} get-tuple-element(%b), index=1
  %row = f32[1,8]{1,0} dynamic-slice(%a, %i, %i), dynamic_slice_sizes={1,8}
  %f = f32[100,8]{1,0} fusion(%a, %row, %i), kind=kLoop, calls=%changed
  ROOT %t = (s32[], f32[100,8]{1,0}) tuple(%i, %f)
}

%condition (c: (s32[], f32[100,8])) -> pred[] {
  %c = (s32[], f32[100,8]{1,0}) parameter(0)
  ROOT %less = pred[] constant(true)
}

ENTRY %main (x: f32[100,8]) -> f32[100,8] {
  %x = f32[100,8]{1,0} parameter(0)
  %zero = s32[] constant(0)
  %begin = (s32[], f32[100,8]{1,0}) tuple(%zero, %x)
  %w = (s32[], /*index=1*/f32[100,8]{1,0}) while(%begin), condition=%condition, body=%body, backend_config={TIMES}
  %last = f32[100,8]{1,0} get-tuple-element(%w), index=1
  ROOT %copy = f32[100,8]{1,0} copy(%last)
}
"""


@pytest.mark.parametrize(("told", "times"), [('{"known_trip_count":{"n":"7"}}', 7), ("{}", 1)])
def test_of_a_slice_the_slice_alone_moves(told: str, times: int) -> None:
    work = executed(Work(), KERNELS.replace("{TIMES}", told))
    assert work.operations == 2 * times + 1
    assert work.bytes == times * (2 * 32 + 2 * 32) + 2 * 3200


def test_rows_that_were_measured_otherwise_are_not_mixed_in(tmp_path: Path) -> None:
    add(table := tmp_path / "cost.csv", COLUMNS, {"case": "lpg/smoke@1", "chunk": CHUNK})
    assert [row["case"] for row in measured_alike(table)] == ["lpg/smoke@1"]
    add(table, COLUMNS, {"case": "lpg/smoke@2"})
    with pytest.raises(UserError, match="^out: .*cost.csv holds rows that were not measured in chunks of 8"):
        measured_alike(table)
