"""Give a functional network other ways to compute what its layers do, for a format that lacks an operation."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from kerasgen.keras_hooks import functional_form

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from ..contract.signature import Signature

_PLACES = {("keras.src.ops.numpy", name) for name in ("Argmax", "Argmin")}


def cloned(signature: "Signature", replacement: "Callable[[keras.Operation], keras.Operation]") -> "Signature":
    """Return a signature whose network has each operation replaced; all its weights are shared, not copied.

    A model that isn't functional is returned as it is: its graph can't be taken apart.
    """
    import keras

    model = signature.model
    if functional_form(model) is None:
        return signature
    clone = keras.models.clone_model(model, clone_function=replacement, recursive=True)
    structure = clone.inputs[0] if isinstance(clone, keras.Sequential) else clone.input

    def call(tensors: "dict[str, tf.Tensor]") -> "dict[str, tf.Tensor]":
        packed = keras.tree.pack_sequence_as(structure, [tensors[name] for name in signature.inputs])
        outputs = keras.tree.flatten(clone(packed, training=False))
        return dict(zip(signature.outputs, outputs, strict=True))

    return dataclasses.replace(signature, model=clone, network_call=call)


def as_layer(original: "keras.Layer", function: "Callable[[keras.Layer, tf.Tensor], tf.Tensor]") -> "keras.Layer":
    """Return a layer that computes by `function` what `original` does, with its weights."""
    import keras

    class Rewritten(keras.layers.Layer):
        """Another way to compute what `original` does, with its weights."""

        def __init__(self):
            super().__init__(name=original.name, dtype="float32")
            self.original = original

        def call(self, inputs):
            return function(self.original, inputs)

        def compute_output_spec(self, inputs):
            return self.original.compute_output_spec(inputs)

    return Rewritten()


def placed(operation: "keras.Operation") -> "keras.Operation":
    """Return an operation, or for argmax and argmin another that asks for no bits.

    Keras looks at the sign's bit to tell -0.0 from 0.0, which neither TFLite nor OpenVINO can.
    """
    kind = type(operation)
    return as_layer(operation, _place) if (kind.__module__, kind.__name__) in _PLACES else operation


def _place(operation: "keras.Operation", x: "tf.Tensor") -> "tf.Tensor":
    """Find an extreme by TensorFlow's own operation."""
    import tensorflow as tf

    find = tf.argmax if type(operation).__name__ == "Argmax" else tf.argmin
    if operation.axis is None:
        found = find(tf.reshape(x, [-1]), axis=0, output_type=tf.int32)
        return tf.reshape(found, [1] * len(x.shape)) if operation.keepdims else found
    found = find(x, axis=operation.axis, output_type=tf.int32)
    return tf.expand_dims(found, operation.axis) if operation.keepdims else found
