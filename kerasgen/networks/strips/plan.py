"""Which maps are kept and which are computed again, in how many strips each pass goes, and what all of that takes."""

from dataclasses import dataclass, field

import keras

from kerasgen.networks.strips.graph import Graph, Step, make_graph
from kerasgen.networks.strips.rules import NoPlan
from kerasgen.networks.strips.windows import Window

# A map is kept where computing it again takes more multiplications a byte than this: the first that fits in memory,
# or else the last. A core multiplies about 50 times in the time in which a disk writes and reads a byte, and space on
# the disk counts too.
_THRESHOLDS = (0.0, 100.0)
# Rows of the picture by which a strip may be higher than what it makes, on each side: what lies deeper is kept.
_MOST_REACH = 32.0
_SHARE_OF_STRIPS = 0.5  # of the memory, where not all kept maps fit beside them
# What a strip takes, in terms of its tensors. TensorFlow with oneDNN (a CPU with AVX-512) never returns what a tensor
# took, and what tensors of another size can't use stays taken: up to 2.4 times as much again where many small layers
# follow each other. Without oneDNN the C library keeps 1.6 times as much.
_FREED_LATE = 3.4
# The same for a whole picture: tensors from 32 MB on are mapped by themselves, and of smaller ones no more is kept
# than a heap becomes large.
_AT_ONCE, _KEPT_AT_ONCE, _MOST_KEPT = 1.4, 1.2, 8e7


@dataclass
class Pass:
    """One way through the picture.

    Attributes:
        steps: what is computed, in order, small tensors included.
        writes: the maps that are kept or are outputs.
        reads: kept maps and inputs.
        strips: into how many parts `writes` and what is gathered are divided.
        memory: bytes that a strip takes.
    """

    steps: list[Step]
    writes: list[int]
    reads: set[int]
    strips: int = 1
    memory: int = 0


@dataclass
class Plan:
    """What `execute` does.

    Attributes:
        given: bytes that may be taken.
        memory: bytes of kept maps and strips, at most at a time.
        disk: bytes of temporary files, at most at a time.
        on_disk: the kept maps that lie there.
        last_read: by kept map, the pass after which it is forgotten.
    """

    graph: Graph
    passes: list[Pass]
    given: int
    on_disk: set[int] = field(default_factory=set)
    last_read: dict[int, int] = field(default_factory=dict)
    memory: int = 0
    disk: int = 0

    @property
    def strips(self) -> int:
        """How many strips all passes have: the length of a progress bar."""
        return sum(way.strips for way in self.passes)


def make_plan(network: keras.Model, shapes: list[tuple[int, ...]], memory: int) -> Plan:
    """Plan a functional network for one picture.

    Args:
        network: the model.
        shapes: of its inputs, without the batch, in the order of `network.inputs`.
        memory: bytes that kept maps and strips may take.

    Raises:
        UnknownLayer: a layer can't be computed strip by strip.
        NoPlan: even single rows take more memory.
    """
    graph = make_graph(network, shapes)
    for threshold in _THRESHOLDS:
        plan = _placed(graph, _passes(graph, _Levels(graph, threshold)), memory)
        if not plan.disk:
            break
    if plan.memory > memory:
        raise NoPlan(
            f"{_megabytes(memory)} are too little for a picture of {shapes[0][1]}×{shapes[0][0]} pixels: "
            f"give {_megabytes(plan.memory)} at least, or shrink it."
        )
    return plan


def tensors_at_once(graph: Graph) -> int:
    """Return the bytes of a graph's tensors, at most at a time, when all rows of its maps go through together."""
    maps = {number: (0, value.height) for number, value in enumerate(graph.values) if value.is_map}
    steps = [step for step in graph.steps if step.gather is None]  # a norm gathers as it is applied
    return _peak(graph, Pass(steps, [v for v in graph.outputs if v in maps], set(graph.inputs)), maps)


