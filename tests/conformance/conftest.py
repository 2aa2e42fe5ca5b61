"""What the presets train on here: a folder of real pictures, and real faces with attributes."""

import numpy as np
import pytest
from PIL import Image

from .cases import classifier


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """A folder with 12 pictures of 40×40 to train on and 6 to test on; beside it lies another, `others`."""
    from sklearn.datasets import load_sample_images

    root, random = tmp_path_factory.mktemp("folders"), np.random.default_rng(0)
    for name in ("pictures", "others"):
        for split, count in (("train", 12), ("test", 6)):
            (root / name / split).mkdir(parents=True)
            for i in range(count):
                top, left = random.integers(0, 380), random.integers(0, 600)
                piece = load_sample_images().images[i % 2][top : top + 40, left : left + 40]
                Image.fromarray(piece).save(root / name / split / f"{i:02d}.png")
    return root / "pictures"


@pytest.fixture(scope="session")
def features(tmp_path_factory):
    """The path of a classifier of 32×32 pictures."""
    path = tmp_path_factory.mktemp("features") / "classifier.keras"
    classifier().save(path)
    return path


@pytest.fixture
def faces_with_attributes(monkeypatch):
    """A data source: the real faces of `lfw` in color, which are bright or not and even or not."""
    import tensorflow as tf

    from kerasgen.data import SOURCES, Source
    from kerasgen.data.sources import lfw
    from kerasgen.data.sources.source import Fit, Kind

    def open_split(argument: str, split: str, fit: Fit, channels: int | None) -> Source:
        gray = lfw.KIND.open_split("", split, fit, 1)
        faces = np.stack([np.asarray(gray.example(tf.constant(i, tf.int64))["image"]) for i in range(gray.count)])
        measures = np.stack([faces.mean((1, 2, 3)), faces.std((1, 2, 3))], axis=1)
        labels = (measures > np.median(measures, axis=0)).astype("float32")
        tables = tf.constant(np.repeat(faces, channels or 3, axis=-1)), tf.constant(labels)
        return Source(
            gray.count,
            lambda index: {"image": tables[0][index], "label": tables[1][index]},
            ("bright", "uneven"),
            lambda: labels,
        )

    monkeypatch.setitem(SOURCES, "faces_with_attributes", Kind("lfw's faces with two attributes", open_split))
