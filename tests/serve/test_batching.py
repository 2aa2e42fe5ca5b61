"""The queue: what waits together runs together, and nobody suffers for another."""

import threading
import time

import numpy as np
import pytest

from kerasgen.serve.batching import Batcher, Task
from kerasgen.serve.refusal import Refusal


def task(values, key="a", seconds=20.0):
    return Task("double", {"x": np.array(values)}, len(values), key, time.monotonic() + seconds)


class Doubling:
    """A model that waits until it is let go, and keeps what it was asked."""

    def __init__(self):
        self.open, self.busy, self.batches = threading.Event(), threading.Event(), []

    def __call__(self, signature, inputs, seconds):
        self.busy.set()
        assert self.open.wait(20)
        self.batches.append(inputs["x"].tolist())
        if -1 in inputs["x"]:
            raise Refusal("INVALID_ARGUMENT", "no -1")
        return {"y": inputs["x"] * 2}


@pytest.fixture
def model():
    return Doubling()


def ask(batcher, tasks):
    """Each task in a thread of its own; gives the answers in order once `release` is called."""
    answers = [None] * len(tasks)

    def one(i):
        try:
            answers[i] = batcher.run(tasks[i])["y"].tolist()
        except Refusal as refusal:
            answers[i] = refusal.code

    threads = [threading.Thread(target=one, args=(i,)) for i in range(len(tasks))]
    for thread in threads:
        thread.start()
        time.sleep(0.02)  # in this order
    return answers, threads


def finish(model, threads):
    model.open.set()
    for thread in threads:
        thread.join()


def test_what_waits_together_runs_together(model):
    batcher = Batcher(model, max_rows=4, max_waiting=10, threads=1)
    tasks = [task([0]), task([1, 2]), task([3], key="b"), task([4]), task([5, 6]), task([7], key=None)]
    answers, threads = ask(batcher, tasks)
    finish(model, threads)
    batcher.close()
    assert answers == [[0], [2, 4], [6], [8], [10, 12], [14]]
    assert model.batches == [[0], [1, 2, 4], [3], [5, 6], [7]]


def test_one_bad_request_harms_no_other(model):
    batcher = Batcher(model, max_rows=8, max_waiting=10, threads=1)
    answers, threads = ask(batcher, [task([0]), task([1]), task([-1]), task([2])])
    finish(model, threads)
    batcher.close()
    assert answers == [[0], [2], "INVALID_ARGUMENT", [4]]


def test_a_full_queue_refuses_and_a_late_answer_is_not_waited_for(model):
    batcher = Batcher(model, max_rows=1, max_waiting=2, threads=1)
    answers, threads = ask(batcher, [task([0]), task([1], seconds=0.2), task([2]), task([3])])
    threads[1].join()
    assert answers[1] == "DEADLINE_EXCEEDED"
    finish(model, threads)
    batcher.close()
    assert answers == [[0], "DEADLINE_EXCEEDED", [4], "UNAVAILABLE"]
    assert model.batches == [[0], [2]]  # nobody waits for 1 any more
