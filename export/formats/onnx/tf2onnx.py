"""The general way to ONNX, for networks with layers that have no direct translation."""

import logging
import os
from typing import TYPE_CHECKING

from kerasgen.errors import UserError

from ..tf_graph import quiet_tensorflow

if TYPE_CHECKING:
    import onnx

    from ...contract.signature import Signature

_NEWEST_OPSET = 18  # tf2onnx refuses newer ones


def convert(signature: "Signature", opset: int) -> "onnx.ModelProto":
    """Return the network as tf2onnx translates its TensorFlow graph.

    Raises:
        UserError: the opset is newer than tf2onnx knows.
    """
    if opset > _NEWEST_OPSET:
        raise UserError(
            f"Opset {opset} was asked for, but {signature.model.name!r} has to go through tf2onnx, which writes "
            f"{_NEWEST_OPSET} at most: ask for that."
        )
    os.environ.setdefault("TF2ONNX_CATCH_ERRORS", "FALSE")
    with quiet_tensorflow():
        import tensorflow as tf
        import tf2onnx

        logging.getLogger("tf2onnx").setLevel(logging.ERROR)
        specs = [tf.TensorSpec(i.shape, i.dtype, name=name) for name, i in signature.inputs.items()]
        names = list(signature.inputs)

        def positional(*tensors: "tf.Tensor") -> "dict[str, tf.Tensor]":
            return signature.call(dict(zip(names, tensors, strict=True)))

        function = tf.function(positional, autograph=False, input_signature=specs)
        model, _ = tf2onnx.convert.from_function(function, input_signature=specs, opset=opset)
    return model
