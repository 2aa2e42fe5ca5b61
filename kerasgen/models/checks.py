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
from kerasgen.errors import UserError, a_kind
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


def check_built(arguments: Mapping[str, object]) -> None:
    """Raise `UserError` if one of a model's arguments is a network that has no weights yet."""
    for name, value in arguments.items():
        if isinstance(value, keras.Model) and not value.built:
            raise UserError(
                f"{name} is {a_kind(value)} that isn't built, so that nothing is known of its weights: begin it with "
                "a keras.Input, or call it on a batch first."
            )


def check_sides(images: Tensor, multiple: int, what: str) -> None:
    """Raise `UserError` if pictures [batch, height, width, channels] have known sides that a network can't divide."""
    sides = images.shape[1:3]
    if any(side is not None and side % multiple for side in sides):
        raise UserError(
            f"The {what} are {'×'.join(map(str, sides))}, but this network needs sides divisible by {multiple}: "
            "resize or cut them."
        )


def check_made(network: str, made: tuple[int | None, ...], wanted: tuple[int, ...]) -> None:
    """Raise `UserError` unless a network gives arrays of a shape, the batch aside, or leaves it open.

    Args:
        network: what a sentence calls it.
        made: the shape that it says, with the batch.
        wanted: the shape that the model needs, without.
    """
    if len(made) != len(wanted) + 1 or any(
        is_ not in (None, want) for is_, want in zip(made[1:], wanted, strict=True)
    ):
        raise UserError(
            f"The {network} gives {tuple(made[1:])} of an example, but the model needs {wanted}: build both for one."
        )


def weighted(args: tuple, kwargs: dict[str, Config]) -> tuple[tuple, dict[str, Config]]:
    """Return the arguments of `fit` or `evaluate` with sample weights where Keras doesn't lose them.

    It drops those that come without targets, of which most of these models have none.

    Raises:
        UserError: there is no place for them.
    """
    kwargs, given = dict(kwargs), dict(zip(("x", "y"), args, strict=False))
    x, y = given.get("x", kwargs.get("x")), given.get("y", kwargs.get("y"))
    if y is None and kwargs.get("class_weight") is not None:
        raise UserError("class_weight goes by targets, but none were given: give data['sample_weight'] instead.")
    if y is None and kwargs.get("sample_weight") is not None:
        moved = _with_weight(x, kwargs.pop("sample_weight"))
        args, kwargs = ((moved, *args[1:]), kwargs) if args else (args, {**kwargs, "x": moved})
    validation = kwargs.get("validation_data")
    if isinstance(validation, tuple | list) and len(validation) == 3 and validation[1] is None:
        kwargs["validation_data"] = (_with_weight(validation[0], validation[2]),)
    return args, kwargs


def _with_weight(x: object, weight: object) -> dict[str, object]:
    if not isinstance(x, Mapping):
        raise UserError(
            "sample_weight was given without targets, where Keras loses it: give data as a dict by name, such as "
            '{"image": images, "sample_weight": weights}.'
        )
    return {**x, "sample_weight": weight}


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
        outside = ~((labels >= 0) & (labels <= 1))  # NaN is neither
        _refuse_if(tf.reduce_any(outside), "The labels reach from ", least, " to ", most, needed)
        return
    outside = ~((labels >= 0) & (labels <= size - 1) & (labels == tf.floor(labels)))
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
