"""Bring a network of mixed precision to float32, which every converter and runtime takes."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def in_float32(model: "keras.Model") -> "keras.Model":
    """Return a functional network of mixed precision as the same one in float32, with a copy of its weights.

    Converters and runtimes don't take all operators in 16 bits, and the weights are kept in float32 anyway. Any other
    model is returned as it is.
    """
    import keras

    if not getattr(model, "inputs", None) or all(_computes_in_float32(layer) for layer in _all_layers(model)):
        return model

    def recreated(layer: "keras.Layer") -> "keras.Layer":
        return type(layer).from_config({**layer.get_config(), "dtype": "float32"})

    clone = keras.models.clone_model(model, clone_function=recreated, recursive=True)
    clone.set_weights(model.get_weights())
    return clone


def _all_layers(model: "keras.Model") -> "list[keras.Layer]":
    import keras

    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]


def _computes_in_float32(layer: "keras.Layer") -> bool:
    return layer.compute_dtype not in ("float16", "bfloat16")
