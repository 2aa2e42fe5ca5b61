"""A bounded queue in front of a model: requests that wait together are run together."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from .refusal import Refusal

Arrays = dict[str, np.ndarray]


@dataclass
class Task:
    """A request that waits.

    Attributes:
        signature: what it asks for.
        inputs: by name; the first axis of each is the batch if there is a `key`.
        rows: how many examples it has.
        key: requests of one key may be run as one batch; None is run alone.
        deadline: by `time.monotonic`.
    """

    signature: str
    inputs: Arrays
    rows: int
    key: Hashable
    deadline: float
    answer: Future = field(default_factory=Future)


class Batcher:
    """Runs tasks in threads of its own.

    While all threads are busy, tasks gather, and the next free thread takes as many of one key as fit into a batch:
    under load batches grow by themselves, and without load nothing waits.

    Args:
        run: from a signature, inputs and a timeout in seconds to outputs.
        max_rows: of a batch; 1 runs every request alone.
        max_waiting: tasks; one more is refused.
        threads: how many batches run at a time.
    """

    def __init__(self, run: Callable[[str, Arrays, float], Arrays], max_rows: int, max_waiting: int, threads: int):
        self._run, self._max_rows, self._max_waiting = run, max_rows, max_waiting
        self._waiting: deque[Task] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def run(self, task: Task) -> Arrays:
        """Wait in the queue and for the answer.

        Raises:
            Refusal: the queue is full, the deadline passed, or the model refused the inputs.
        """
        with self._changed:
            if self._closed or len(self._waiting) >= self._max_waiting:
                raise Refusal("UNAVAILABLE", f"{len(self._waiting)} requests wait already: ask again in a moment.")
            self._waiting.append(task)
            self._changed.notify()
        try:
            return task.answer.result(max(0.0, task.deadline - time.monotonic()))
        except TimeoutError:
            task.answer.cancel()
            raise Refusal("DEADLINE_EXCEEDED", "The time for the request ran out: send smaller ones.") from None

    def close(self) -> None:
        """Run what waits, and end the threads."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return
                batch = self._take()
            batch = [task for task in batch if task.answer.set_running_or_notify_cancel()]
            if batch:
                self._execute(batch)

    def _take(self) -> list[Task]:
        first = self._waiting.popleft()
        batch, rows = [first], first.rows
        if first.key is None:
            return batch
        for task in list(self._waiting):
            if task.key == first.key and rows + task.rows <= self._max_rows:
                self._waiting.remove(task)
                batch.append(task)
                rows += task.rows
        return batch

    def _execute(self, batch: list[Task]) -> None:
        try:
            for task, outputs in zip(batch, self._outputs(batch), strict=True):
                task.answer.set_result(outputs)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            # One client's damaged picture is not a fault of the others.
            for task in batch:
                self._execute([task])

    def _outputs(self, batch: list[Task]) -> list[Arrays]:
        seconds = max(task.deadline for task in batch) - time.monotonic()
        first = batch[0]
        if len(batch) == 1:
            return [self._run(first.signature, first.inputs, seconds)]
        joined = {name: np.concatenate([task.inputs[name] for task in batch]) for name in first.inputs}
        outputs = self._run(first.signature, joined, seconds)
        ends = np.cumsum([task.rows for task in batch])[:-1]
        parts = {name: np.split(value, ends) for name, value in outputs.items()}
        return [{name: parts[name][i] for name in parts} for i in range(len(batch))]
