"""The classifiers that ship: what they know of pictures that their training never saw."""

import numpy as np
import pytest
from skimage.transform import rescale

from kerasgen.data import load
from kerasgen.metrics.features import extractor_for


def held_out(source: str) -> tuple[np.ndarray, np.ndarray]:
    batches = list(load(source, "test", shuffle=False, batch_size=256))
    return tuple(np.concatenate([batch[name] for batch in batches]) for name in ("image", "label"))


@pytest.mark.slow
def test_the_classifier_of_drawings_knows_groups():
    images, labels = held_out("openmoji")
    answers = extractor_for("openmoji").classes(images)
    right = answers == labels
    assert right.mean() > 0.75
    # Two thirds are people: who always says so is right there alone, a group in eight.
    assert np.mean([right[labels == group].mean() for group in np.unique(labels)]) > 0.4


@pytest.mark.parametrize("source", ["openmoji_lines", "openmoji_attributes"])
def test_drawings_in_other_ways_have_features_of_the_same_classifier(source):
    extractor, same = extractor_for(source), extractor_for("openmoji")
    assert extractor.name == "openmoji_classifier"
    images = np.random.default_rng(0).random((3, 64, 64, 3), np.float32)
    np.testing.assert_array_equal(extractor.features(images), same.features(images))
    gray = images[..., :1]
    np.testing.assert_allclose(extractor.features(gray), same.features(gray.repeat(3, axis=-1)))


def test_drawings_of_another_size_have_features():
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    small = np.float32([rescale(image, 0.5, channel_axis=-1) for image in images])
    assert extractor_for("openmoji").features(small).shape == (2, 64)
