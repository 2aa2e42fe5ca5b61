import numpy as np
import tensorflow as tf

from kerasgen.models.image_pool import ImagePool


class Reference:
    """The pool of the CycleGAN paper's code, with the draws handed in."""

    def __init__(self, size, seed, jit):
        self.size, self.held, self.seen = size, [], 0
        # XLA's random numbers are others, so they are drawn the way the pool is compiled.
        self.draw = tf.function(lambda n: tf.random.stateless_uniform([2], seed=tf.stack([seed, n])), jit_compile=jit)

    def __call__(self, images):
        return np.stack([self._one(image) for image in images])

    def _one(self, image):
        coin, place = self.draw(tf.constant(self.seen)).numpy()
        self.seen += 1
        if len(self.held) < self.size:
            self.held.append(image)
            return image
        if coin < 0.5:
            return image
        slot = int(place * self.size)
        old, self.held[slot] = self.held[slot], image
        return old


def pools(size=5, seed=3, jit=False):
    pool = ImagePool(size, seed)
    pool.build((None, 2, 2, 1))
    return pool, Reference(size, seed, jit)


def batches(count, batch):
    # Every image holds its own number.
    numbers = np.arange(count * batch, dtype="float32").reshape(count, batch, 1, 1, 1)
    return np.broadcast_to(numbers, (count, batch, 2, 2, 1)).copy()


def test_the_pool_equals_its_reference():
    for jit in (False, True):
        pool, reference = pools(jit=jit)
        call = tf.function(pool, jit_compile=jit)
        exchanged = 0
        for images in batches(30, 4):
            answers = call(images).numpy()
            np.testing.assert_array_equal(answers, reference(images))
            exchanged += (answers != images).any((1, 2, 3)).sum()
        np.testing.assert_array_equal(pool.images, np.stack(reference.held))
        assert 35 < exchanged < 80  # of 115 after filling


def test_size_0_gives_images_back():
    pool = ImagePool(0)
    images = batches(1, 4)[0]
    np.testing.assert_array_equal(pool(images), images)
    assert pool.weights == []


def test_no_gradient_passes():
    pool, _ = pools()
    images = tf.constant(batches(1, 4)[0])
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(pool(images))
    assert tape.gradient(total, images) is None
