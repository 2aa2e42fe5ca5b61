"""What goes into a Keras network and what comes out, by name: the contract that every artifact keeps."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.errors import UserError, require_tensorflow

from ._runtime import Arrays

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    Tensors = dict[str, tf.Tensor]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's shape, in which None is any size, and its dtype's name."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """A network as a function from named tensors to named tensors, without randomness or training."""

    model: "keras.Model"
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    call: "Callable[[Tensors], Tensors]"

    def describe(self) -> dict:
        """Return the names, shapes and dtypes in the form of `Loaded.signatures` and of the manifest."""
        return {
            side: {n: {"shape": list(t.shape), "dtype": t.dtype} for n, t in tensors.items()}
            for side, tensors in (("inputs", self.inputs), ("outputs", self.outputs))
        }

    def reference(self, inputs: Arrays) -> Arrays:
        """Return what Keras computes for a batch: on the CPU, the device that artifacts are compared on."""
        import tensorflow as tf

        with tf.device("/CPU:0"):
            outputs = self.call({name: tf.constant(value) for name, value in inputs.items()})
        return {name: value.numpy() for name, value in outputs.items()}


def model_signature(model: "keras.Model", inputs: object = None) -> Signature:
    """Return the signature of any built Keras model.

    A dict's keys name its tensors, otherwise the names that the user gave to layers do; a lone tensor
    without such a name is `input` or `output`. An output that has an input's name becomes `generated_...`,
    because several converters confuse the two.

    Args:
        inputs: a batch; needed only for a subclassed model whose inputs Keras didn't record.

    Raises:
        UserError: the model isn't a built Keras model, or its inputs are unknown.
    """
    import keras
    import tensorflow as tf

    if not isinstance(model, keras.Model):
        raise UserError(f"export needs a keras.Model, but received a {type(model).__name__}.")
    if not model.built:
        raise UserError(f"the model {model.name!r} is not built: call it once on a batch before exporting it.")
    structure = _input_structure(model, inputs)
    inputs_by_name = _named(structure, "input")
    names = list(inputs_by_name)

    def flat_call(tensors: "Tensors") -> list:
        packed = keras.tree.pack_sequence_as(structure, [tensors[name] for name in names])
        return model(packed, training=False)

    if hasattr(model, "outputs") and model.outputs:
        output_structure = keras.tree.map_structure(lambda t: t, getattr(model, "output", model.outputs))
    else:
        specs = {n: tf.TensorSpec(t.shape, t.dtype) for n, t in inputs_by_name.items()}
        traced = tf.function(flat_call, autograph=False).get_concrete_function(specs)
        output_structure = traced.structured_outputs
    outputs_by_name = _named(output_structure, "output", taken=names)
    output_names = list(outputs_by_name)

    def call(tensors: "Tensors") -> "Tensors":
        return dict(zip(output_names, keras.tree.flatten(flat_call(tensors)), strict=True))

    return Signature(model, inputs_by_name, outputs_by_name, call)


def _input_structure(model: "keras.Model", inputs: object) -> object:
    """Return the model's nested inputs with something that has a shape and a dtype at each leaf."""
    import keras

    if getattr(model, "inputs", None):
        # A Sequential keeps a list of one, but is called with the tensor itself.
        return model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    if inputs is not None:
        return keras.tree.map_structure(_spec_of_batch, inputs)
    shapes = list((model.get_build_config() or {}).get("shapes_dict", {}).values())
    shapes = shapes or [(model.get_build_config() or {}).get("input_shape")]
    if len(shapes) != 1 or not isinstance(shapes[0], tuple):
        raise UserError(f"the inputs of the subclassed model {model.name!r} are unknown: pass a batch as `inputs`.")
    return keras.KerasTensor((None, *shapes[0][1:]), dtype=model.input_dtype)


def _spec_of_batch(batch: object) -> object:
    import keras

    array = np.asarray(batch)
    dtype = "float32" if array.dtype == np.float64 else array.dtype.name
    return keras.KerasTensor((None, *array.shape[1:]), dtype=dtype)


