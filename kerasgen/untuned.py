"""tf.data without autotuning, which makes the end of an iteration wait."""

from typing import TypeVar

import tensorflow as tf

T = TypeVar("T")


def untuned(data: T) -> T:
    """Return a dataset whose iterations end at once; leave all else as it is, and one that is told to tune itself.

    Autotuning looks at a pipeline after 10 ms, 20, 40, … up to a minute. An iterator that ends tells it so, but
    TensorFlow 2.21 wakes it before it can see that: often it sleeps on until its next look, and `fit`, `evaluate`
    or an epoch with it. Without autotuning, what is left to it is as parallel as there are cores.

    Args:
        data: what `fit` takes.
    """
    if not isinstance(data, tf.data.Dataset) or data.options().autotune.enabled is not None:
        return data
    options = tf.data.Options()
    options.autotune.enabled = False
    return data.with_options(options)
