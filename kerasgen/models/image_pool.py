"""The history of generated images from which CycleGAN's discriminators learn."""

import keras
import tensorflow as tf

from kerasgen.models.batches import Share, replica_count
from kerasgen.typing import Tensor


@keras.saving.register_keras_serializable(package="kerasgen")
class ImagePool(keras.layers.Layer):
    """Answers each generated image with itself or with an earlier one (Shrivastava et al. 2017, 1612.07828).

    Images fill the pool until it holds `size` and come back as they are; from then on each is, with probability
    0.5, exchanged for a random one from the pool. The pool lives in the graph and in checkpoints. Under
    tf.distribute all replicas' images pass through it in order, so that every replica holds the same pool and
    gets what a single device would have got. The draws depend on `seed`, on how many images came before,
    and on whether XLA compiles the step.

    Input and output `[batch, height, width, channels]`; no gradient passes.

    Args:
        size: images held; 0 gives every image back as it is.
        seed: of the draws.
    """

    def __init__(self, size: int = 50, seed: int = 0, **kwargs: object):
        super().__init__(**{"dtype": "float32", "trainable": False, **kwargs})
        self.size, self.seed = size, seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        options = {"initializer": "zeros", "trainable": False, "aggregation": "only_first_replica"}
        if self.size:
            self.images = self.add_weight(name="images", shape=(self.size, *input_shape[1:]), **options)
            self.seen = self.add_weight(name="seen", shape=(), dtype="int32", **options)

    def call(self, images: Tensor, share: Share | None = None) -> Tensor:
        """Return the discriminator's images; `share` says which of a replica's are real ones, by default all."""
        images = tf.stop_gradient(images)
        if not self.size:
            return images
        if replica_count() == 1:
            answers, held, seen = self._exchange(images)
        else:
            context, share = tf.distribute.get_replica_context(), share or Share(examples=tf.shape(images)[0])
            answers, held, seen = self._exchange(context.all_gather(share.own(images), axis=0))
            start = share.first_place(0)
            # A stand-in comes back as it is.
            answers = tf.concat([answers[start : start + share.examples], images[share.examples :]], axis=0)
        self.images.assign(held)
        self.seen.assign(seen)
        return tf.ensure_shape(answers, images.shape)

    def empty(self) -> None:
        """Forget all images."""
        for variable in self.variables:
            variable.assign(tf.zeros_like(variable))

    def _exchange(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One image after the other: answers, the pool's content and count afterwards."""
        start = tf.convert_to_tensor(self.seen.value)

        def step(i: Tensor, answers: tf.TensorArray, held: Tensor) -> tuple[Tensor, tf.TensorArray, Tensor]:
            number = start + i
            keep, slot = self._draw(number)
            filling = number < self.size
            slot = tf.where(filling, number, slot)
            image = images[i]
            answer = tf.where(filling | keep, image, held[slot])
            stored = tf.where(filling | ~keep, image, held[slot])
            return i + 1, answers.write(i, answer), tf.tensor_scatter_nd_update(held, [[slot]], stored[None])

        count = tf.shape(images)[0]
        answers = tf.TensorArray(images.dtype, size=count, element_shape=images.shape[1:])
        _, answers, held = tf.while_loop(
            lambda i, *_: i < count,
            step,
            (0, answers, tf.convert_to_tensor(self.images.value)),
            parallel_iterations=1,
        )
        return answers.stack(), held, start + count

    def _draw(self, number: Tensor) -> tuple[Tensor, Tensor]:
        """Whether image `number` comes back itself, and the slot it is exchanged with if not."""
        coin, slot = tf.unstack(tf.random.stateless_uniform([2], seed=tf.stack([self.seed, number])))
        return coin < 0.5, tf.minimum(tf.cast(slot * self.size, tf.int32), self.size - 1)

    def get_config(self) -> dict[str, object]:
        return {**super().get_config(), "size": self.size, "seed": self.seed}
