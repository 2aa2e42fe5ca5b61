"""Train the small classifiers that ship for the evaluation of generated pictures.

    python benchmarks/classifiers.py [SOURCE ...]

For each source (all by default) convolutions and a dense layer of features learn the labels of the training split
alone: digits with shifts of a pixel; OpenMoji's groups with shifts of four, flips and dropout, and rare ones count
more. The accuracy on the test split is printed. Writes kerasgen/metrics/classifiers/SOURCE.keras.
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


def digits_network(shape: tuple[int, ...]) -> keras.Model:
    """Return the features of small pictures, which all are [height, width, channels]."""
    image = keras.Input(shape, name="image")
    x = image
    for filters in (16, 32):
        x = keras.layers.Conv2D(filters, 3, strides=2, padding="same", activation="relu")(x)
    return keras.Model(image, keras.layers.Dense(32, activation="relu", name="features")(keras.layers.Flatten()(x)))


def drawings_network(shape: tuple[int, ...]) -> keras.Model:
    """Return the features of pictures of any size, [height, width, channels]."""
    image = keras.Input((None, None, shape[-1]), name="image")
    x = image
    for filters, strides in ((16, 2), (32, 2), (48, 2), (64, 1), (64, 2)):
        x = keras.layers.Conv2D(filters, 3, strides=strides, padding="same", activation="relu")(x)
    x = keras.layers.Concatenate()([keras.layers.GlobalAveragePooling2D()(x), keras.layers.GlobalMaxPooling2D()(x)])
    x = keras.layers.Dropout(0.4)(x)
    return keras.Model(image, keras.layers.Dense(64, activation="relu", name="features")(x))


NETWORKS = {"digits": digits_network, "digits_ink": digits_network, "openmoji": drawings_network}
EPOCHS = 40
SHIFT = {"digits": 1, "digits_ink": 1, "openmoji": 4}  # pixels


def train(source: str) -> tuple[keras.Model, float]:
    """The classifier, and its accuracy on the test split."""
    keras.utils.set_random_seed(0)
    images, labels = arrays(source, "train")
    features, classes = NETWORKS[source](images.shape[1:]), int(labels.max()) + 1
    network = keras.Model(features.input, keras.layers.Dense(classes, activation="softmax")(features.output))
    drawings = source == "openmoji"
    rare = {i: (len(labels) / classes / count) ** 0.5 for i, count in enumerate(np.bincount(labels))}
    weights = rare if drawings else None
    schedule = keras.optimizers.schedules.CosineDecay(3e-3, EPOCHS * (len(images) // 64 + 1))
    network.compile(
        optimizer=keras.optimizers.Adam(schedule), loss="sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    rng = np.random.default_rng(0)
    for _ in range(EPOCHS):
        shift = tuple(rng.integers(-SHIFT[source], SHIFT[source] + 1, 2))
        seen = np.roll(images, shift, axis=(1, 2))
        if drawings:
            flipped = rng.integers(2, size=len(seen)) == 1
            seen[flipped] = seen[flipped, :, ::-1]
        network.fit(seen, labels, batch_size=64, class_weight=weights, verbose=0)
    return network, network.evaluate(*arrays(source, "test"), verbose=0)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sources", nargs="*", default=list(NETWORKS))
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
