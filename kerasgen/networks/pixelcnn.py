"""The gated PixelCNN: which code comes next, of a map that is read line by line."""

from dataclasses import dataclass

import keras
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.layers import Cropping2D
from kerasgen.networks.norms import check_layout


def pixelcnn(codes: int, *, filters: int = 64, blocks: int = 6, kernel: int = 5, label_size: int = 0) -> keras.Model:
    """Build a gated PixelCNN over maps of codes (van den Oord et al. 2016, 1606.05328).

    What it says of a place depends on the codes before it alone: those of all rows above, which the vertical stack
    sees, and those to the left. No normalization, which would tell of codes that are yet to come.

    Args:
        codes: how many there are.
        filters: channels of both stacks.
        blocks: of gated convolutions; each sees `kernel // 2` rows farther up, and as many columns farther aside.
        kernel: width of the convolutions, odd.
        label_size: with it, there is an input "label", [batch, label_size], which each block is told.

    Returns:
        A model from {"codes": int32 [batch, h, w] (, "label")} to {"logits": float32 [batch, h, w, codes]}.

    Raises:
        UserError: an argument is not one of those above.

    Example:
        pixelcnn(16, filters=8, blocks=2, kernel=3)
    """
    check_layout()
    if codes < 2 or filters < 1 or blocks < 1 or kernel < 3 or kernel % 2 == 0:
        raise UserError(
            f"codes is {codes}, filters {filters}, blocks {blocks} and kernel {kernel}: give two codes or more, one "
            "filter and block or more, and an odd kernel of at least 3."
        )
    inputs = {"codes": keras.Input((None, None), dtype="int32", name="codes")}
    if label_size:
        inputs["label"] = keras.Input((label_size,), name="label")
    embedded = layers.Embedding(codes, filters, name="embedded")(inputs["codes"])
    # From here on a place may see itself, because what it holds is the code above, or the one to the left.
    vertical = _shifted(embedded, ((1, 0), (0, 0)), "above")
    horizontal = _shifted(embedded, ((0, 0), (1, 0)), "left")
    for i in range(blocks):
        vertical, horizontal = _block(vertical, horizontal, inputs.get("label"), filters, kernel, f"block{i}")
    x = layers.Conv2D(filters, 1, activation="relu", name="head")(layers.ReLU(name="head_relu")(horizontal))
    logits = layers.Conv2D(codes, 1, dtype="float32", name="logits")(x)
    return keras.Model(inputs, {"logits": logits}, name="pixelcnn")


@dataclass(frozen=True)
class ByPlace:
    """A gated PixelCNN that is asked for one place after another, and keeps what it has seen.

    What stands above or to the left of a map is -1 as a code, and zeros in what is kept.

    Attributes:
        row: what all rows above say of a row, asked once for each row: from {"above": int32 [batch, w], the codes of
            the row above it, "rows": float32 [batch, kernel // 2, w, kept], what was kept (, "label")} to
            {"context": float32 [batch, 1, w, said], "rows_next": what to keep}.
        place: the code at one of its places: from {"left": int32 [batch, 1], the code to the left of it, "context":
            float32 [batch, 1, 1, said], that place's, "places": float32 [batch, 1, kernel // 2, kept], what was kept
            in this row (, "label")} to {"logits": float32 [batch, codes], "places_next": what to keep}.
    """

    row: keras.Model
    place: keras.Model


def by_place(network: keras.Model, width: int) -> ByPlace:
    """Return the networks that give a PixelCNN's logits place by place, each computed once; they share its weights.

    Args:
        network: of `pixelcnn`.
        width: of the maps.

    Example:
        from kerasgen.networks import pixelcnn

        by_place(pixelcnn(16, filters=8, blocks=2, kernel=3), 8).row
    """
    blocks = [layer.name.removesuffix("_out") for layer in network.layers if layer.name.endswith("_out")]
    return ByPlace(_row(network, blocks, width), _place(network, blocks))


def _row(network: keras.Model, blocks: list[str], width: int) -> keras.Model:
    filters = network.get_layer("embedded").output_dim
    reach = network.get_layer("block0_vertical").kernel_size[0] - 1
    above = keras.Input((width,), dtype="int32", name="above")
    rows = keras.Input((reach, width, len(blocks) * filters), name="rows")
    label = _label_of(network)
    x = layers.Reshape((1, width, filters))(_embedded(above, network))
    contexts, keep = [], []
    for kept, block in zip(_parts(rows, filters), blocks, strict=True):
        seen = layers.Concatenate(axis=1)([kept, x])
        keep.append(seen[:, 1:])
        wide = layers.ZeroPadding2D(((0, 0), (reach, reach)))(seen)
        here = network.get_layer(f"{block}_vertical")(wide)
        contexts.append(network.get_layer(f"{block}_from_above")(here))
        if label:
            here = layers.Add()([here, _said(network, block, label)[..., : 2 * filters]])
        x = _gated(here, filters, f"{block}_row")
    found = {"context": _joined(contexts, "context"), "rows_next": _joined(keep, "rows_next")}
    return keras.Model({"above": above, "rows": rows, **label}, found, name="row")