def memory_at_once(tensors: float) -> float:
    """Return about what a process takes for a whole picture whose tensors have so many bytes."""
    return _AT_ONCE * tensors + min(_KEPT_AT_ONCE * tensors, _MOST_KEPT)


def _megabytes(count: float) -> str:
    return f"{-(-count // 10**6):,.0f} MB"


class _Levels:
    """In which pass each value can be made, and which maps are kept from one pass for a later one.

    A small tensor's level is the first pass that can use it. A map's is the first that can make its rows.
    """

    def __init__(self, graph: Graph, threshold: float):
        self.graph, self.threshold = graph, threshold
        self.maker = {step.output: step for step in graph.steps}
        self.level = dict.fromkeys(graph.inputs, 0)
        # What is there whole before a pass begins: its level is that of the pass before.
        self.held = {p: -1 for p in graph.inputs if graph.values[p].is_map}
        self.kept: set[int] = set()
        self._reach = dict.fromkeys(graph.inputs, 0.0)
        self._full = max([graph.values[p].height for p in graph.inputs if graph.values[p].is_map], default=0)
        for step in graph.steps:
            self._place(step)

    def _place(self, step: Step) -> None:
        graph, maps = self.graph, self.graph.maps(step)
        level = max([self._from(p) for p in step.parents], default=0)
        whole = step.window is None and step.gather is None
        for parent in maps if whole else [step.anywhere] if step.anywhere is not None else []:
            level = max(level, self._keep(parent))
        if step.window is None:
            unfolds = step.output in graph.unfolded
            self.level[step.output] = level + (step.gather is not None)
            if unfolds:
                self.held[step.output] = level - 1
            self._reach[step.output] = 0.0
            return
        for parent in maps:
            if level > self._from(parent):
                self._keep_if_worth(parent)
        reach = max([self._reach_into(p, level) for p in maps], default=0.0)
        own = step.window.reach * self._full / graph.values[maps[0]].height
        if reach and own and reach + own > _MOST_REACH:
            level = max(level, *[self._keep(self._root(p)) for p in maps if self._reach_into(p, level)])
            reach = 0.0
        self.level[step.output], self._reach[step.output] = level, reach + own

    def _from(self, value: int) -> int:
        return self.held[value] + 1 if value in self.held else self.level[value]

    def _keep(self, value: int) -> int:
        """Keep a map, and return the first pass that can read it."""
        if value in self.held:
            return self.held[value] + 1
        self.kept.add(value)
        return self.level[value] + 1

    def _is_read(self, value: int, level: int) -> bool:
        return value in self.held or (value in self.kept and level > self.level[value])

    def _reach_into(self, value: int, level: int) -> float:
        root = self._root(value)
        return 0.0 if self._is_read(root, level) else self._reach[value]

    def _root(self, value: int) -> int:
        """Return the map from which this one is made pixel by pixel, if it isn't larger: it is kept in its place."""
        graph = self.graph
        while value not in self.held:
            step = self.maker[value]
            maps = graph.maps(step)
            pointwise = step.window is not None and type(step.window) is Window and len(maps) == 1
            if (
                not pointwise
                or graph.values[maps[0]].size_bytes > graph.values[value].size_bytes
                or step.multiplications
            ):
                break
            value = maps[0]
        return value

    def _keep_if_worth(self, value: int) -> None:
        root = self._root(value)
        if root in self.held or root in self.kept:
            return
        size = self.graph.values[root].size_bytes
        work, sources = self._again(root)
        freed = sum(self.graph.values[s].size_bytes for s in sources if not self._serves_others(s, root))
        if work >= self.threshold * size or size < freed:
            self.kept.add(root)

    def _again(self, value: int) -> tuple[float, set[int]]:
        """Return the multiplications of computing a map again, and the kept maps that it would be computed from."""
        work, sources, seen, waiting = 0.0, set(), {value}, [value]
        while waiting:
            step = self.maker[waiting.pop()]
            work += step.multiplications
            for parent in self.graph.maps(step):
                if parent in self.kept:
                    sources.add(parent)
                elif parent not in self.held and parent not in seen:
                    seen.add(parent)
                    waiting.append(parent)
        return work, sources

    def _serves_others(self, source: int, value: int) -> bool:
        """Tell whether a kept map is needed for more than `value`, what was kept since left aside."""
        reached = {source}
        for step in self.graph.steps:
            if step.gather is None and step.output != value and reached & set(step.parents):
                if step.output in self.graph.outputs or step.output not in self.level:
                    return True
                if step.output not in self.kept:
                    reached.add(step.output)
        return False


