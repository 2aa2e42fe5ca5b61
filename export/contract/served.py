"""What a SavedModel offers beside `serving_default`: floats, picture files, random pictures, further networks."""

import functools
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from kerasgen.errors import UserError

from ..gate.runtime import Arrays
from .signature import Signature, TensorInfo, facing, pictures_of, sized
from .spec import ImageSpec

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Entry:
    """A further signature: used like a `Signature`, but written out instead of derived from a network."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]
    call: "Callable[[dict[str, tf.Tensor]], dict[str, tf.Tensor]]"
    reference: Callable[[Arrays], Arrays]
    examples: Callable[[Arrays], Arrays]


def served_signatures(
    network: Signature, image: ImageSpec | None, also: Mapping[str, Signature]
) -> dict[str, Signature | Entry]:
    """Return the signatures of a SavedModel, `serving_default` first.

    Without `image` that is the network itself. With it, `serving_default` takes and gives uint8 pictures, "float" is
    the network itself, "bytes" takes PNG or JPEG files and gives PNG files (from picture to picture), and "generate"
    draws latents from a seed (from a latent, called z or alone, to pictures).
    """
    network = _mirrored(network, image)
    network = network if image is None else _traced_once(network, image)
    main = facing(network, image)
    signatures: dict[str, Signature | Entry] = {"serving_default": main}
    if image is not None:
        signatures["float"] = sized(network, image)
        if _translates(main):
            signatures["bytes"] = _bytes_entry(main)
        elif (latent := _latent(main)) is not None:
            signatures["generate"] = _generate_entry(main, latent)
    if taken := sorted(signatures.keys() & also.keys()):
        raise UserError(
            f"A signature of the network itself is called {taken[0]!r}: give the further model another name."
        )
    return signatures | {name: facing(other, image) for name, other in also.items()}


def main_signature(signatures: Mapping[str, Signature | Entry]) -> Signature:
    """Return `serving_default`, which is always derived from a network."""
    main = signatures["serving_default"]
    assert isinstance(main, Signature)
    return main


def _translates(main: Signature) -> bool:
    """Tell whether one picture becomes one picture, both of a kind that PNG has."""
    tensors = [*main.inputs.items(), *main.outputs.items()]
    single = len(main.inputs) == len(main.outputs) == 1
    return single and all(name in main.pictures and info.shape[3] in (1, 3, 4) for name, info in tensors)


def _latent(main: Signature) -> str | None:
    """Return the input that is a latent from which pictures are made: the one called z, or the only one."""
    name = "z" if "z" in main.inputs else next(iter(main.inputs))
    vectors = all(len(info.shape) == 2 for info in main.inputs.values())
    known = (name == "z" or len(main.inputs) == 1) and main.inputs[name].dtype == "float32"
    return name if known and vectors and set(main.outputs) <= main.pictures else None


def _mirrored(network: Signature, image: ImageSpec | None) -> Signature:
    """Return a network of open size that takes every size: mirrored up to a multiple, and cut back."""
    (name, info), *others = network.inputs.items()
    pictures = [i for i in network.outputs.values() if len(i.shape) == 4]
    if image is None or image.multiple == 1 or others or len(pictures) != len(network.outputs):
        return network
    if name not in pictures_of(network, image) or info.shape[1:3] != (None, None) or image.size is not None:
        return network

    def call(tensors: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        sides = tf.shape(tensors[name])[1:3]
        more = -sides % image.multiple
        padded = tf.pad(tensors[name], [[0, 0], [0, more[0]], [0, more[1]], [0, 0]], "SYMMETRIC")
        results = network.network_call({name: tf.ensure_shape(padded, info.shape)})

        def cut(result: "tf.Tensor") -> "tf.Tensor":
            # A network may give more pixels for each pixel, or fewer: a part of one counts as one.
            made, given = tf.shape(result)[1:3], tf.shape(padded)[1:3]
            height, width = tf.unstack((sides * made + given - 1) // given)
            return result[:, :height, :width]

        return {key: cut(result) for key, result in results.items()}

    return replace(network, network_call=call)


def _traced_once(network: Signature, image: ImageSpec) -> Signature:
    """Return a network whose graph is one function, which all signatures call; eagerly it stays what it is."""
    import tensorflow as tf

    specs = {name: tf.TensorSpec(info.shape, info.dtype) for name, info in sized(network, image).inputs.items()}
    graph = tf.function(network.network_call, input_signature=[specs], autograph=False)

    def call(tensors: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        return network.network_call(tensors) if tf.executing_eagerly() else graph(tensors)

    return replace(network, network_call=call)


def _bytes_entry(main: Signature) -> Entry:
    """From files to files: each is decoded, brought to the network's size if that is fixed, and run by itself."""
    (source, info), (target, made) = *main.inputs.items(), *main.outputs.items()
    height, width, channels = info.shape[1:]

    def call(tensors: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        def one(file: "tf.Tensor") -> "tf.Tensor":
            picture = tf.ensure_shape(_pixels(file, channels), (None, None, channels))
            if height is not None and width is not None:
                resized = tf.image.resize(picture, (height, width), "bicubic", antialias=True)
                picture = tf.cast(tf.minimum(tf.maximum(resized, 0.0), 255.0) + 0.5, tf.uint8)
            result = main.call({source: picture[None]})[target][0]
            return tf.io.encode_png(tf.ensure_shape(result, made.shape[1:]))

        files = tensors[f"{source}_bytes"]
        return {f"{target}_bytes": tf.map_fn(one, files, fn_output_signature=tf.TensorSpec((), tf.string))}

    def reference(sent: Arrays) -> Arrays:
        # Pillow decodes what TensorFlow decodes in the artifact.
        return {f"{target}_bytes": main.reference({source: decoded(sent[f"{source}_bytes"])})[target]}

    def examples(inputs: Arrays) -> Arrays:
        return {f"{source}_bytes": np.array([_png(p) for p in main.examples(inputs)[source]], "S")}

    return Entry(
        {f"{source}_bytes": TensorInfo((None,), "string")},
        {f"{target}_bytes": TensorInfo((None,), "string")},
        call,
        reference,
        examples,
    )


def _pixels(file: "tf.Tensor", channels: int | None) -> "tf.Tensor":
    """Decode a PNG or a JPEG in a graph; to four channels, one without transparency gets an alpha of 255."""
    import tensorflow as tf

    # It decodes both kinds; by default a JPEG's cosines would be rounded for speed.
    decode = functools.partial(tf.io.decode_jpeg, file, dct_method="INTEGER_ACCURATE")
    if channels != 4:
        return decode(channels=channels)
    # Only `decode_png` sees all transparency, and it refuses a JPEG.
    return tf.cond(
        tf.io.is_jpeg(file),
        lambda: tf.pad(decode(channels=3), [[0, 0], [0, 0], [0, 1]], constant_values=255),
        lambda: tf.io.decode_png(file, channels=4),
    )


def _generate_entry(main: Signature, latent: str) -> Entry:
    """From a seed and a count to pictures; the same seed gives the same pictures on every device.

    Each further input, such as a label, has n examples, or one for all.
    """
    info = main.inputs[latent]
    others = [item for item in main.inputs.items() if item[0] != latent]
    scalar = TensorInfo((), "int32")

    def call(tensors: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        import tensorflow as tf

        z = tf.random.stateless_normal(
            [tensors["n"], info.shape[1]], seed=tf.stack([tensors["seed"], 0]), alg="philox"
        )
        copies = {name: tf.where(tf.shape(tensors[name])[0] == 1, tensors["n"], 1) for name, _ in others}
        given = {
            name: tf.ensure_shape(tf.repeat(tensors[name], copies[name], axis=0), other.shape)
            for name, other in others
        }
        return main.call({latent: z, **given})

    def reference(sent: Arrays) -> Arrays:
        import tensorflow as tf

        count = int(sent["n"])
        z = tf.random.stateless_normal([count, info.shape[1]], seed=[int(sent["seed"]), 0], alg="philox").numpy()
        given = {name: np.broadcast_to(sent[name], (count, *sent[name].shape[1:])) for name, _ in others}
        return main.reference({latent: z, **given})

    def examples(inputs: Arrays) -> Arrays:
        sent = main.examples(inputs)
        numbers = {"seed": np.array(7, "int32"), "n": np.array(len(sent[latent]), "int32")}
        return numbers | {name: sent[name] for name, _ in others}

    return Entry({"seed": scalar, "n": scalar, **dict(others)}, dict(main.outputs), call, reference, examples)


def decoded(files: np.ndarray) -> np.ndarray:
    """PNG files of one size [n] as uint8 [n, height, width, channels]."""
    from PIL import Image

    pictures = []
    for file in files:
        with Image.open(io.BytesIO(bytes(file))) as picture:
            array = np.asarray(picture)
        pictures.append(array[..., None] if array.ndim == 2 else array)
    return np.stack(pictures)


def _png(picture: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).save(stream, format="PNG")
    return stream.getvalue()