def _place(network: keras.Model, blocks: list[str]) -> keras.Model:
    filters = network.get_layer("embedded").output_dim
    reach = network.get_layer("block0_horizontal").kernel_size[1] - 1
    left = keras.Input((1,), dtype="int32", name="left")
    context = keras.Input((1, 1, 2 * len(blocks) * filters), name="context")
    places = keras.Input((1, reach, len(blocks) * filters), name="places")
    label = _label_of(network)
    x = layers.Reshape((1, 1, filters))(_embedded(left, network))
    keep = []
    for above, kept, block in zip(_parts(context, 2 * filters), _parts(places, filters), blocks, strict=True):
        seen = layers.Concatenate(axis=2)([kept, x])
        keep.append(seen[:, :, 1:])
        here = layers.Add()([network.get_layer(f"{block}_horizontal")(seen), above])
        if label:
            here = layers.Add()([here, _said(network, block, label)[..., 2 * filters :]])
        gated = network.get_layer(f"{block}_out")(_gated(here, filters, f"{block}_place"))
        x = layers.Add()([x, gated])
    logits = network.get_layer("logits")(network.get_layer("head")(layers.ReLU()(x)))
    found = {"logits": layers.Flatten(dtype="float32")(logits), "places_next": _joined(keep, "places_next")}
    return keras.Model({"left": left, "context": context, "places": places, **label}, found, name="place")


def _label_of(network: keras.Model) -> dict[str, keras.KerasTensor]:
    """Return a new input like the network's "label"; none for a network that is told nothing."""
    return {"label": keras.Input(network.input["label"].shape[1:], name="label")} if "label" in network.input else {}


def _said(network: keras.Model, block: str, label: dict[str, keras.KerasTensor]) -> keras.KerasTensor:
    said = network.get_layer(f"{block}_label")(label["label"])
    return layers.Reshape((1, 1, said.shape[-1]))(said)


def _parts(x: keras.KerasTensor, channels: int) -> list[keras.KerasTensor]:
    return [x[..., i : i + channels] for i in range(0, x.shape[-1], channels)]


def _embedded(codes: keras.KerasTensor, network: keras.Model) -> keras.KerasTensor:
    """Return the vectors of codes; zeros for -1."""
    vectors = network.get_layer("embedded")(ops.maximum(codes, 0))
    there = ops.cast(ops.greater_equal(codes, 0), vectors.dtype)
    return layers.Multiply()([vectors, ops.expand_dims(there, -1)])


def _joined(parts: list[keras.KerasTensor], name: str) -> keras.KerasTensor:
    if len(parts) == 1:  # nothing to concatenate
        return layers.Identity(dtype="float32", name=name)(parts[0])
    return layers.Concatenate(dtype="float32", name=name)(parts)


def _shifted(x: keras.KerasTensor, by: tuple[tuple[int, int], tuple[int, int]], name: str) -> keras.KerasTensor:
    x = layers.ZeroPadding2D(by, name=f"{name}_pad")(x)
    (top, _), (left, _) = by
    return Cropping2D(((0, top), (0, left)), name=name)(x)


def _block(
    vertical: keras.KerasTensor,
    horizontal: keras.KerasTensor,
    label: keras.KerasTensor | None,
    filters: int,
    kernel: int,
    name: str,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    reach = kernel // 2
    seen = layers.ZeroPadding2D(((reach, 0), (reach, reach)), name=f"{name}_vertical_pad")(vertical)
    above = layers.Conv2D(2 * filters, (reach + 1, kernel), name=f"{name}_vertical")(seen)
    seen = layers.ZeroPadding2D(((0, 0), (reach, 0)), name=f"{name}_horizontal_pad")(horizontal)
    beside = layers.Conv2D(2 * filters, (1, reach + 1), name=f"{name}_horizontal")(seen)
    told = layers.Conv2D(2 * filters, 1, name=f"{name}_from_above")(above)
    beside = layers.Add(name=f"{name}_both")([beside, told])
    if label is not None:
        said = layers.Dense(4 * filters, use_bias=False, name=f"{name}_label")(label)
        said = layers.Reshape((1, 1, 4 * filters), name=f"{name}_said")(said)
        above = layers.Add(name=f"{name}_vertical_label")([above, said[..., : 2 * filters]])
        beside = layers.Add(name=f"{name}_horizontal_label")([beside, said[..., 2 * filters :]])
    gated = layers.Conv2D(filters, 1, name=f"{name}_out")(_gated(beside, filters, f"{name}_horizontal"))
    return _gated(above, filters, f"{name}_vertical"), layers.Add(name=f"{name}_sum")([horizontal, gated])


def _gated(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    value = layers.Activation("tanh", name=f"{name}_tanh")(x[..., :filters])
    gate = layers.Activation("sigmoid", name=f"{name}_gate")(x[..., filters:])
    return layers.Multiply(name=f"{name}_gated")([value, gate])
