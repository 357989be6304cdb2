"""What a compiled program executes: kernels, and the memory they go through, counted in its text.

`compiled.cost_analysis()` counts the body of a loop once; here it counts as often as it runs, which XLA writes down
where it knows it. What the compiler has fused is one kernel, whose inner values are in no memory.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from metaobj.common.meta.cost import Work

_SIZES = {"pred": 1, "s8": 1, "u8": 1, "s16": 2, "u16": 2, "bf16": 2, "f16": 2, "s32": 4, "u32": 4, "f32": 4}
_SIZES |= {"s64": 8, "u64": 8, "f64": 8}
_FREE = {"parameter", "get-tuple-element", "tuple", "bitcast", "constant", "after-all", "iota"}
_HEAD = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\) -> .*\{")
_LINE = re.compile(r"\s+(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)")
_SHAPE = re.compile(r"(\w+)\[([\d,]*)\]")
_TIMES = re.compile(r'known_trip_count":\{"n":"(\d+)"')


@dataclass(frozen=True)
class _Instruction:
    name: str
    bytes: int  # of the result
    kind: str
    operands: tuple[str, ...]
    rest: str  # of its line

    def called(self, *attributes: str) -> Iterator[str]:
        """The computations that attributes name."""
        for attribute in attributes:
            for one, several in re.findall(rf"\b{attribute}=(?:%?([\w.\-]+)|\{{([^}}]*)\}})", self.rest):
                yield from (name.strip(" %") for name in (one or several).split(","))


_Computations = Mapping[str, Sequence[_Instruction]]


def executed(work: Work, text: str) -> Work:
    """A program's work with bytes and operations as they are in its compiled form, on one device: `as_text()`."""
    computations, entry = _read(text)
    moved, kernels = _run(computations, entry, {})
    return replace(work, bytes=moved, operations=kernels)


def _read(text: str) -> tuple[_Computations, str]:
    found: dict[str, list[_Instruction]] = {}
    current, entry = "", ""
    for line in text.splitlines():
        if (head := _HEAD.match(line)) is not None:
            current = head[2]
            found[current] = []
            entry = current if head[1] else entry
        elif current and (told := _LINE.match(re.sub(r"/\*.*?\*/", "", line))) is not None:
            inside, _, rest = told[4].partition(")")
            operands = tuple(re.findall(r"%([\w.\-]+)", inside))
            found[current].append(_Instruction(told[1], _bytes(told[2]), told[3], operands, rest))
    return found, entry


def _bytes(shapes: str) -> int:
    return sum(
        _SIZES[kind] * math.prod(map(int, filter(None, sizes.split(","))))
        for kind, sizes in _SHAPE.findall(shapes)
        if kind in _SIZES
    )


def _run(computations: _Computations, name: str, known: dict[str, tuple[float, float]]) -> tuple[float, float]:
    """Bytes and kernels of a computation; `known` holds those that were counted."""
    if name in known:
        return known[name]
    moved = kernels = 0.0
    sizes = {instruction.name: instruction.bytes for instruction in computations[name]}
    for one in computations[name]:
        if one.kind in _FREE:
            continue
        if one.kind in ("while", "call", "conditional"):
            inner = [
                _run(computations, called, known)
                for called in one.called(
                    "body", "condition", "to_apply", "branch_computations", "true_computation", "false_computation"
                )
            ]
            if one.kind == "conditional":
                inner = [max(inner)]
            times = int(told[1]) if one.kind == "while" and (told := _TIMES.search(one.rest)) else 1
            moved += times * sum(part[0] for part in inner)
            kernels += times * sum(part[1] for part in inner)
            continue
        kernels += 1
        moved += _moved(computations, one, sizes)
    known[name] = moved, kernels
    return moved, kernels


def _moved(computations: _Computations, one: _Instruction, sizes: Mapping[str, int]) -> float:
    """Bytes that a kernel reads and writes. Of an array that it takes or changes a part of, that part."""
    if one.kind == "dynamic-update-slice":
        return 2.0 * sizes.get(one.operands[1], 0)
    if one.kind in ("dynamic-slice", "scatter"):
        return 2.0 * one.bytes
    if one.kind == "fusion":
        (inner,) = one.called("calls")
        within = {part.name: part.bytes for part in computations[inner]}
        parts = [
            within.get(part.operands[1], 0) if part.kind == "dynamic-update-slice" else part.bytes
            for part in computations[inner]
            if part.kind in ("dynamic-slice", "dynamic-update-slice", "gather")
        ]
        if parts:
            return 2.0 * max(parts)
    return float(one.bytes + sum(sizes.get(operand, 0) for operand in one.operands))
