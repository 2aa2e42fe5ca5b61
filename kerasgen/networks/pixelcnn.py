"""The gated PixelCNN: which code comes next, of a map that is read line by line."""

import keras
from keras import layers

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
