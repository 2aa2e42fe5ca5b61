"""Networks that no artifact can be equal to, and what to export instead."""

from typing import TYPE_CHECKING

from kerasgen.errors import UserError
from kerasgen.keras_hooks import functional_nodes

from .format import Format

if TYPE_CHECKING:
    import keras


def check_exportable(model: "keras.Model", form: Format | None) -> None:
    """Raise `UserError` if a layer keeps what no artifact keeps, with the way out.

    Args:
        model: any Keras model.
        form: the format; None for none in particular.
    """
    import keras

    if not isinstance(model, keras.Model):
        return
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.RNN) and layer.stateful:
            raise UserError(
                f"The layer {layer.name!r} of {model.name!r} keeps its state from one call to the next, which an "
                "artifact doesn't: make the model again with stateful=False, and copy its weights."
            )
        if isinstance(layer, (keras.layers.IntegerLookup, keras.layers.StringLookup, keras.layers.TextVectorization)):
            raise UserError(
                f"The layer {layer.name!r} of {model.name!r} looks its values up in a table, which no artifact has: "
                "export the model behind the lookup, and look its numbers up where it is used."
            )
        quantized = getattr(layer, "quantization_mode", None)
        if quantized and layer.compute_dtype != "float32":
            raise UserError(
                f"The layer {layer.name!r} of {model.name!r} was quantized to {quantized} in mixed precision, which "
                "can't be brought to float32: export the model from before `quantize`."
            )
        if quantized and form is not None and not form.several_signatures:  # a SavedModel holds Keras' own graph
            raise UserError(
                f"The layer {layer.name!r} of {model.name!r} was quantized to {quantized} by Keras, in operations "
                f"that {form.title} lacks: export the model from before `quantize`, with the variant dynamic_int8."
            )
    for node in functional_nodes(model):
        layer = node.operation
        # Keras takes the number of examples for that of steps where both are open.
        if isinstance(layer, keras.layers.TimeDistributed) and None in [t.shape[1] for t in node.input_tensors]:
            raise UserError(
                f"The layer {layer.name!r} of {model.name!r} is a TimeDistributed over any number of steps, which "
                "Keras itself computes wrong in a graph: give its Input a fixed number of steps."
            )
    for tensor in getattr(model, "inputs", None) or ():
        if tensor.dtype == "string":
            raise UserError(
                f"The input {tensor.name!r} of {model.name!r} is text, which no artifact takes: export the model "
                "behind the lookup, and look its numbers up where it is used."
            )
