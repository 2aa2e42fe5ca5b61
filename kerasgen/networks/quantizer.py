"""A codebook between an encoder and a decoder: each latent becomes the nearest of a few vectors."""

import keras
from keras import ops

from kerasgen.errors import UserError

LEARNERS = ("ema", "gradient")
_UNUSED = 1e-6  # uses, on average, below which a code's mean says nothing


@keras.saving.register_keras_serializable(package="kerasgen")
class VectorQuantizer(keras.layers.Layer):
    """Replace each latent by the nearest code of a codebook (van den Oord et al. 2017, 1711.00937).

    Input `[batch, h, w, code_dim]`; output the codes' vectors, of the same shape, float32, with a straight-through
    gradient: that of the output goes to the input. Distances are computed in float32.

    The layer doesn't learn by itself, because a batch may be shared among devices: a model makes `statistics`, sums
    them, and gives them to `follow`.

    Args:
        codes: how many.
        learner: "ema": codes are moving averages of the latents that they replace (the paper's appendix A.1), or
            "gradient": they are trained by a loss.
        decay: what is kept of the averages in a step.
        restart_below: codes that are used less than this share of the average use begin anew at given latents; 0
            lets them be.

    Raises:
        UserError: an argument is not one of those above.

    Example:
        VectorQuantizer(16)(np.zeros((1, 4, 4, 8), "float32"))
    """

    def __init__(self, codes: int, learner: str = "ema", decay: float = 0.99, restart_below: float = 0.03, **kwargs):
        super().__init__(dtype=kwargs.pop("dtype", "float32"), **kwargs)
        if learner not in LEARNERS:
            raise UserError(f"A codebook's learner is {learner!r}: choose one of {', '.join(LEARNERS)}.")
        if codes < 2 or not 0 <= decay < 1 or not 0 <= restart_below < 1:
            raise UserError(
                f"codes is {codes}, decay {decay} and restart_below {restart_below}: give two codes or more, and "
                "shares of at least 0 and below 1."
            )
        self.codes, self.learner, self.decay, self.restart_below = codes, learner, decay, restart_below

    def build(self, input_shape):
        trained, shape = self.learner == "gradient", (self.codes, input_shape[-1])
        # What all replicas assign alike is kept as it is.
        alike = {"trainable": False, "aggregation": "only_first_replica"}
        self.codebook = self.add_weight(
            name="codebook",
            shape=shape,
            initializer="uniform",
            trainable=trained,
            aggregation="mean" if trained else "only_first_replica",
        )
        self.uses = self.add_weight(name="uses", shape=(self.codes,), initializer="zeros", **alike)
        self.sums = None if trained else self.add_weight(name="sums", shape=shape, initializer="zeros", **alike)

    def nearest(self, z):
        """Return the code of each latent [..., code_dim]: int32 [...], the first of equally near ones."""
        return ops.cast(ops.argmin(self.distances(z), axis=-1), "int32")

    def distances(self, z):
        """Return squared distances to each code, less the latent's own squared length: [..., codes]."""
        z = ops.cast(z, "float32")
        return ops.sum(ops.square(self.codebook), axis=-1) - 2.0 * ops.matmul(z, ops.transpose(self.codebook))

    def vectors(self, codes):
        """Return the vectors of codes [...]: [..., code_dim]."""
        return ops.take(self.codebook, codes, axis=0)

    def call(self, z):
        z = ops.cast(z, "float32")
        return z + ops.stop_gradient(self.vectors(self.nearest(z)) - z)

    def statistics(self, z, weight=None):
        """Return how often each code is the nearest, [codes], and the sums of its latents, [codes, code_dim].

        Args:
            z: latents [batch, h, w, code_dim].
            weight: of each example, [batch]; None if all weigh 1.
        """
        z = ops.stop_gradient(ops.cast(z, "float32"))
        chosen = ops.one_hot(self.nearest(z), self.codes, dtype="float32")
        if weight is not None:
            chosen = chosen * weight[:, None, None, None]
        uses = ops.sum(chosen, axis=(0, 1, 2))
        flat = ops.reshape(chosen, (-1, self.codes))
        return uses, ops.matmul(ops.transpose(flat), ops.reshape(z, (-1, ops.shape(z)[-1])))

    def follow(self, uses, sums, latents):
        """Move the averages towards the statistics of a step, and let dead codes begin anew.

        Args:
            uses, sums: of the whole batch, as `statistics` makes them.
            latents: [codes, code_dim], one for each code, which it takes if it is dead.
        """
        all_uses = self.decay * self.uses + (1 - self.decay) * uses
        average = ops.mean(all_uses)
        dead = all_uses < self.restart_below * average
        self.uses.assign(ops.where(dead, average, all_uses))
        if self.sums is None:
            self.codebook.assign(ops.where(dead[:, None], latents, self.codebook))
            return
        # Both begin at 0 and forget alike, so that their ratio is a mean of latents from the first step on.
        all_sums = self.decay * self.sums + (1 - self.decay) * sums
        means = all_sums / ops.maximum(all_uses, _UNUSED)[:, None]
        codebook = ops.where(all_uses[:, None] > _UNUSED, means, self.codebook)
        self.sums.assign(ops.where(dead[:, None], average * latents, all_sums))
        self.codebook.assign(ops.where(dead[:, None], latents, codebook))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self) -> dict:
        config = {**super().get_config(), "codes": self.codes, "learner": self.learner}
        return {**config, "decay": self.decay, "restart_below": self.restart_below}
