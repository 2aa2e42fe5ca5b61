"""What goes into a Keras network and what comes out, by name: the contract that every artifact keeps."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.errors import UserError, a_kind

from ..gate.runtime import Arrays
from .format import Format
from .spec import ImageSpec

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    Tensors = dict[str, tf.Tensor]

_TO_NHWC, _TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class TensorInfo:
    """A tensor's shape, in which None is any size, and its dtype's name."""

    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True)
class Signature:
    """A network as a function from named tensors to named tensors, without randomness or training.

    Attributes:
        model: the Keras network.
        inputs, outputs: what a client sends and gets.
        network_call: the network itself on named tensors: floats, NHWC.
        image: how pictures become floats and back.
        pictures: the inputs and outputs that are uint8 for the client and floats for the network.
        layout: "nhwc" or "nchw", of all tensors of rank 4 on the client's side.
        renamed: {"inputs": {own name: name here}, "outputs": {...}}, of tensors whose name the format can't have.
    """

    model: "keras.Model"
    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    network_call: "Callable[[Tensors], Tensors]"
    image: ImageSpec | None = None
    pictures: frozenset[str] = frozenset()
    layout: str = "nhwc"
    renamed: dict[str, dict[str, str]] = field(default_factory=lambda: {"inputs": {}, "outputs": {}})

    def own_names(self) -> list[str]:
        """Return the names of all tensors, and those that the model itself gives them where they differ."""
        return [*self.inputs, *self.outputs, *self.renamed["inputs"], *self.renamed["outputs"]]

    def image_of(self, name: str) -> ImageSpec | None:
        """Return how a picture becomes floats and back, or None for a tensor that isn't a picture."""
        return self.image if name in self.pictures else None

    def call(self, tensors: "Tensors") -> "Tensors":
        """From what a client sends to what it gets, in the graph."""
        import tensorflow as tf

        def enter(name: str, tensor: "tf.Tensor") -> "tf.Tensor":
            tensor = tf.transpose(tensor, _TO_NHWC) if self._moved(self.inputs[name]) else tensor
            image = self.image_of(name)
            return tensor if image is None else image.enter(tensor)

        def leave(name: str, tensor: "tf.Tensor") -> "tf.Tensor":
            image = self.image_of(name)
            tensor = tensor if image is None else image.leave(tensor)
            return tf.transpose(tensor, _TO_NCHW) if self._moved(self.outputs[name]) else tensor

        results = self.network_call({name: enter(name, tensor) for name, tensor in tensors.items()})
        return {name: leave(name, tensor) for name, tensor in results.items()}

    def reference(self, sent: Arrays) -> Arrays:
        """Return what a client should get: Keras on the CPU, as artifacts run, with NumPy's arithmetic around it."""
        import tensorflow as tf

        floats = {}
        for name, value in sent.items():
            value, image = self.as_network(value), self.image_of(name)
            floats[name] = value if image is None else image.to_floats(value)
        with tf.device("/CPU:0"):
            outputs = self.network_call({name: tf.constant(value) for name, value in floats.items()})
        return {name: self._as_client(name, tensor.numpy(), self.outputs[name]) for name, tensor in outputs.items()}

    def examples(self, inputs: Arrays) -> Arrays:
        """Return the network's own inputs (floats, NHWC) as a client sends them."""
        return {name: self._as_client(name, value, self.inputs[name]) for name, value in inputs.items()}

    def as_network(self, value: np.ndarray) -> np.ndarray:
        """Return a tensor of the client's in NHWC."""
        return value.transpose(_TO_NHWC) if self.layout == "nchw" and value.ndim == 4 else value

    def _as_client(self, name: str, value: np.ndarray, info: TensorInfo) -> np.ndarray:
        image = self.image_of(name)
        value = value if image is None else image.to_pictures(value)
        return np.ascontiguousarray(value.transpose(_TO_NCHW)) if self._moved(info) else value

    def _moved(self, info: TensorInfo) -> bool:
        return self.layout == "nchw" and len(info.shape) == 4


def facing(network: Signature, image: ImageSpec | None, layout: str = "nhwc") -> Signature:
    """Return a network as a client sees it: with uint8 pictures if `image` is given, and in this layout.

    Raises:
        UserError: the size of `image` is another than the network's own, or what should be pictures can't be.
    """
    pictures = frozenset() if image is None else pictures_of(network, image)

    def outside(name: str, info: TensorInfo) -> TensorInfo:
        shape, dtype = info.shape, info.dtype
        if image is not None and name in pictures:
            dtype = "uint8"
            shape = _sized(shape, image) if name in network.inputs else shape
        if layout == "nchw" and len(shape) == 4:
            shape = tuple(shape[axis] for axis in _TO_NCHW)
        return TensorInfo(shape, dtype)

    return replace(
        network,
        inputs={name: outside(name, info) for name, info in network.inputs.items()},
        outputs={name: outside(name, info) for name, info in network.outputs.items()},
        image=image,
        pictures=pictures,
        layout=layout,
    )


