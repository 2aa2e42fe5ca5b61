"""Go through a picture as a plan says."""

import os
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from keras import ops

from kerasgen.networks.strips.graph import Step
from kerasgen.networks.strips.plan import Pass, Plan, last_uses, own_rows, rows_of_strip, within
from kerasgen.networks.strips.stores import InMemory, OnDisk, Rows
from kerasgen.networks.strips.windows import cut
from kerasgen.typing import Tensor


class Sink(Protocol):
    """What takes an output's rows, from the top down."""

    def write(self, low: int, rows: np.ndarray) -> None:
        """Take the rows from `low` on, [rows, width, channels]."""


def execute(
    plan: Plan,
    inputs: Sequence[Rows | np.ndarray],
    sinks: Sequence[Sink | None],
    folder: str | os.PathLike | None = None,
    on_strip: Callable[[], object] = lambda: None,
) -> list[Tensor | None]:
    """Compute what a plan was made for.

    Args:
        plan: by `make_plan`.
        inputs: in the order of the network's: pictures by rows, in the values that the network takes; or a vector.
        sinks: in the order of the network's outputs, for those that are pictures.
        folder: where temporary files may lie; None is the system's.
        on_strip: is called after each of `plan.strips`.

    Returns:
        In the order of the outputs, those that aren't pictures, [1, …].

    Raises:
        UserError: the disk is full.
    """
    run = _Run(plan, inputs, sinks, folder)
    try:
        for number, way in enumerate(plan.passes):
            run.go_through(way, on_strip)
            run.forget(number)
    finally:
        run.forget(len(plan.passes))
    return [run.small.get(value) for value in plan.graph.outputs]


class _Run:
    def __init__(
        self,
        plan: Plan,
        inputs: Sequence[Rows | np.ndarray],
        sinks: Sequence[Sink | None],
        folder: str | os.PathLike | None,
    ):
        self.plan, self.graph, self.folder = plan, plan.graph, folder
        self.small: dict[int, Tensor] = {}
        self.inputs: dict[int, Rows] = {}
        for number, given in zip(self.graph.inputs, inputs, strict=True):
            if self.graph.values[number].is_map:
                assert not isinstance(given, np.ndarray)  # a map comes by rows
                self.inputs[number] = given
            else:
                self.small[number] = ops.convert_to_tensor(given)
        self.kept: dict[int, InMemory | OnDisk] = {}
        self.sinks = [(v, sink) for v, sink in zip(self.graph.outputs, sinks, strict=True) if sink is not None]

    def go_through(self, way: Pass, on_strip: Callable[[], object]) -> None:
        for step in way.steps:
            if step.window is None and step.gather is None:
                self._whole(step)
        for value in way.writes:
            if value in self.plan.last_read:
                self.kept[value] = self._store(value)
        gathered = {step.output: step.gather() for step in way.steps if step.gather is not None}
        uses = last_uses(self.graph, way)
        for strip in range(way.strips):
            rows = rows_of_strip(self.graph, way, strip)
            present: dict[int, Tensor] = {}
            for value in way.writes:
                if value in way.reads and value in rows:  # an input that is an output too
                    self._write(value, self._read(value, rows[value]), rows[value], way, strip)
            for number, step in enumerate(way.steps):
                self._step(step, rows, present, gathered, way, strip)
                for value in [v for v in present if uses[v] <= number]:
                    del present[value]
            on_strip()
        for step in way.steps:
            if step.gather is not None:
                self.small[step.output] = step.call([gathered[step.output].result()])

    def _whole(self, step: Step) -> None:
        values = [
            self._read(p, (0, self.graph.values[p].height)) if self.graph.values[p].is_map else self.small[p]
            for p in step.parents
        ]
        made = step.call(values)
        if step.output in self.graph.unfolded:
            self.kept[step.output] = InMemory(ops.convert_to_numpy(made)[0])
        else:
            self.small[step.output] = made

    def _step(self, step: Step, rows: dict, present: dict, gathered: dict, way: Pass, strip: int) -> None:
        maps = self.graph.maps(step)
        if (step.window is None and step.gather is None) or any(p not in rows for p in maps):
            return
        for parent in maps:
            if parent not in present:
                present[parent] = self._read(parent, rows[parent])
        if step.gather is not None:
            (parent,) = maps
            own = own_rows(self.graph.values[parent].height, strip, way.strips)
            if own[0] < own[1]:  # a smaller map may have fewer rows than there are strips
                gathered[step.output].add(cut(present[parent], rows[parent][0], own))
        elif step.output in rows:
            height = self.graph.values[maps[0]].height
            assert step.window is not None  # as it gathers nothing
            low, high = rows[step.output]
            wanted = within(step.window.needs(low, high, height), height)
            values = [self._given(step, p, rows, present, wanted) for p in step.parents]
            made = step.window.run(step.call, values, wanted[0], rows[step.output], height)
            present[step.output] = made
            if step.output in way.writes:
                self._write(step.output, made, rows[step.output], way, strip)

    def _given(
        self, step: Step, parent: int, rows: dict, present: dict, wanted: tuple[int, int]
    ) -> Tensor | Callable[[int, int], Tensor]:
        if parent == step.anywhere:
            return lambda low, high: self._read(parent, (low, high))
        if not self.graph.values[parent].is_map:
            return self.small[parent]
        return cut(present[parent], rows[parent][0], wanted)

    def _write(self, value: int, made: Tensor, rows: tuple[int, int], way: Pass, strip: int) -> None:
        """Write a strip's own part of a map, without the margins."""
        low, high = own_rows(self.graph.values[value].height, strip, way.strips)
        array = np.asarray(made)[0, low - rows[0] : high - rows[0]]  # a view, where convert_to_numpy copies
        if value in self.kept:
            self.kept[value].write(low, array)
        for output, sink in self.sinks:
            if output == value:
                sink.write(low, array)

    def _read(self, value: int, rows: tuple[int, int]) -> Tensor:
        store = self.inputs.get(value) or self.kept[value]
        return ops.convert_to_tensor(store.read(*rows)[None], self.graph.values[value].dtype)

    def _store(self, value: int) -> InMemory | OnDisk:
        kind = self.graph.values[value]
        dtype = ops.convert_to_numpy(ops.zeros((), kind.dtype)).dtype
        _, height, width, channels = kind.shape
        if value in self.plan.on_disk:
            return OnDisk((height, width, channels), dtype, self.folder)
        return InMemory(np.empty((height, width, channels), dtype))

    def forget(self, number: int) -> None:
        """Give back the kept maps that no pass after this one reads."""
        for value in [v for v in self.kept if self.plan.last_read.get(v, number) <= number]:
            self.kept.pop(value).close()
