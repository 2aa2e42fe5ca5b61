"""Two domains: disjoint training halves, known truth, the paper's crops."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image
from sklearn.utils import Bunch

from kerasgen.data import load, load_unpaired, open_source
from kerasgen.errors import UserError

INK, PAPER = np.array([0.10, 0.16, 0.55]), np.array([0.92, 0.86, 0.68])
GAMMA = 1.5
MATRIX = np.array([[0.62, 0.08, 0.0], [0.04, 0.58, 0.06], [0.04, 0.12, 0.74]])


def all_of(dataset):
    batches = list(dataset.as_numpy_iterator())
    return {name: np.concatenate([b[name] for b in batches]) * 0.5 + 0.5 for name in batches[0]}


def ink(image):
    return PAPER * (1 - image) + INK * image


def dusk(image):
    return np.einsum("ij,...j->...i", MATRIX, image**GAMMA)


@pytest.mark.parametrize(
    ("clean", "changed", "function", "size", "mode"),
    [("digits", "digits_ink", ink, 16, "none"), ("photos", "photo_dusk", dusk, 32, "crop")],
)
def test_the_test_split_knows_the_truth(clean, changed, function, size, mode):
    found = all_of(load_unpaired(clean, changed, "test", image_size=size, mode=mode, batch_size=8))
    np.testing.assert_allclose(found["a"], all_images(clean, "test", size), atol=1e-6)
    np.testing.assert_allclose(found["truth_b"], function(found["a"].astype(float)), atol=1e-5)
    np.testing.assert_allclose(found["b"], function(found["truth_a"].astype(float)), atol=1e-5)
    # No element shows the translation of its own a.
    assert all(np.abs(b - truth).max() > 0.01 for b, truth in zip(found["b"], found["truth_b"], strict=True))
    back = all_of(load_unpaired(changed, clean, "test", image_size=size, mode=mode, batch_size=8))
    np.testing.assert_array_equal(back["a"], found["truth_b"])


def all_images(source, split, size):
    batches = load(source, split, image_size=size, channels=3, shuffle=False).as_numpy_iterator()
    return np.concatenate([batch["image"] for batch in batches])


def test_the_training_domains_share_no_digit():
    data = load_unpaired("digits", "digits_ink", image_size=16, mode="none", batch_size=50)
    found = all_of(data)
    assert set(found) == {"a", "b"}
    assert len(found["a"]) == 750
    # Which original each is, with the ink taken off b again.
    known = all_images("digits", "train", 16)[..., 0].reshape(1500, 256)
    numbers = {}
    for name, images in (("a", found["a"]), ("b", (PAPER - found["b"]) / (PAPER - INK))):
        flat = images[..., 0].reshape(750, 256).astype(np.float32)
        distances = (flat**2).sum(1)[:, None] + (known**2).sum(1) - 2 * flat @ known.T
        assert distances.min(axis=1).max() < 1e-4
        numbers[name] = set(distances.argmin(axis=1).tolist())
    assert len(numbers["a"]) == len(numbers["b"]) == 750
    assert not numbers["a"] & numbers["b"]


@pytest.mark.parametrize("size", [32, 64, 128])
def test_the_domains_and_splits_share_no_pixel_of_a_photo(size, monkeypatch):
    # Photos whose colors spell out the place of each pixel: picture and row, column.
    which, row, column = np.indices((2, 427, 640))
    place = which * 427 * 640 + row * 640 + column
    spelled = np.stack([place >> 16, place >> 8 & 255, place & 255], axis=-1).astype(np.uint8)
    monkeypatch.setattr("sklearn.datasets.load_sample_images", lambda: Bunch(images=list(spelled)))

    def places(source, numbers):
        images = np.stack([source.example(np.int64(n))["image"] for n in numbers])
        return set((np.round(images * 255).astype(int) @ [1 << 16, 1 << 8, 1]).ravel().tolist())

    train, test = (open_source("photos", split, size) for split in ("train", "test"))
    a = places(train, range(train.count // 2))
    b = places(train, range(train.count // 2, train.count))
    held_out = places(test, range(test.count))
    assert min(len(a), len(b), len(held_out)) >= 2 * size * size
    assert a.isdisjoint(b)
    assert held_out.isdisjoint(a | b)


@pytest.fixture
def folders(tmp_path):
    """Folders a (7 pictures) and b (5) of crops of a photograph, 40×60, none of them alike."""
    china = Image.fromarray(load_sample_image("china.jpg"))
    for name, count, left in (("a", 7, 0), ("b", 5, 100)):
        (tmp_path / name / "train").mkdir(parents=True)
        (tmp_path / name / "test").mkdir()
        for i in range(count):
            crop = china.crop((left, 50 * i, left + 60, 50 * i + 40))
            crop.save(tmp_path / name / "train" / f"{i}.png")
            crop.save(tmp_path / name / "test" / f"{i}.png")
    return f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}"


def originals(source, size=None):
    """The pictures of the test split as Pillow reads and resizes them, in [0, 1]."""
    arrays = []
    for path in sorted((Path(source.removeprefix("folder:")) / "test").iterdir()):
        with Image.open(path) as picture:
            shown = picture.resize((size, size), Image.Resampling.BICUBIC) if size else picture
            arrays.append(np.float32(shown) / 255)
    return arrays


def places(image, picture):
    """Where `image` lies in `picture`, as (top, left, flipped)."""
    size = len(image)
    return [
        (top, left, flipped)
        for flipped, shown in ((False, image), (True, image[:, ::-1]))
        for top in range(picture.shape[0] - size + 1)
        for left in range(picture.shape[1] - size + 1)
        if np.abs(picture[top : top + size, left : left + size] - shown).max() < 1e-5
    ]


@pytest.mark.parametrize("mode", ["resize_and_crop", "crop"])
def test_training_crops_and_flips(folders, mode):
    data = load_unpaired(*folders, image_size=32, mode=mode, seed=5)
    assert len(data) == 7
    elements = [all_of(data) for _ in range(6)]
    pictures = originals(folders[0], 36 if mode == "resize_and_crop" else None)
    seen = set()
    for epoch in elements:
        found = [[places(image, picture) for picture in pictures] for image in epoch["a"]]
        # Each picture once an epoch, and each image is a crop of one.
        assert sorted(next(i for i, p in enumerate(row) if p) for row in found) == list(range(7))
        seen |= {place for row in found for hits in row for place in hits}
    assert {flipped for _, _, flipped in seen} == {True, False}
    edge = {0, 4} if mode == "resize_and_crop" else {0, 8}
    assert edge <= {top for top, _, _ in seen} <= set(range(max(edge) + 1))


def test_the_smaller_domain_starts_over_in_a_new_order(folders):
    data = load_unpaired(*folders, image_size=32, seed=5)
    pictures = originals(folders[1], 36)
    images = np.concatenate([all_of(data)["b"] for _ in range(5)])  # 35 of them: 7 rounds of 5
    rounds = np.array([next(i for i, p in enumerate(pictures) if places(image, p)) for image in images]).reshape(7, 5)
    assert all(sorted(r) == list(range(5)) for r in rounds.tolist())
    assert len({tuple(r) for r in rounds.tolist()}) > 1


def test_everything_is_a_function_of_the_seed_and_the_step(folders):
    data = load_unpaired(*folders, image_size=32, batch_size=2, seed=5)
    steps = [batch for _ in range(3) for batch in data.as_numpy_iterator()]
    assert len(steps) == 9
    endless = load_unpaired(*folders, image_size=32, batch_size=2, seed=5, start_step=4)
    for batch, expected in zip(endless.take(5).as_numpy_iterator(), steps[4:], strict=True):
        np.testing.assert_array_equal(batch["a"], expected["a"])
        np.testing.assert_array_equal(batch["b"], expected["b"])
    other = next(load_unpaired(*folders, image_size=32, batch_size=2, seed=6).as_numpy_iterator())
    assert not np.array_equal(other["a"], steps[0]["a"])


def test_the_test_split_is_in_order_and_without_chance(folders):
    found = all_of(load_unpaired(*folders, "test", image_size=32, batch_size=4))
    np.testing.assert_allclose(found["a"], originals(folders[0], 32), atol=1e-6)
    np.testing.assert_array_equal(found["b"][5:], found["b"][:2])
    middle = all_of(load_unpaired(*folders, "test", image_size=32, mode="crop"))["a"][3]
    np.testing.assert_allclose(middle, originals(folders[0])[3][4:36, 14:46], atol=1e-6)


def test_other_modes_keep_the_aspect(folders):
    wide = next(load_unpaired(*folders, image_size=30, mode="scale_width").as_numpy_iterator())
    assert wide["a"].shape == (1, 20, 30, 3)
    same = all_of(load_unpaired(*folders, "test", mode="none"))["a"][2]
    np.testing.assert_allclose(same, originals(folders[0])[2], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48, "mode": "crop"}, r"0\.png is 40×60, smaller than the crop of 48×48"),
        ({"mode": "none", "batch_size": 2}, "don't make a batch of 2"),
        ({"mode": "zoom"}, "no mode 'zoom'.*resize_and_crop"),
        ({"batch_size": 8}, "has 7 examples.*from 1 to 7"),
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": 8.5}, "image_size is 8.5: give a whole number"),
        ({"seed": -1}, "seed is -1"),
        ({"batch_size": "4"}, "batch_size is '4': give a whole number"),
        ({"channels": 2}, "channels is 2"),
        ({"split": "dev"}, "no split 'dev'"),
        ({"source_b": "folder"}, "write folder:PATH"),
        ({"source_a": "photos", "source_b": "photos"}, "Both domains are 'photos'"),
        ({"source_a": "photos", "source_b": "photo_dusk"}, "128 at most"),
        ({"source_a": "photos", "source_b": "photo_dusk", "channels": 1, "image_size": 32}, "give channels=3"),
        ({"source_a": "digits", "source_b": "photo_dusk", "channels": 1, "image_size": 32}, "source is colored"),
    ],
)
def test_mistakes_get_a_sentence(folders, options, message):
    with pytest.raises(UserError, match=message):
        load_unpaired(**{"source_a": folders[0], "source_b": folders[1], **options})
