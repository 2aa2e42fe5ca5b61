"""Train the small classifiers that ship for the evaluation of generated pictures.

    python benchmarks/classifiers.py [SOURCE ...]

For each source (digits and digits_ink by default) two convolutions and a dense layer of 32 features learn the labels
of the training split alone, with shifts of a pixel; the accuracy on the test split is printed. Writes
kerasgen/metrics/classifiers/SOURCE.keras.
"""

import argparse
from pathlib import Path

import keras
import numpy as np

from kerasgen.data import load
from kerasgen.files import atomic_write

FOLDER = Path(__file__).parents[1] / "kerasgen" / "metrics" / "classifiers"


def arrays(source: str, split: str) -> tuple[np.ndarray, np.ndarray]:
    """All images [n, height, width, channels] in [0, 1] of a split, and their labels."""
    batches = list(load(source, split, shuffle=False, batch_size=256))
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))


def train(source: str) -> tuple[keras.Model, float]:
    """The classifier, and its accuracy on the test split."""
    keras.utils.set_random_seed(0)
    images, labels = arrays(source, "train")
    image = keras.Input(images.shape[1:], name="image")
    x = image
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    x = keras.layers.Dense(32, activation="relu", name="features")(keras.layers.Flatten()(x))
    network = keras.Model(image, keras.layers.Dense(int(labels.max()) + 1, activation="softmax")(x))
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, 40 * 24)
    network.compile(
        optimizer=keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    rng = np.random.default_rng(0)
    for _ in range(40):
        shift = tuple(rng.integers(-1, 2, 2))
        network.fit(np.roll(images, shift, axis=(1, 2)), labels, batch_size=64, verbose=0)
    return network, network.evaluate(*arrays(source, "test"), verbose=0)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", default=["digits", "digits_ink"])
    for source in parser.parse_args().sources:
        network, accuracy = train(source)
        # Without the optimizer's state, which would double the file.
        plain = keras.Model.from_config(network.get_config())
        plain.set_weights(network.get_weights())
        with atomic_write(FOLDER / f"{source}.keras") as temporary:
            plain.save(temporary)
        print(f"{source}: {accuracy:.1%} of the test pictures")


if __name__ == "__main__":
    main()
