"""The queue: what waits together runs together, and nobody suffers for another."""

import threading
import time
from concurrent.futures import CancelledError

import numpy as np
import pytest

from kerasgen.serve.batching import Batcher, Task
from kerasgen.serve.memory import Memory
from kerasgen.serve.refusal import Refusal


def task(values, key="a", seconds=20.0):
    return Task("double", {"x": np.array(values)}, len(values), key, time.monotonic() + seconds)


class Doubling:
    """A model that waits until it is let go, and keeps what it was asked."""

    def __init__(self):
        self.open, self.busy, self.batches = threading.Event(), threading.Event(), []

    def __call__(self, signature, inputs):
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
            batcher.submit(tasks[i])
            answers[i] = tasks[i].answer.result(20)["y"].tolist()
        except Refusal as refusal:
            answers[i] = refusal.code
        except CancelledError:
            answers[i] = "CANCELED"

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
    batcher = Batcher(model, max_rows=4, max_waiting=10, threads=1, memory=Memory(2**30))
    tasks = [task([0]), task([1, 2]), task([3], key="b"), task([4]), task([5, 6]), task([7], key=None)]
    answers, threads = ask(batcher, tasks)
    finish(model, threads)
    batcher.close()
    assert answers == [[0], [2, 4], [6], [8], [10, 12], [14]]
    assert model.batches == [[0], [1, 2, 4], [3], [5, 6], [7]]


def test_one_bad_request_harms_no_other(model):
    batcher = Batcher(model, max_rows=8, max_waiting=10, threads=1, memory=Memory(2**30))
    answers, threads = ask(batcher, [task([0]), task([1]), task([-1]), task([2])])
    finish(model, threads)
    batcher.close()
    assert answers == [[0], [2], "INVALID_ARGUMENT", [4]]


def test_a_full_queue_refuses_and_who_is_gone_makes_room(model):
    batcher = Batcher(model, max_rows=1, max_waiting=2, threads=1, memory=Memory(2**30))
    tasks = [task([0]), task([1]), task([2]), task([3])]
    answers, threads = ask(batcher, tasks)
    threads[3].join()
    assert answers[3] == "UNAVAILABLE"
    tasks[1].answer.cancel()
    threads[1].join()
    late = task([4])
    batcher.submit(late)
    finish(model, threads)
    batcher.close()
    assert answers == [[0], "CANCELED", [4], "UNAVAILABLE"]
    assert late.answer.result()["y"].tolist() == [8]
    assert model.batches == [[0], [2], [4]]  # nobody waits for 1 any more


def test_many_examples_run_in_steps_and_end_when_nobody_waits(model):
    """A step takes 256 MiB of the network at most; the one that runs is the last for a client that left."""
    batcher = Batcher(model, max_rows=16, max_waiting=9, threads=1, memory=Memory(2**30))
    whole, left, alone = task(range(5)), task(range(5)), task(range(5), key=None)
    for each in (whole, left, alone):
        each.row_bytes = 2**27
    model.open.set()
    batcher.submit(whole)
    assert whole.answer.result(20)["y"].tolist() == [0, 2, 4, 6, 8]
    model.open.clear()
    model.busy.clear()
    batcher.submit(left)
    assert model.busy.wait(20)
    left.answer.cancel()
    batcher.submit(alone)
    model.open.set()
    assert alone.answer.result(20)["y"].tolist() == [0, 2, 4, 6, 8]
    batcher.close()
    assert model.batches == [[0, 1], [2, 3], [4], [0, 1], [0, 1, 2, 3, 4]]


def test_a_task_whose_time_is_over_ends_between_steps(model):
    batcher = Batcher(model, max_rows=16, max_waiting=9, threads=1, memory=Memory(2**30))
    late = task(range(4), seconds=0.2)
    late.row_bytes = 2**28
    batcher.submit(late)
    assert model.busy.wait(20)
    while time.monotonic() < late.deadline:
        time.sleep(0.01)
    model.open.set()
    with pytest.raises(Refusal, match="time for the request ran out"):
        late.answer.result(20)
    batcher.close()
    assert model.batches == [[0]]


def test_an_answer_too_large_is_refused_after_the_first_step(model):
    batcher = Batcher(model, max_rows=16, max_waiting=9, threads=1, memory=Memory(2**30), max_answer=3 * 8)
    large = task(range(4))
    large.row_bytes = 2**28
    model.open.set()
    batcher.submit(large)
    with pytest.raises(Refusal, match="ask for fewer examples"):
        large.answer.result(20)
    batcher.close()
    assert model.batches == [[0]]


def test_a_model_whose_rows_are_not_its_own_is_not_joined():
    """Its outputs have other rows than its inputs: each request runs alone and whole."""
    asked, held = [], threading.Event()

    def summed(signature, inputs):
        asked.append(inputs["x"].tolist())
        held.wait(20)
        return {"y": inputs["x"].sum(keepdims=True)}

    batcher = Batcher(summed, max_rows=8, max_waiting=9, threads=1, memory=Memory(2**30))
    tasks = [task([1]), task([2, 3]), task([4, 5])]
    for each in tasks:
        batcher.submit(each)
    held.set()
    assert [each.answer.result(20)["y"].tolist() for each in tasks] == [[1], [5], [9]]
    batcher.close()


def test_no_error_of_a_model_ends_the_thread():
    def failing(signature, inputs):
        raise {0: SystemExit, 1: MemoryError, 2: KeyError}[inputs["x"][0]]

    batcher = Batcher(failing, max_rows=8, max_waiting=9, threads=1, memory=Memory(2**30))
    codes = []
    for i in range(3):
        one = task([i])
        batcher.submit(one)
        with pytest.raises(Refusal) as refused:
            one.answer.result(20)
        codes.append(refused.value.code)
    assert codes == ["INTERNAL", "RESOURCE_EXHAUSTED", "INTERNAL"]
    batcher.close()