def sized(network: Signature, image: ImageSpec) -> Signature:
    """Return a network of floats whose pictures enter in the size that `image` says."""
    pictures = pictures_of(network, image)
    inputs = {
        name: TensorInfo(_sized(info.shape, image), info.dtype) if name in pictures else info
        for name, info in network.inputs.items()
    }
    return replace(network, inputs=inputs)


def _sized(shape: tuple[int | None, ...], image: ImageSpec) -> tuple[int | None, ...]:
    sides = [_agreed(*pair) for pair in zip(image.height_width, shape[1:3], strict=True)]
    return (shape[0], *sides, shape[3])


def pictures_of(network: Signature, image: ImageSpec) -> frozenset[str]:
    """Return the tensors that `image` says are pictures."""
    tensors = network.inputs | network.outputs
    channels: tuple[int, ...]
    if image.pictures is None:
        said, channels = [name for name, info in tensors.items() if len(info.shape) == 4], (1, 3, 4)
    else:
        new = network.renamed["inputs"] | network.renamed["outputs"]
        said, channels = [new.get(name, name) for name in image.pictures], (1, 2, 3, 4)
    said = [name for name in said if name in tensors]
    for name in said:
        info = tensors[name]
        if info.dtype != "float32" or len(info.shape) != 4 or info.shape[3] not in channels:
            others = [other for other in said if other != name]
            raise UserError(
                f"{name!r} of {network.model.name!r} is {info.dtype} of the shape {info.shape}, but a picture is "
                f"float32 [batch, height, width, {' or '.join(map(str, channels))} channels]: name what are pictures "
                f"by ImageSpec(pictures={tuple(others)}), build a channels_first network channels_last, or leave "
                "image out for floats."
            )
    return frozenset(said)


def _agreed(wanted: int | None, own: int | None) -> int | None:
    if None not in (wanted, own) and wanted != own:
        raise UserError(f"ImageSpec has the size {wanted}, but the network takes {own} pixels: leave the size out.")
    return own if wanted is None else wanted


def model_signature(model: "keras.Model", inputs: object = None, form: Format | None = None) -> Signature:
    """Return the signature of any built Keras model.

    A dict's keys name its tensors, otherwise the names that the user gave to layers do; a lone tensor
    without such a name is `input` or `output`. An output that has an input's name becomes `generated_...`,
    because several converters confuse the two.

    Args:
        model: any Keras model that is built.
        inputs: a batch; needed only for a subclassed model whose inputs Keras didn't record.
        form: the format whose names the tensors get; without it they keep those that aren't words with "_" between.

    Raises:
        UserError: the model isn't a built Keras model, or its inputs are unknown.
    """
    import keras
    import tensorflow as tf

    if not isinstance(model, keras.Model):
        raise UserError(f"Export needs a keras.Model, but received {a_kind(model)}.")
    if not model.built:
        raise UserError(f"The model {model.name!r} is not built: call it once on a batch before exporting it.")
    structure = _input_structure(model, inputs)
    inputs_by_name, new_inputs = _named(structure, "input", form)
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
    outputs_by_name, new_outputs = _named(output_structure, "output", form, taken=names)
    output_names = list(outputs_by_name)

    def call(tensors: "Tensors") -> "Tensors":
        return dict(zip(output_names, keras.tree.flatten(flat_call(tensors)), strict=True))

    renamed = {"inputs": new_inputs, "outputs": new_outputs}
    return Signature(model, inputs_by_name, outputs_by_name, call, renamed=renamed)


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
        raise UserError(f"The inputs of the subclassed model {model.name!r} are unknown: pass a batch as `inputs`.")
    return keras.KerasTensor((None, *shapes[0][1:]), dtype=model.input_dtype)


def _spec_of_batch(batch: object) -> object:
    import keras

    array = np.asarray(batch)
    dtype = "float32" if array.dtype == np.float64 else array.dtype.name
    return keras.KerasTensor((None, *array.shape[1:]), dtype=dtype)


def _named(
    structure: object, kind: str, form: Format | None, taken: Sequence[str] = ()
) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """Return the tensors of a structure by names that the format can have, and the names that changed."""
    import keras

    leaves = keras.tree.flatten_with_path(structure)
    named: dict[str, TensorInfo] = {}
    renamed: dict[str, str] = {}
    for index, (path, tensor) in enumerate(leaves):
        keys = [str(key) for key in path if isinstance(key, str)]
        own = "_".join(keys) or _given_name(tensor)
        name = own or (kind if len(leaves) == 1 else f"{kind}_{index}")
        name = re.sub(r"\W", "_", name) if form is None else form.legal(name, kind)
        if name in taken:
            name = f"generated_{name}"
        if name in named or (kind == "input" and name.lower() in map(str.lower, named)):  # TensorFlow's are the same
            name = f"{name}_{index}"
        named[name] = TensorInfo(tuple(tensor.shape), keras.backend.standardize_dtype(tensor.dtype))
        if own not in ("", name):
            renamed[own] = name
    return named, renamed


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