def _passes(graph: Graph, levels: _Levels) -> list[Pass]:
    while True:
        passes = [_pass(graph, levels, level) for level in range(max(levels.level.values()) + 1)]
        unread = levels.kept - set().union(*(way.reads for way in passes))
        if not unread:
            return passes
        levels.kept -= unread


def _pass(graph: Graph, levels: _Levels, level: int) -> Pass:
    gathers = [s for s in graph.steps if s.gather is not None and levels.level[s.output] == level + 1]
    wanted = {v for v in levels.kept if levels.level[v] == level}
    wanted |= {v for v in graph.outputs if graph.values[v].is_map and levels.level[v] == level}
    wholes = [s for s in graph.steps if s.window is None and s.gather is None and levels.level[s.output] == level]
    needed: set[int] = set()
    reads = {p for s in wholes for p in graph.maps(s)}
    waiting = [*(wanted - set(levels.held)), *[p for s in gathers for p in s.parents]]
    while waiting:
        value = waiting.pop()
        if value in levels.held or (value in levels.kept and levels.level[value] < level):
            reads.add(value)
        elif value not in needed:
            needed.add(value)
            step = levels.maker[value]
            waiting += graph.maps(step)
            reads |= set() if step.anywhere is None else {step.anywhere}
    done = needed | {s.output for s in [*gathers, *wholes]}
    return Pass([s for s in graph.steps if s.output in done], sorted(wanted), reads)


def _placed(graph: Graph, passes: list[Pass], memory: int) -> Plan:
    """Divide passes into strips, and put kept maps into memory as long as they fit, or else on disk."""
    plan = Plan(graph, passes, memory)
    for number, way in enumerate(passes):
        plan.last_read |= dict.fromkeys(way.reads - set(graph.inputs), number)
    _place(plan, None)
    # Where all kept maps fit, strips take what is left: the higher they are, the less is computed twice.
    for_strips = max(int(memory * _SHARE_OF_STRIPS), memory - plan.memory)
    for way in passes:
        way.strips, way.memory = _divided(graph, way, for_strips)
    strips = max(way.memory for way in passes)
    _place(plan, memory - strips)
    plan.memory += strips
    return plan


def _place(plan: Plan, memory: int | None) -> None:
    """Say which kept maps lie on disk, so that the others fit in `memory`, and what they take at most at a time."""
    plan.on_disk, plan.memory, plan.disk = set(), 0, 0
    in_memory, on_disk = 0, 0
    alive: dict[int, int] = {}
    for number, way in enumerate(plan.passes):
        unfolded = [s.output for s in way.steps if s.output in plan.graph.unfolded]
        for value in [*unfolded, *(v for v in way.writes if v in plan.last_read)]:
            size = alive[value] = plan.graph.values[value].size_bytes
            if value not in plan.graph.unfolded and memory is not None and in_memory + size > memory:
                plan.on_disk.add(value)
                on_disk += size
            else:
                in_memory += size
        plan.memory, plan.disk = max(plan.memory, in_memory), max(plan.disk, on_disk)
        for value in [v for v in alive if plan.last_read.get(v, number) <= number]:
            size = alive.pop(value)
            on_disk, in_memory = (on_disk - size, in_memory) if value in plan.on_disk else (on_disk, in_memory - size)