def _named(structure: object, default: str, taken: list[str] = ()) -> dict[str, TensorInfo]:
    import keras

    leaves = keras.tree.flatten_with_path(structure)
    named = {}
    for index, (path, tensor) in enumerate(leaves):
        keys = [str(key) for key in path if isinstance(key, str)]
        name = "_".join(keys) or _given_name(tensor)
        name = re.sub(r"\W", "_", name) or (default if len(leaves) == 1 else f"{default}_{index}")
        if name in taken:
            name = f"generated_{name}"
        if name in named:
            name = f"{name}_{index}"
        named[name] = TensorInfo(tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
    return named


def _given_name(tensor: object) -> str:
    """Return the name that the user gave to the layer a tensor comes from, or "" for Keras' own names."""
    history = getattr(tensor, "_keras_history", None)
    if history is None:
        return ""
    layer = history.operation
    words = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", type(layer).__name__)
    automatic = re.sub(
        r"([a-z])([A-Z])", r"\1_\2", words
    ).lower()  # as Keras makes conv2d_transpose of Conv2DTranspose
    return "" if re.fullmatch(rf"{automatic}(_\d+)?", layer.name) else layer.name


def network_and_inputs(model: "keras.Model", inputs: object) -> tuple[Signature, Arrays]:
    """Return a model's signature and the batch to compare on: the user's, or `default_inputs`.

    Raises:
        UserError: Keras runs on another backend than TensorFlow, or the model or the inputs don't fit.
    """
    require_tensorflow("Exporting")
    signature = model_signature(model, inputs)
    return signature, default_inputs(signature) if inputs is None else check_inputs(signature, inputs)


def check_inputs(signature: Signature, inputs: object) -> Arrays:
    """Return a batch as arrays by name, with the signature's dtypes.

    Args:
        inputs: an array, a list in the order of the signature, or a dict by input name.

    Raises:
        UserError: a name is missing or unknown, a shape doesn't fit, or the batches differ in size.
    """
    names = list(signature.inputs)
    if not isinstance(inputs, Mapping):
        inputs = list(inputs) if isinstance(inputs, (list, tuple)) and len(names) > 1 else [inputs]
        if len(inputs) != len(names):
            raise UserError(f"received {len(inputs)} inputs, but the model has {len(names)}: {', '.join(names)}.")
        inputs = dict(zip(names, inputs, strict=True))
    if set(inputs) != set(names):
        raise UserError(f"received inputs named {', '.join(inputs)}, but the model needs {', '.join(names)}.")
    arrays = {}
    for name, info in signature.inputs.items():
        array = np.asarray(inputs[name])
        fits = len(array.shape) == len(info.shape) and all(
            want in (None, got) for want, got in zip(info.shape, array.shape, strict=True)
        )
        if not fits or array.shape[0] == 0:
            raise UserError(
                f"the input {name!r} has the shape {array.shape}, but the model needs {info.shape} "
                "(None is any size)."
            )
        arrays[name] = array.astype(info.dtype)
    if len({len(array) for array in arrays.values()}) > 1:
        sizes = ", ".join(f"{name} {len(array)}" for name, array in arrays.items())
        raise UserError(f"the inputs differ in their number of examples ({sizes}): give all the same.")
    return arrays


def default_inputs(signature: Signature, batch: int = 2) -> Arrays:
    """Return seeded values that fit: images uniform in [-1, 1], anything else standard normal.

    A height or width that the model leaves open becomes 64.
    """
    random = np.random.default_rng(0)
    arrays = {}
    for name, info in signature.inputs.items():
        shape = (batch, *(64 if size is None else size for size in info.shape[1:]))
        if np.issubdtype(np.dtype(info.dtype), np.floating):
            values = random.uniform(-1, 1, shape) if len(shape) >= 4 else random.normal(size=shape)
        else:
            values = random.integers(0, 256 if info.dtype == "uint8" else 2, shape)
        arrays[name] = values.astype(info.dtype)
    return arrays


def fixed_shapes(signature: Signature, inputs: Arrays) -> dict[str, TensorInfo]:
    """Return the inputs with batch 1 and the height and width of `inputs`, for formats of fixed size."""
    return {name: TensorInfo((1, *inputs[name].shape[1:]), info.dtype) for name, info in signature.inputs.items()}
