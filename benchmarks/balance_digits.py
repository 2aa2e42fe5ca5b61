"""Does balance help a rare class? A conditional VAE on digits thinned to 178, 69 and 14 pictures a class.

    python benchmarks/balance_digits.py

Of all 1,797 digits, 0, 3, 6, 9 keep 178 pictures each, 1, 4, 7 keep 69, and 2, 5, 8 keep 14. For each seed and each
kind of balance, the preset vae_digits is trained for 1,500 steps, and an SVC trained on all digits of the training
split says how many of 200 generated digits a class show that class.
"""

import argparse

import keras
import numpy as np
import tensorflow as tf
from sklearn.svm import SVC

from kerasgen.data import balance, open_source
from kerasgen.data.order import batches, shuffled_index
from kerasgen.models import VAE

KEPT = (178, 69, 14)
BATCH, STEPS = 64, 1500
SCHEMES = ("none", "batch", "inverse", "effective", "sampling")


def arrays(split: str) -> tuple[np.ndarray, np.ndarray]:
    source = open_source("digits", split, 16)
    found = [source.example(tf.constant(i, tf.int64)) for i in range(source.count)]
    return np.stack([e["image"] for e in found]), np.array([e["label"] for e in found])


def thinned(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first pictures of each class, as many as `KEPT` says."""
    kept = np.concatenate([np.flatnonzero(labels == c)[: KEPT[c % 3]] for c in range(10)])
    return images[kept], labels[kept]


def dataset(images: np.ndarray, labels: np.ndarray, scheme: str, seed: int) -> tf.data.Dataset:
    """Endless batches of the thinned digits, balanced as `scheme` says."""
    image_table, label_table = tf.constant(images), tf.constant(labels)
    order = balance.balanced_order(labels, seed) if scheme == "sampling" else None

    def example(position: tf.Tensor) -> dict[str, tf.Tensor]:
        i = shuffled_index(position, len(labels), seed) if order is None else order(position)
        return {"image": image_table[i], "label": label_table[i]}

    found = batches("thinned digits", example, len(labels), BATCH, training=True, start_step=0)
    return found if scheme in ("none", "sampling") else found.map(balance.weighting(scheme, labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--schemes", default=",".join(SCHEMES), help="which, separated by commas")
    arguments = parser.parse_args()
    seeds = arguments.seeds
    images, labels = arrays("train")
    judge = SVC(gamma="scale").fit(images.reshape(len(images), -1), labels)
    test_images, test_labels = arrays("test")
    print(f"real test digits: {judge.score(test_images.reshape(len(test_images), -1), test_labels):.1%}")
    # The training split alone has no 178 of a class; what a generator does with its own pictures does not test them.
    few = thinned(np.concatenate([images, test_images]), np.concatenate([labels, test_labels]))
    for scheme in arguments.schemes.split(","):
        rows = []
        for seed in range(seeds):
            keras.utils.set_random_seed(seed)
            vae = VAE.from_preset("vae_digits", load_weights=False, seed=seed)
            vae.compile_for_recipe(STEPS, 1, learning_rate=2e-3)
            vae.fit(dataset(*few, scheme, seed), steps_per_epoch=STEPS, epochs=1, verbose=0, shuffle=False)
            wanted = np.repeat(np.arange(10), 200)
            generated = vae.generate(len(wanted), labels=wanted, seed=seed)
            right = judge.predict(generated.reshape(len(generated), -1)) == wanted
            rows.append([right[wanted % 3 == kind].mean() for kind in range(3)])
        text = "; ".join(", ".join(f"{row[kind]:.1%}" for row in rows) for kind in range(3))
        print(f"{scheme:10s} 178 a class, 69, 14, seeds 0 to {seeds - 1}: {text}", flush=True)


if __name__ == "__main__":
    main()