def _divided(graph: Graph, way: Pass, memory: int) -> tuple[int, int]:
    """Return the fewest strips whose memory suffices, or as many as there are rows, and that memory."""
    heights = [graph.values[v].height for v in _divided_maps(graph, way)]
    if not heights:
        return 1, 0
    low, high = 1, max(heights)
    if (taken := _strip_memory(graph, way, low)) <= memory:
        return low, taken
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _strip_memory(graph, way, middle) <= memory else (middle, high)
    return high, _strip_memory(graph, way, high)


def _divided_maps(graph: Graph, way: Pass) -> list[int]:
    return [*way.writes, *[s.parents[0] for s in way.steps if s.gather is not None]]


def own_rows(height: int, strip: int, strips: int) -> tuple[int, int]:
    """Return the rows [low, high) of a map that a strip makes."""
    return height * strip // strips, height * (strip + 1) // strips


def within(rows: tuple[int, int], height: int) -> tuple[int, int]:
    """Return those rows [low, high) that a map of this height has."""
    return max(rows[0], 0), min(rows[1], height)


def rows_of_strip(graph: Graph, way: Pass, strip: int) -> dict[int, tuple[int, int]]:
    """Return which rows [low, high) of each map are there while a strip goes through."""
    rows: dict[int, tuple[int, int]] = {}

    def want(value: int, low: int, high: int) -> None:
        low, high = within((low, high), graph.values[value].height)
        if low < high:
            before = rows.get(value, (low, high))
            rows[value] = min(low, before[0]), max(high, before[1])

    for value in _divided_maps(graph, way):
        want(value, *own_rows(graph.values[value].height, strip, way.strips))
    for step in reversed(way.steps):
        if step.window is not None and step.output in rows and step.output not in way.reads:
            for parent in graph.maps(step):
                want(parent, *step.window.needs(*rows[step.output], graph.values[parent].height))
    return rows


def last_uses(graph: Graph, way: Pass) -> dict[int, int]:
    """Return, by map, the number of the step after which a strip's rows of it are no longer needed."""
    uses = {}
    for number, step in enumerate(way.steps):
        uses[step.output] = number
        uses |= dict.fromkeys(graph.maps(step), number)
    return uses


def _strip_memory(graph: Graph, way: Pass, strips: int) -> int:
    """Return about what the middle one of so many strips takes at most at a time."""
    trial = Pass(way.steps, way.writes, way.reads, strips)
    return int(_FREED_LATE * _peak(graph, trial, rows_of_strip(graph, trial, strips // 2)))


def _peak(graph: Graph, way: Pass, rows: dict[int, tuple[int, int]]) -> int:
    """Return what tensors of these rows and what their kernels work with take at most at a time."""
    uses = last_uses(graph, way)
    alive: dict[int, int] = {}
    most = 0
    for number, step in enumerate(way.steps):
        maps = [p for p in graph.maps(step) if p in rows]
        for value in [*maps, *[step.output] * (step.output in rows)]:
            alive[value] = (rows[value][1] - rows[value][0]) * graph.values[value].row_bytes
        if maps:
            most = max(most, sum(alive.values()) + _scratch(graph, way, step, rows, alive))
        for value in [v for v in alive if uses[v] <= number]:
            del alive[value]
    return most


def _scratch(graph: Graph, way: Pass, step: Step, rows: dict[int, tuple[int, int]], alive: dict[int, int]) -> int:
    """Return what a step takes besides the rows that it is given and those that it makes."""
    parent = graph.maps(step)[0]
    if step.gather is not None:
        return 3 * alive[parent]  # without the margin, the differences from the mean, and their squares
    if step.output not in rows:
        return 0
    kernels = step.scratch * (rows[parent][1] - rows[parent][0])
    # What is written is cut out of its margin, and copied.
    return int(alive[step.output] * (step.temporaries + 2 * (step.output in way.writes))) + kernels
