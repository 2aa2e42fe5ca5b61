"""A bounded queue in front of a model: requests that wait together are run together, and long ones in parts."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from kerasgen.errors import reason

from .memory import Memory
from .refusal import Refusal, invalid, too_late

Arrays = dict[str, np.ndarray]
Run = Callable[[str, Arrays], Arrays]

_STEP_BYTES = 256 * 2**20  # of the network, in one step; more examples are run in several


@dataclass(eq=False)
class Task:
    """A request that waits.

    Attributes:
        signature: what it asks for.
        inputs: by name; the first axis of each is the batch if there is a `key`.
        rows: how many examples it has.
        key: requests of one key may be run as one batch, and in parts; None is run alone and whole.
        deadline: by `time.monotonic`.
        row_bytes: what the network takes for one example.
        answer: the outputs, or a `Refusal`. Whoever doesn't wait for it any more cancels it.
    """

    signature: str
    inputs: Arrays
    rows: int
    key: Hashable
    deadline: float
    row_bytes: float = 0.0
    answer: Future = field(default_factory=Future)


class Batcher:
    """Runs tasks in threads of its own.

    While all threads are busy, tasks gather, and the next free thread takes as many of one key as fit into a batch:
    under load batches grow by themselves, and without load nothing waits. TensorFlow can't stop a step that runs, so
    a task of many examples is run in several: between them a task ends whose client is gone or whose time is over.

    Args:
        run: from a signature and inputs to outputs.
        max_rows: of a batch; with 1 every request is run alone and whole.
        max_waiting: tasks; one more is refused.
        threads: how many batches run at a time.
        memory: what they share.
        max_answer: bytes of one task's outputs.
    """

    def __init__(
        self, run: Run, max_rows: int, max_waiting: int, threads: int, memory: Memory, max_answer: int = 2**28
    ):
        self._run, self._max_rows, self._max_waiting = run, max_rows, max_waiting
        self._memory, self._max_answer = memory, max_answer
        self._waiting: deque[Task] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def submit(self, task: Task) -> None:
        """Put a task into the queue; its `answer` comes when it was run. A canceled one leaves the queue.

        Raises:
            Refusal: the queue is full.
        """
        with self._changed:
            if task.answer.cancelled():
                return
            if self._closed or len(self._waiting) >= self._max_waiting:
                raise Refusal("UNAVAILABLE", f"{len(self._waiting)} requests wait already: ask again in a moment.")
            self._waiting.append(task)
            self._changed.notify()
        task.answer.add_done_callback(lambda answer: self._forget(task) if answer.cancelled() else None)

    def close(self) -> None:
        """Run what waits, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _forget(self, task: Task) -> None:
        with self._changed, suppress(ValueError):  # a thread has it already
            self._waiting.remove(task)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                batch = self._take()
            self._execute(batch)

    def _take(self) -> list[Task]:
        first = self._waiting.popleft()
        batch, rows = [first], first.rows
        if first.key is None:
            return batch
        for task in list(self._waiting):
            more = rows + task.rows
            if task.key == first.key and more <= self._max_rows and more * task.row_bytes <= _STEP_BYTES:
                self._waiting.remove(task)
                batch.append(task)
                rows = more
        return batch

    def _execute(self, batch: list[Task]) -> None:
        batch = [task for task in batch if not task.answer.done()]
        try:
            for task, outputs in zip(batch, self._outputs(batch), strict=True):
                with suppress(InvalidStateError):  # its client left at this very moment
                    task.answer.set_result(outputs)
        except BaseException as error:  # whatever it is, this thread goes on: others wait
            if len(batch) == 1:
                with suppress(InvalidStateError):
                    batch[0].answer.set_exception(_refusal(error))
                return
            # One client's damaged picture is not the others' fault.
            for task in batch:
                self._execute([task])

    def _outputs(self, batch: list[Task]) -> list[Arrays]:
        if len(batch) <= 1:
            return [self._alone(task) for task in batch]
        first, rows = batch[0], sum(task.rows for task in batch)
        joined = {name: np.concatenate([task.inputs[name] for task in batch]) for name in first.inputs}
        row_bytes, deadline = max(task.row_bytes for task in batch), max(task.deadline for task in batch)
        with self._memory.taken(rows * row_bytes, deadline):
            outputs = self._of_rows(first.signature, joined, rows)
        ends = np.cumsum([task.rows for task in batch])[:-1]
        parts = {name: np.split(value, ends) for name, value in outputs.items()}
        return [{name: parts[name][i] for name in parts} for i in range(len(batch))]

    def _alone(self, task: Task) -> Arrays:
        parts: list[Arrays] = []
        for inputs, rows in self._steps(task):
            if task.answer.cancelled() or time.monotonic() > task.deadline:
                raise too_late()
            with self._memory.taken(rows * task.row_bytes, task.deadline):
                whole = rows == task.rows
                outputs = self._run(task.signature, inputs) if whole else self._of_rows(task.signature, inputs, rows)
            if whole:
                return outputs
            if not parts:
                self._check_answer(outputs, task.rows / rows)
            parts.append(outputs)
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _steps(self, task: Task) -> Iterator[tuple[Arrays, int]]:
        at_once = max(1, int(_STEP_BYTES / task.row_bytes)) if task.row_bytes else task.rows
        if task.key is None or self._max_rows == 1 or at_once >= task.rows:
            yield task.inputs, task.rows
            return
        for start in range(0, task.rows, at_once):
            part = {name: value[start : start + at_once] for name, value in task.inputs.items()}
            yield part, min(at_once, task.rows - start)

    def _of_rows(self, signature: str, inputs: Arrays, rows: int) -> Arrays:
        outputs = self._run(signature, inputs)
        if any(len(value) != rows for value in outputs.values()):
            raise Refusal("INTERNAL", "The model's outputs have other rows than its inputs: serve it --no-batching.")
        return outputs

    def _check_answer(self, outputs: Arrays, times: float) -> None:
        size = times * sum(value.nbytes for value in outputs.values())
        if size > self._max_answer:
            said = f"about {size / 2**20:,.0f} MiB, but at most {self._max_answer / 2**20:,.0f} MiB are given"
            raise invalid(f"The answer would have {said}: ask for fewer examples at a time.")


def _refusal(error: BaseException) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MemoryError):
        return Refusal("RESOURCE_EXHAUSTED", "The request needs more memory than there is: shrink it.")
    return Refusal("INTERNAL", f"The model could not be run ({reason(error)}).")
