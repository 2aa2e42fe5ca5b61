"""Batches of inputs for a network: what the user gives, or what fits."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.errors import UserError, a_kind, require_tensorflow
from kerasgen.keras_hooks import require_export_hooks

from ..gate.parity import peak, psnr
from ..gate.runtime import Arrays
from .format import Format
from .precision import in_float32, precisions
from .refused import check_exportable
from .signature import Signature, TensorInfo, model_signature
from .spec import ImageSpec

if TYPE_CHECKING:
    import keras

# By precision, in dB: many layers of bfloat16, whose numbers have eight bits, come near.
_LEAST_LIKENESS = {"float64": 70.0, "float16": 36.0, "bfloat16": 20.0}
_SAME = 60.0  # dB: no gain of a hundredth is left in what is nearer
_MOST_GAIN = 0.02  # or offset, if it explains most of the difference


def network_and_inputs(
    model: "keras.Model", inputs: object, image: ImageSpec | None = None, form: Format | None = None
) -> tuple[Signature, Arrays]:
    """Return a model's signature, in float32, and the batch to compare on: the user's, or `default_inputs`.

    Args:
        model: the Keras model.
        inputs: a batch as the network takes it; pictures may be uint8 where `image` says what they are.
        image: what pictures are inside the network.
        form: the format whose names the tensors get.

    Raises:
        UserError: Keras runs on another backend than TensorFlow, or the model or the inputs don't fit.
    """
    require_tensorflow("Exporting")
    require_export_hooks()
    check_exportable(model, form)
    twin = in_float32(model)
    signature = model_signature(twin, inputs, form)
    arrays = default_inputs(signature, image) if inputs is None else check_inputs(signature, inputs, image)
    if twin is not model:
        _check_twin(model_signature(model, inputs, form), signature, arrays, precisions(model))
    return signature, arrays


def _check_twin(own: Signature, twin: Signature, arrays: Arrays, known: set[str]) -> None:
    """Raise `UserError` unless a network and what it became in float32 give the same, but for its own rounding."""
    least = min((value for name, value in _LEAST_LIKENESS.items() if name in known), default=70.0)
    # Tensors that nobody gave a name are called otherwise in each.
    given = zip(own.inputs.items(), arrays.values(), strict=True)
    expected = own.reference({name: value.astype(info.dtype) for (name, info), value in given})
    for (name, value), found in zip(expected.items(), twin.reference(arrays).values(), strict=True):
        likeness = psnr(found, value) if found.dtype.kind == "f" else math.inf
        if likeness < least or (likeness < _SAME and _is_scaled(found, value)):
            raise UserError(
                f"{own.model.name!r} in float32 gives another {name!r} than in {' and '.join(sorted(known))}: a "
                "layer holds more than its weights and its get_config say. Make the model in float32, and copy its "
                "weights."
            )


def _is_scaled(found: np.ndarray, expected: np.ndarray) -> bool:
    """Tell whether two outputs differ mostly by a gain or an offset: something lost, where rounding is noise."""
    value = expected.astype("float64").ravel()
    error = found.astype("float64").ravel() - value
    spread, noise = value - value.mean(), error - error.mean()
    gain = float(noise @ spread) / max(float(spread @ spread), 1e-300)
    scaled = abs(gain) > _MOST_GAIN and gain**2 * (spread @ spread) > 0.5 * (noise @ noise)
    moved = abs(error.mean()) > _MOST_GAIN * peak(expected) and error.mean() ** 2 > 0.5 * np.mean(error**2)
    return bool(scaled or moved)


def check_inputs(signature: Signature, inputs: object, image: ImageSpec | None = None) -> Arrays:
    """Return a batch as arrays by name, with the signature's dtypes.

    Args:
        signature: the network's own.
        inputs: an array, a list in the order of the signature, or a dict by input name, the model's own or the
            artifact's; or nested as the model takes them.
        image: what uint8 pictures are inside the network; without it no pictures are converted.

    Raises:
        UserError: a name is missing or unknown, a shape doesn't fit, or the batches differ in size.
    """
    given = _by_name(signature, inputs)
    arrays = {}
    for name, info in signature.inputs.items():
        try:
            array = np.asarray(given[name])
        except ValueError as error:
            raise UserError(
                f"The input {name!r} is {a_kind(given[name])} of different shapes: give one array."
            ) from error
        fits = len(array.shape) == len(info.shape) and all(
            want in (None, got) for want, got in zip(info.shape, array.shape, strict=True)
        )
        if not fits or array.shape[0] == 0:
            raise UserError(
                f"The input {name!r} has the shape {array.shape}, but the model needs {info.shape} "
                "(None is any size)."
            )
        if image is not None and array.dtype == np.uint8 and info.dtype == "float32" and array.ndim == 4:
            array = image.to_floats(array)
        arrays[name] = array.astype(info.dtype)
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise UserError(f"The inputs differ in their number of examples ({sizes}): give all the same.")
    return arrays


def _by_name(signature: Signature, inputs: object) -> Mapping[str, object]:
    import keras

    names, new = list(signature.inputs), signature.renamed["inputs"]
    if isinstance(inputs, Mapping):
        if set(inputs) == set(names):
            return inputs
        given = {new.get(name) or name: value for name, value in inputs.items()}
        if set(given) == set(names):
            return given
        if not any(isinstance(value, (Mapping, list, tuple)) for value in inputs.values()):
            raise UserError(f"Received inputs named {', '.join(inputs)}, but the model needs {', '.join(names)}.")
        leaves = keras.tree.flatten(inputs)
    elif isinstance(inputs, (list, tuple)) and len(names) > 1:
        leaves = list(inputs) if len(inputs) == len(names) else keras.tree.flatten(inputs)
    else:
        leaves = [inputs]
    if len(leaves) != len(names):
        raise UserError(f"Received {len(leaves)} inputs, but the model has {len(names)}: {', '.join(names)}.")
    return dict(zip(names, leaves, strict=True))


def default_inputs(signature: Signature, image: ImageSpec | None = None, batch: int = 2) -> Arrays:
    """Return seeded values that fit: images uniform in [-1, 1] or as `image` says, anything else standard normal.

    A height or width that the model leaves open becomes that of `image`, or 64 (the next multiple); a number of
    examples that it leaves open becomes `batch`.
    """
    batch = fixed_batch(signature) or batch
    random = np.random.default_rng(0)
    image = image or ImageSpec()
    low, high = image.value_range
    side = -(-64 // image.multiple) * image.multiple
    arrays = {}
    for name, info in signature.inputs.items():
        shape = [batch, *(64 if size is None else size for size in info.shape[1:])]
        if len(shape) == 4:
            shape[1:3] = [own or want or side for own, want in zip(info.shape[1:3], image.height_width, strict=True)]
        values: np.ndarray
        if np.issubdtype(np.dtype(info.dtype), np.floating):
            values = random.uniform(low, high, shape) if len(shape) >= 4 else random.normal(size=shape)
        else:
            values = random.integers(0, 256 if info.dtype == "uint8" else 2, shape)
        arrays[name] = values.astype(info.dtype)
    return arrays


def fixed_batch(signature: Signature) -> int | None:
    """Return how many examples a network takes at once; None for any number."""
    return next((info.shape[0] for info in signature.inputs.values() if info.shape and info.shape[0]), None)


def check_sizes(signature: Signature, sent: Arrays) -> None:
    """Raise `UserError` if pictures that a client sends have sides that the network can't divide, or another size."""
    multiple = signature.image.multiple if signature.image else 1
    for name in signature.pictures & set(sent):
        axes = (2, 3) if signature.layout == "nchw" else (1, 2)
        sides = [sent[name].shape[axis] for axis in axes]
        wanted = [signature.inputs[name].shape[axis] for axis in axes]
        if any(want not in (None, side) for want, side in zip(wanted, sides, strict=True)):
            raise UserError(
                f"The pictures {name!r} are {sides[0]}×{sides[1]}, but ImageSpec says {wanted[0]}×{wanted[1]}: "
                "bring them to that size."
            )
        if any(side % multiple for side in sides):
            raise UserError(
                f"The pictures {name!r} are {sides[0]}×{sides[1]}, but this network needs sides divisible by "
                f"{multiple}: bring them to such a size, or say ImageSpec(size=…)."
            )


def fixed_shapes(signature: Signature, sent: Arrays) -> dict[str, TensorInfo]:
    """Return the inputs with batch 1 and the height and width of what is `sent`, for formats of fixed size."""
    return {name: TensorInfo((1, *sent[name].shape[1:]), info.dtype) for name, info in signature.inputs.items()}
