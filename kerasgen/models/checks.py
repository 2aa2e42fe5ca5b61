"""What no model learns from: pictures of another range, labels outside the classes.

In a graph the numbers are known only when it runs: an assertion stops it there, and `refusals` turns what TensorFlow
raises into the sentence.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import get_args

import keras
import numpy as np
import tensorflow as tf

from kerasgen import values
from kerasgen.errors import UserError, a_kind
from kerasgen.keras_hooks import functional_nodes
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


def check_networks(arguments: Mapping[str, object], parameters: Mapping[str, inspect.Parameter]) -> None:
    """Raise `UserError` if one of a model's arguments isn't the network that it should be, or has no weights yet.

    Args:
        arguments: of its constructor, by name.
        parameters: the constructor's own; their annotations say where a network is wanted.
    """
    for name, value in arguments.items():
        kinds = get_args(parameters[name].annotation) or (parameters[name].annotation,)
        if keras.Model in kinds and all(isinstance(k, type) for k in kinds) and not isinstance(value, kinds):
            named = ", or say by name where one is stored" if str in kinds else ""
            raise UserError(f"{name} is {a_kind(value)}, but a network is needed: give a keras.Model{named}.")
        if isinstance(value, keras.Model) and not value.built:
            raise UserError(
                f"{name} is {a_kind(value)} that isn't built, so that nothing is known of its weights: begin it with "
                "a keras.Input, or call it on a batch first."
            )


def pictures_in(data: Tensor | Mapping[str, Tensor], model: str) -> Tensor:
    """Return the pictures of what a model learns from: {"image": images, …}, or images alone.

    Raises:
        UserError: they have another name, or are several.
    """
    if isinstance(data, tuple | list) and any(np.ndim(part) > 1 for part in data):
        raise UserError(
            f'{model} takes dicts {{"image": images}}, or images alone, but got {len(data)} arrays: give labels '
            'beside the images, as fit(images, labels), or as {"image": images, "label": labels}.'
        )
    if not isinstance(data, Mapping):
        return data
    if "image" not in data:
        raise UserError(
            f'{model} takes dicts {{"image": images}}, or images alone, but got {sorted(map(str, data))}: name the '
            'images "image", as kerasgen.data.load does.'
        )
    return data["image"]


def named(data: object, names: Iterable[str], takes: str, made_by: str) -> dict[str, Tensor]:
    """Return data that is a dict with such names.

    Raises:
        UserError: it isn't; with what a model takes, and what makes such data.
    """
    if isinstance(data, dict) and set(names) <= set(data):
        return data
    got = sorted(map(str, data)) if isinstance(data, Mapping) else type(data).__name__
    raise UserError(f"{takes}, but got {got}: make them with {made_by}.")


def check_axes(images: Tensor, needed: str = "[batch, height, width, channels]", what: str = "images") -> None:
    """Raise `UserError` unless pictures have four axes.

    Args:
        images: a tensor. Its shape is unknown where a dataset doesn't say it, and where it changes between calls.
        needed: their shape, as a sentence says it.
        what: their name in the sentence.
    """
    rank = tf.convert_to_tensor(images).shape.rank
    if rank is None:
        raise UserError(
            f"The {what} have no known number of axes, but {needed} is needed: give them so each time, and tell a "
            "dataset by its output_signature or by tf.ensure_shape."
        )
    if rank != 4:
        raise UserError(
            f"The {what} have the shape {tuple(images.shape)}, but {needed} is needed: give several at once, as "
            "dataset.batch makes them."
        )


def check_judged(discriminator: keras.Model, sides: tuple[int | None, int | None]) -> None:
    """Raise `UserError` if a discriminator's convolutions leave nothing of pictures of that height and width."""
    if not functional_nodes(discriminator) or None in sides:
        return
    shape = discriminator.input_shape
    if shape[1:3] != (None, None):  # one for pictures of its own size has seen that there is something
        return
    try:
        discriminator.compute_output_shape((1, *sides, shape[-1]))
    except ValueError:
        raise UserError(
            f"The discriminator {discriminator.name!r} has no answer to pictures of {sides[0]}×{sides[1]} pixels, of "
            "which its convolutions leave nothing: give it fewer of them (downsamplings), or larger pictures."
        ) from None


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


def check_numbers(args: tuple, kwargs: Mapping[str, Config]) -> None:
    """Raise `UserError` if `fit`, `evaluate` or `predict` was given nothing, or arrays or lists of text."""
    given = {**dict(zip(("x", "y"), args, strict=False)), **kwargs}
    parts = keras.tree.flatten(given.get("x"))
    if all(part is None for part in parts) or any(isinstance(part, np.ndarray) and not part.size for part in parts):
        raise UserError("No data was given: give arrays, or a data set, as kerasgen.data.load makes it.")
    data = {name: given[name] for name in ("x", "y", "validation_data") if name in given}
    for path, value in keras.tree.flatten_with_path(data):
        if isinstance(value, str | bytes | np.ndarray) and np.asarray(value).dtype.kind in "SUO":
            name = [part for part in path if isinstance(part, str)][-1]
            raise UserError(
                f"{name} is {value!r:.60}, but numbers are needed: read pictures into arrays, number classes "
                "from 0 to num_classes - 1, and leave other text out."
            )


def said_shape(tensor: Tensor) -> str:
    """Return "the shape (8, 3)", or another, as a sentence says it; see `check_axes` for what has none."""
    return "no known shape" if tensor.shape.rank is None else f"the shape {tuple(tensor.shape)}"


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
        raise UserError(f"The labels have {said_shape(labels)}, but {integers}[batch, {size}] vectors are needed.")
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
    """Turn the failed assertion of a running graph into its `UserError`; that of a data set's reader, too."""
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        sentence = re.search(rf"{_BEGIN}\] \[(.*?)\] \[{_END}", str(error), re.DOTALL)
        sentence = sentence or re.search(r"\bUserError: (.+)", str(error))  # with its traceback on further lines
        if sentence is None:
            raise
        raise UserError(sentence[1].replace("] [", "")) from None
