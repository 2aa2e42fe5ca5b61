"""Versions of a tiny generator that can be told apart, and a server on them."""

import io
import shutil

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.export import ImageSpec

from .process import Process


def tiny_generator(shift: float) -> keras.Model:
    """A convolution with a padding that crashes on wrong ranks, and a bias that tells the version."""
    keras.utils.set_random_seed(1)
    image = keras.Input((None, None, 3), name="image")
    mixed = keras.layers.Conv2D(3, 3, padding="same", name="mixed")(image)
    made = keras.layers.Activation("tanh", name="generated")(mixed)
    model = keras.Model(image, made, name="tiny")
    model.get_layer("mixed").bias.assign(np.full(3, shift, "float32"))
    return model


@pytest.fixture(scope="session")
def generators() -> dict[int, keras.Model]:
    return {number: tiny_generator(shift) for number, shift in ((1, -0.8), (2, 0.0), (3, 0.8))}


@pytest.fixture(scope="session")
def photos() -> np.ndarray:
    """Four real pictures: uint8 [4, 24, 32, 3]."""
    china = load_sample_image("china.jpg")
    return np.stack([china[100 * i : 100 * i + 24, 50 * i : 50 * i + 32] for i in range(4)])


@pytest.fixture(scope="session")
def files(photos) -> list[bytes]:
    return [png(photo) for photo in photos]


def png(picture: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, format="PNG")
    return stream.getvalue()


def expected(generator: keras.Model, pictures: np.ndarray) -> np.ndarray:
    """The manifest's formula in NumPy around Keras: int32 levels."""
    output = np.asarray(generator(pictures.astype("float32") / 127.5 - 1.0))
    return np.round((np.clip(output, -1, 1) + 1) * 127.5).astype("int32")


@pytest.fixture(scope="session")
def saved(generators, tmp_path_factory) -> dict:
    """A SavedModel of each version, written without the gate, which tests/export/serving/test_serving.py covers."""
    folder = tmp_path_factory.mktemp("saved")
    return {number: save_signatures(generator, folder / str(number)) for number, generator in generators.items()}


def save_signatures(model: keras.Model, path):
    """A SavedModel with all signatures that `export_serving` gives it."""
    from kerasgen.export.contract.inputs import network_and_inputs
    from kerasgen.export.contract.served import served_signatures
    from kerasgen.export.formats.saved_model import save, traced

    network, _ = network_and_inputs(model, None, ImageSpec())
    signatures = served_signatures(network, ImageSpec(), {})
    save(path, {name: traced(signature) for name, signature in signatures.items()})
    return path


def publish(base, saved_model, name: str = "tiny", number: int | None = None, label: str = "stable") -> int:
    """Make a copy of a SavedModel a version, by the way that `export_serving` takes."""
    from kerasgen.export.serving.versions import new_version

    with new_version(base, name, number, label) as (temporary, published):
        shutil.copytree(saved_model, temporary / "model.saved_model")
    return published[0]


@pytest.fixture(scope="module")
def served(saved, tmp_path_factory):
    """A server on version 2, whose bias is zero."""
    from kerasgen.serve import Server

    base = tmp_path_factory.mktemp("models")
    publish(base, saved[2], number=2)
    with Server(base, 0, 0, poll_seconds=0.1) as server:
        yield server


@pytest.fixture
def running(saved, tmp_path):
    """`kerasgen serve` as a user starts it, and the folder that it serves."""
    publish(tmp_path / "models", saved[1])
    process = Process(tmp_path / "models")
    yield process, tmp_path / "models"
    process.end()
