"""What no model learns from: pictures of another range, labels outside the classes.

In a graph the numbers are known only when it runs: an assertion stops it there, and `refusals` turns what TensorFlow
raises into the sentence.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import keras
import tensorflow as tf

from kerasgen import values
from kerasgen.errors import UserError
from kerasgen.typing import Config, Tensor

# Where the sentence stands in TensorFlow's message.
_BEGIN, _END = "<refused>", "</refused>"
# Of the range: interpolation overshoots a little.
_SLACK = 0.01


def check_options(options: Mapping[str, object], network: Callable[..., keras.Model], argument: str) -> None:
    """Raise `UserError` if a network is built without one of these options.

    Args:
        options: by name.
        network: builds it.
        argument: by which the options were given.
    """
    parameters = inspect.signature(network).parameters
    known = [name for name in parameters if name != "name"]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise UserError(
            f"{argument} has {unknown[0]!r}, but {network.__name__} takes {', '.join(known)}: choose of these."
        )
    for name, value in options.items():
        if parameters[name].annotation is int:
            values.whole(f"{name} of {argument}", value, least=1 if name == "filters" else 0)


def given_options(argument: str, value: object) -> dict[str, Config]:
    """Return a network's options as a dict of one's own; None is none.

    Raises:
        UserError: they are something else.
    """
    if value is not None and not isinstance(value, Mapping):
        raise UserError(f"{argument} is {value!r}: give a dict, such as {{'filters': 16}}.")
    return dict(value or {})


def as_tensor(name: str, value: object, dtype: tf.DType | None = None) -> Tensor:
    """Return what was given as a tensor; raise `UserError` if it isn't one, nor lists or an array of numbers."""
    try:
        return tf.convert_to_tensor(value, dtype)
    except (TypeError, ValueError) as error:
        raise UserError(f"The {name} are {str(value)[:60]!r}: give an array of numbers.") from error


def check_pictures(images: Tensor, value_range: tuple[float, float], what: str = "images") -> None:
    """Raise `UserError` unless the images are floats in the model's range, give or take a hundredth of it.

    Infinities and NaN pass: they are a training's fault, and `StopOnNaN` names them.

    Args:
        images: [batch, height, width, channels].
        value_range: what black and white are.
        what: their name in the sentence.
    """
    low, high = value_range
    images = tf.convert_to_tensor(images)
    to_range = f"divide pictures of 0 to 255 by {255 / (high - low):g}" + (f" and subtract {-low:g}" if low else "")
    needed = f", but this model needs floats in [{low:g}, {high:g}]: {to_range}."
    if not images.dtype.is_floating:
        raise UserError(f"The {what} are {images.dtype.name}{needed}")
    slack = _SLACK * (high - low)
    least, most = (tf.cast(edge, tf.float32) for edge in (tf.reduce_min(images), tf.reduce_max(images)))
    outside = ((least < low - slack) & tf.math.is_finite(least)) | ((most > high + slack) & tf.math.is_finite(most))
    _refuse_if(outside, f"The {what} reach from ", least, " to ", most, needed)


def check_labels(labels: Tensor, size: int, classes: bool) -> None:
    """Raise `UserError` unless labels [batch, size] are from 0 to 1, or classes are below `size`."""
    labels = tf.convert_to_tensor(labels)
    if not (labels.dtype.is_floating or labels.dtype.is_integer or labels.dtype.is_bool):
        raise UserError(f"The labels are {labels.dtype.name}, but numbers are needed: number the classes from 0.")
    if not (classes and labels.shape.rank == 1) and (labels.shape.rank != 2 or labels.shape[1] != size):
        integers = f"[batch] integers below {size} or " if classes else ""
        raise UserError(
            f"The labels have the shape {tuple(labels.shape)}, but {integers}[batch, {size}] vectors are needed."
        )
    labels = tf.cast(labels, tf.float32)
    least, most = tf.reduce_min(labels), tf.reduce_max(labels)
    if labels.shape.rank == 2:
        needed = ", but vectors from 0 to 1 are needed: write 1 for what an example is, and 0 for what it is not."
        _refuse_if(tf.reduce_any((labels < 0) | (labels > 1)), "The labels reach from ", least, " to ", most, needed)
        return
    outside = (labels < 0) | (labels > size - 1) | (labels != tf.floor(labels))
    needed = f", but this model knows the classes 0 to {size - 1} (whole numbers): number them from 0."
    _refuse_if(tf.reduce_any(outside), "The labels reach from ", least, " to ", most, needed)


def _refuse_if(wrong: Tensor, *parts: str | Tensor) -> None:
    if not tf.executing_eagerly():
        tf.debugging.Assert(tf.logical_not(wrong), [_BEGIN, *parts, _END])
    elif wrong:
        raise UserError("".join(part if isinstance(part, str) else f"{float(part):g}" for part in parts))


@contextmanager
def refusals() -> Iterator[None]:
    """Turn the failed assertion of a running graph into its `UserError`."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        sentence = re.search(rf"{_BEGIN}\] \[(.*?)\] \[{_END}", str(error), re.DOTALL)
        if sentence is None:
            raise
        raise UserError(sentence[1].replace("] [", "")) from None
