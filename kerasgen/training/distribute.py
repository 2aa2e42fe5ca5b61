"""Training on one device, several devices or several machines: TensorFlow's strategies by name."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.typing import Tensor

STRATEGIES = ("auto", "one_device", "mirrored", "multi_worker")


def get_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """Return a strategy of tf.distribute; make and compile the model in its `scope()`.

    Args:
        name: "one_device", the first GPU or else the CPU; "mirrored", all devices of this machine; "multi_worker",
            this process and others that TF_CONFIG names; "auto", the widest of these that the machine and TF_CONFIG
            have. Call it before any other use of TensorFlow for "multi_worker".

    Raises:
        UserError: the name is unknown, or TF_CONFIG is missing or malformed.
    """
    if name not in STRATEGIES:
        raise UserError(f"There is no strategy {name!r}: choose one of {', '.join(STRATEGIES)}.")
    if name == "multi_worker" or (name == "auto" and "TF_CONFIG" in os.environ):
        check_tf_config()
        return tf.distribute.MultiWorkerMirroredStrategy()
    devices = _devices()
    if name == "one_device" or (name == "auto" and len(devices) == 1):
        return tf.distribute.get_strategy()  # outside of any scope: TensorFlow's default, the first device
    return tf.distribute.MirroredStrategy(devices)


def _devices() -> list[str]:
    """Return this machine's GPUs, or else its CPU (logical ones where TensorFlow is configured to have several)."""
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    return [device.name for device in found]


def check_tf_config() -> None:
    """Raise `UserError` unless the environment variable TF_CONFIG describes a cluster and this task in it."""
    example = '{"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
    advice = f"set it as TensorFlow defines it, such as {example}."
    text = os.environ.get("TF_CONFIG")
    if text is None:
        raise UserError(
            f"The strategy 'multi_worker' reads the environment variable TF_CONFIG, which is not set: {advice}"
        )
    try:
        config = json.loads(text)
        workers = {job: list(hosts) for job, hosts in config["cluster"].items() if job in ("chief", "worker")}
        job, index = config["task"]["type"], int(config["task"]["index"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"TF_CONFIG can't be read ({type(error).__name__}: {error}): {advice}") from error
    if not 0 <= index < len(workers.get(job, [])):
        raise UserError(f"TF_CONFIG says that this is {job} {index}, which its cluster doesn't have: {advice}")
    for host in (host for hosts in workers.values() for host in hosts):
        if not (isinstance(host, str) and host.rpartition(":")[2].isdigit() and host.rpartition(":")[0]):
            raise UserError(f"TF_CONFIG names the worker {host!r}, which is not host:port: {advice}")


def worker_count(strategy: tf.distribute.Strategy | None = None) -> int:
    """Return how many processes train together; `strategy` is the present one by default."""
    resolver = (strategy or tf.distribute.get_strategy()).cluster_resolver
    if resolver is None:
        return 1
    jobs = resolver.cluster_spec().as_dict()
    return max(1, sum(len(jobs.get(job, ())) for job in ("chief", "worker")))


def several_workers_function(
    model: keras.Model, step: Callable[[Tensor], dict[str, Tensor]]
) -> Callable[[Iterator], dict[str, Tensor]]:
    """Make the steps of Keras' `fit` or `evaluate` over several workers, which Keras' own can't do (keras#20585).

    Args:
        model: the Keras model.
        step: its `train_step` or `test_step`, from a replica's batch to logs that are the same on each replica.

    Returns:
        A function from the iterator over the distributed dataset to the logs of the last of `steps_per_execution`
        steps, or of as many as there are batches left.
    """
    strategy = model.distribute_strategy

    def one_step(iterator: Iterator) -> dict[str, Tensor]:
        logs = strategy.run(step, args=(next(iterator),))
        return {name: strategy.experimental_local_results(value)[0] for name, value in logs.items()}

    one_step = one_step if model.run_eagerly else tf.function(one_step, reduce_retracing=True)

    def steps(iterator: Iterator) -> dict[str, Tensor]:
        logs = one_step(iterator)
        for _ in range(model.steps_per_execution - 1):
            try:
                logs = one_step(iterator)
            except (StopIteration, tf.errors.OutOfRangeError):
                break
        return logs

    return steps


@contextmanager
def failing_workers() -> Iterator[None]:
    """Turn what TensorFlow raises when another worker is gone into a `UserError`."""
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError) as error:
        raise UserError(
            "The training has stopped, because another worker has stopped or can't be reached "
            f"({str(error).splitlines()[0].strip()}): look at its output, and start all workers again."
        ) from error


def is_chief() -> bool:
    """Tell whether this process writes the files that several workers share; without TF_CONFIG it does."""
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        job, index = config["task"]["type"], int(config["task"]["index"])
        return job == "chief" or (job == "worker" and index == 0 and "chief" not in config["cluster"])
    except (KeyError, ValueError, TypeError):
        return True


def wait_for_workers(strategy: tf.distribute.Strategy) -> None:
    """Return when every worker has come here; at once if there is one only.

    Raises:
        UserError: another worker has stopped.
    """
    if worker_count(strategy) > 1:
        with failing_workers():
            strategy.reduce("SUM", strategy.run(lambda: tf.constant(1.0)), axis=None).numpy()
