"""Pairs to register, with the truth: a picture, and the same picture under a smooth random warp."""

from typing import TYPE_CHECKING

from kerasgen import values
from kerasgen.data.loading import find_kind
from kerasgen.data.order import batches
from kerasgen.data.paired import squares
from kerasgen.typing import Tensor

if TYPE_CHECKING:
    import tensorflow as tf

_TEST_SEED = 20180207


def load_registration(
    source: str,
    split: str = "train",
    *,
    image_size: int = 64,
    batch_size: int = 16,
    amplitude: float = 4.0,
    knots: int = 4,
    seed: int = 0,
    start_step: int | None = None,
    download: bool = False,
    data_dir: str | None = None,
) -> "tf.data.Dataset":
    """Batches for `Registration.fit`, whose training never looks at the flow.

    The warp is a grid of knots×knots random displacements, uniform in ±`amplitude` pixels in each direction, made
    smooth by bicubic interpolation; in training it is made smaller by a random factor from 1/4 to 1, so that easy
    pairs are among them. Pictures are cut with a rim, so that the warp brings in real pixels from outside.

    Args:
        source: such as "folder:PATH"; see `available_sources`.
        split: "train" or "test"; the test split has the same warps each time.
        image_size: pixels of the squares.
        batch_size: examples in a batch.
        amplitude: pixels.
        knots: of the grid, in each direction, 2 at least.
        seed: of the order, the squares and the warps.
        start_step, download, data_dir: see `load`.

    Returns:
        A dataset of dicts {"moving", "fixed": float32 [batch, size, size, 3] in [-1, 1], "flow": [batch, size, size,
        2] in pixels, rows first}: fixed at x is moving at x + flow(x), but for pixels from outside the square.

    Raises:
        UserError: an argument doesn't fit, pictures are too small, or there is less than one batch.
    """
    image_size, seed = values.pixels("image_size", image_size), values.seed("seed", seed)
    amplitude, knots = values.number("amplitude", amplitude, above=0), values.whole("knots", knots, least=2)
    rim, training = int(amplitude) + 2, split == "train"
    found = find_kind(source, download, data_dir)
    example, count = squares(found, split, image_size + 2 * rim, "turns", seed)

    def pair(position: Tensor) -> dict[str, Tensor]:
        import tensorflow as tf

        from kerasgen.networks.registration import warp

        picture = example(position) * 2.0 - 1.0
        key = tf.stack([tf.constant(seed if training else _TEST_SEED, tf.int64), tf.bitwise.invert(position)])
        draws = tf.random.stateless_uniform([knots * knots * 2 + 1], key)
        share = 0.25 + 0.75 * draws[-1] if training else 1.0
        grid = amplitude * share * (2.0 * tf.reshape(draws[:-1], [knots, knots, 2]) - 1.0)
        flow = tf.image.resize(grid, [image_size] * 2, "bicubic")
        inner = slice(rim, rim + image_size)
        # The whole square with its rim is warped by the flow, which is only needed inside.
        whole = tf.pad(flow, [[rim, rim], [rim, rim], [0, 0]])
        fixed = warp(picture[None], whole[None])[0]
        return {"moving": picture[inner, inner], "fixed": fixed[inner, inner], "flow": flow}

    name = f"The split {split!r} of {source!r}"
    return batches(name, pair, count, batch_size, training=training, start_step=start_step)
