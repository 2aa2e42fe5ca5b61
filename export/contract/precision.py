"""Bring a network of mixed precision, or of float64, to float32, which every converter and runtime takes."""

from typing import TYPE_CHECKING

from kerasgen.errors import UserError, a_kind
from kerasgen.keras_hooks import copy_weights, functional_form

if TYPE_CHECKING:
    import keras

_HALVES = ("float16", "bfloat16")
_OTHERS = (*_HALVES, "float64")


def in_float32(model: "keras.Model") -> "keras.Model":
    """Return a network of another precision as the same one in float32, with a copy of its weights.

    Converters and runtimes don't take all operators in 16 or 64 bits. A model that computes in float32 is returned as
    it is.

    Raises:
        UserError: a layer of it can't be made again in another precision.
    """
    import keras

    if not isinstance(model, keras.Model) or not any(map(_is_other, model._flatten_layers())):
        return model
    twin = _cloned(model) if functional_form(model) is not None else _rebuilt(model)
    still = [layer.name for layer in twin._flatten_layers() if _is_other(layer)]
    if still:
        raise UserError(
            f"{model.name!r} isn't in float32 in {still[0]!r}, which stays so when it is made again in float32: "
            "let its layers take their dtype from the constructor, or make the model in float32 and copy its weights."
        )
    copy_weights(twin, model)
    _copy_lora_scales(twin, model)
    return twin


def _copy_lora_scales(twin: "keras.Model", model: "keras.Model") -> None:
    """Give LoRA's factors their scale: Keras makes a layer again with the rank alone."""
    from keras import layers

    kinds = (layers.Dense, layers.EinsumDense, layers.Embedding, layers.Conv1D, layers.Conv2D, layers.Conv3D)
    for made, own in zip(twin._flatten_layers(), model._flatten_layers(), strict=False):
        if isinstance(own, kinds) and type(made) is type(own) and own.lora_enabled:
            made.lora_alpha = own.lora_alpha


def precisions(model: "keras.Model") -> set[str]:
    """Return which other precisions than float32 its layers compute in."""
    return {layer.compute_dtype for layer in model._flatten_layers() if layer.compute_dtype in _OTHERS}


def _is_other(layer: "keras.Layer") -> bool:
    import keras

    if isinstance(layer, keras.layers.InputLayer):
        return layer.dtype in _HALVES
    # What a model computes in is what its layers do.
    return not isinstance(layer, keras.Model) and layer.compute_dtype in _OTHERS


def _cloned(model: "keras.Model", made: "dict[int, keras.Operation] | None" = None) -> "keras.Model":
    """Return a functional model in float32, with layers of its own; what is `made` already is used again."""
    import keras

    made = {} if made is None else made

    def once(operation: "keras.Operation") -> "keras.Operation":
        if id(operation) not in made:
            nested = isinstance(operation, keras.Model)
            made[id(operation)] = _cloned(operation, made) if nested else _recreated(operation)
        return made[id(operation)]

    if functional_form(model) is None:
        raise UserError(
            f"The nested model {model.name!r} is {a_kind(model)} of mixed precision with a call of its own, "
            "which can't be made again in float32: make it in float32 and copy its weights."
        )
    # A Sequential keeps a list of one, but is made of the tensor itself.
    structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
    inputs = keras.tree.map_structure(_float32_input, structure)
    return keras.models.clone_model(model, inputs, clone_function=once)


def _float32_input(tensor: "keras.KerasTensor") -> "keras.KerasTensor":
    import keras

    dtype = "float32" if tensor.dtype in _OTHERS else tensor.dtype
    # Not the tensor's own name, in which Keras counts all tensors of the process.
    return keras.Input(batch_shape=tensor.shape, dtype=dtype, name=tensor._keras_history.operation.name)


def _recreated(operation: "keras.Operation") -> "keras.Operation":
    """Return a layer in float32, not built yet; or an operation, that gives another only if it was told to."""
    import keras

    if isinstance(operation, keras.layers.Lambda):
        # Its configuration would have to be trusted; the function itself is at hand.
        return keras.layers.Lambda(
            operation.function,
            output_shape=operation._output_shape,
            mask=operation.mask,
            arguments=operation.arguments,
            name=operation.name,
            dtype="float32",
        )
    if not isinstance(operation, keras.Layer):
        config = operation.get_config()
        return type(operation).from_config({**config, "dtype": "float32"}) if _told_other(config) else operation
    try:
        layer = type(operation).from_config({**operation.get_config(), "dtype": "float32"})
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UserError(
            f"The layer {operation.name!r} of mixed precision can't be made again in float32: give "
            f"{type(operation).__name__} a get_config with all arguments of its constructor, dtype too."
        ) from error
    _set_float32(layer)
    return layer


def _told_other(config: dict[str, object]) -> bool:
    import keras

    dtype = config.get("dtype")
    return dtype is not None and keras.backend.standardize_dtype(dtype) in _OTHERS


def _set_float32(layer: "keras.Layer") -> None:
    """Set the precision of the layers inside one that isn't built yet: wrappers make them by another dtype."""
    for inner in layer._flatten_layers():
        inner.dtype_policy = "float32"


def _rebuilt(model: "keras.Model") -> "keras.Model":
    """Return a subclassed model as its class makes it under a float32 policy."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        config = model.get_config()
        twin = type(model).from_config(config | ({"dtype": "float32"} if "dtype" in config else {}))
        _set_float32(twin)
        twin.build_from_config(model.get_build_config())
        if [weight.shape for weight in twin.weights] != [weight.shape for weight in model.weights]:
            raise ValueError("its configuration made another model")
    except (TypeError, ValueError, NotImplementedError, AttributeError) as error:
        raise UserError(
            f"The subclassed model {model.name!r} of mixed precision can't be made again in float32: give "
            f"{type(model).__name__} a get_config with all arguments of its constructor, or make it in float32 and "
            "copy its weights."
        ) from error
    finally:
        keras.config.set_dtype_policy(before)
    return twin
