"""Pairs that people have, against Pillow's own arrays, pixel for pixel, crop and flip included."""

import unicodedata

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFilter
from sklearn.datasets import load_sample_image

from kerasgen.data import load, load_pairs, open_source
from kerasgen.data.loading import settled
from kerasgen.errors import UserError

CHINA = Image.fromarray(load_sample_image("china.jpg"))
COUNT = 7


def colored(i: int) -> Image.Image:
    """A piece of a photograph, 40×60."""
    return CHINA.crop((20 * i, 50 * i, 20 * i + 60, 50 * i + 40))


def sketch(i: int) -> Image.Image:
    return colored(i).convert("L").filter(ImageFilter.FIND_EDGES)


@pytest.fixture
def folders(tmp_path):
    """Sketches and colored pictures of one name, in other suffixes and subfolders."""
    for i in range(COUNT):
        below = "deep/er" if i % 2 else ""
        for side in ("sketches", "colored"):
            for split in ("train", "test"):
                (tmp_path / side / split / below).mkdir(parents=True, exist_ok=True)
        for split in ("train", "test"):
            sketch(i).save(tmp_path / "sketches" / split / below / f"{i}.png")
            colored(i).save(tmp_path / "colored" / split / below / f"{i}.{'bmp' if i % 3 else 'tif'}")
    return f"folder:{tmp_path / 'sketches'}", f"folder:{tmp_path / 'colored'}"


@pytest.fixture
def beside(tmp_path):
    """The same pairs, A on the left and B on the right."""
    for split in ("train", "test"):
        (tmp_path / "pairs" / split).mkdir(parents=True)
        for i in range(COUNT):
            both = Image.new("RGB", (120, 40))
            both.paste(sketch(i), (0, 0))
            both.paste(colored(i), (60, 0))
            both.save(tmp_path / "pairs" / split / f"{i}.png")
    return f"side_by_side:{tmp_path / 'pairs'}"


def all_of(dataset) -> dict[str, np.ndarray]:
    batches = list(dataset.as_numpy_iterator())
    return {name: np.concatenate([b[name] for b in batches]) * 0.5 + 0.5 for name in batches[0]}


def originals(size: int | None) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each pair as Pillow shows it, in [0, 1]."""
    found = []
    for i in range(COUNT):
        pair = (sketch(i).convert("RGB"), colored(i))
        if size:
            pair = tuple(image.resize((size, size), Image.Resampling.BICUBIC) for image in pair)
        found.append(tuple(np.float32(image) / 255 for image in pair))
    return found


def places(image, picture) -> list[tuple[int, int, bool]]:
    """Where an image lies in a picture, as (top, left, flipped)."""
    size = len(image)
    return [
        (top, left, flipped)
        for flipped, shown in ((False, image), (True, image[:, ::-1]))
        for top in range(picture.shape[0] - size + 1)
        for left in range(picture.shape[1] - size + 1)
        if np.abs(picture[top : top + size, left : left + size] - shown).max() < 1e-5
    ]


@pytest.mark.parametrize("mode", ["resize_and_crop", "crop"])
@pytest.mark.parametrize("layout", ["folders", "beside"])
def test_one_crop_one_flip_one_order(request, layout, mode):
    given = request.getfixturevalue(layout)
    data = load_pairs(*([given] if layout == "beside" else given), image_size=32, mode=mode, seed=5)
    pictures = originals(36 if mode == "resize_and_crop" else None)
    seen = set()
    for _ in range(2):
        epoch, numbers = all_of(data), []
        for a, b in zip(epoch["a"], epoch["b"], strict=True):
            found = [(i, set(places(a, one)) & set(places(b, two))) for i, (one, two) in enumerate(pictures)]
            ((number, where),) = [(i, spots) for i, spots in found if spots]
            numbers.append(number)
            seen |= where
        assert sorted(numbers) == list(range(COUNT))
    assert {flipped for _, _, flipped in seen} == {True, False}
    assert len({top for top, _, _ in seen}) > 3


@pytest.mark.parametrize("layout", ["folders", "beside"])
def test_the_test_split_is_in_order_and_without_chance(request, layout):
    given = request.getfixturevalue(layout)
    given = [given] if layout == "beside" else given
    found = all_of(load_pairs(*given, split="test", image_size=36, batch_size=4))
    expected = originals(36)
    order = [
        int(name.rpartition("/")[2])
        for name in open_source(str(given[0]).replace("side_by_side", "left"), "test", 8).names
    ]
    np.testing.assert_allclose(found["a"], [expected[i][0] for i in order], atol=1e-6)
    np.testing.assert_allclose(found["b"], [expected[i][1] for i in order], atol=1e-6)


def test_swapped_pairs_go_the_other_way(beside, folders):
    straight = all_of(load_pairs(beside, image_size=32, seed=3))
    swapped = all_of(load_pairs(beside, image_size=32, seed=3, swap=True))
    np.testing.assert_array_equal(straight["a"], swapped["b"])
    np.testing.assert_array_equal(straight["b"], swapped["a"])


def test_both_layouts_are_the_same_data(beside, folders):
    def sets(dataset):
        found = all_of(dataset)
        return {(a.tobytes(), b.tobytes()) for a, b in zip(found["a"], found["b"], strict=True)}

    options = {"split": "test", "image_size": 32}
    assert sets(load_pairs(beside, **options)) == sets(load_pairs(*folders, **options))


def test_everything_is_a_function_of_the_seed_and_the_step(folders):
    data = load_pairs(*folders, image_size=32, batch_size=2, seed=5)
    steps = [batch for _ in range(3) for batch in data.as_numpy_iterator()]
    assert len(steps) == 9
    endless = load_pairs(*folders, image_size=32, batch_size=2, seed=5, start_step=4)
    for batch, expected in zip(endless.take(5).as_numpy_iterator(), steps[4:], strict=True):
        np.testing.assert_array_equal(batch["a"], expected["a"])
        np.testing.assert_array_equal(batch["b"], expected["b"])


def test_missing_partners_are_named_and_left_out(tmp_path, folders):
    CHINA.crop((0, 0, 60, 40)).save(tmp_path / "sketches" / "train" / "alone.png")
    CHINA.crop((0, 0, 60, 40)).save(tmp_path / "colored" / "train" / "deep" / "lonely.png")
    with pytest.warns(
        UserWarning, match=r"2 pictures have no partner and are left out: .*sketches: alone, .*deep/lonely"
    ):
        data = load_pairs(*folders, image_size=32)
    assert len(data) == COUNT


def test_names_of_a_mac_are_the_same_names(tmp_path):
    for side, form in (("a", "NFD"), ("b", "NFC")):
        for i in range(COUNT):
            path = tmp_path / side / unicodedata.normalize(form, f"Straße/größe{i}.png")
            path.parent.mkdir(parents=True, exist_ok=True)
            colored(i).save(path)
    found = all_of(load_pairs(f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}", image_size=32))
    assert len(found["a"]) == COUNT - 1  # a tenth, one at least, is the test split
    np.testing.assert_array_equal(found["a"], found["b"])


def test_pairs_of_splits_in_folders_of_classes(tmp_path):
    for side in ("a", "b"):
        for i in range(COUNT):
            path = tmp_path / side / "photos" / ("train" if i % 2 else "test") / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            colored(i).save(path)
    given = (f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}")
    counts = [len(load_pairs(*given, split=split, image_size=32)) for split in ("train", "test")]
    assert counts == [COUNT // 2, COUNT - COUNT // 2]


def test_a_tenth_of_the_pairs_is_held_out_where_no_folder_says_which(tmp_path):
    for i in range(40):
        for side, image in (("a", sketch(i % 7)), ("b", colored(i % 7))):
            (tmp_path / side).mkdir(exist_ok=True)
            if (side, i) != ("b", 3):
                image.save(tmp_path / side / f"{i}.{'jpg' if side == 'b' else 'png'}")
    given = (f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}")
    with pytest.warns(UserWarning, match="1 pictures have no partner"):
        assert len(load_pairs(*given, image_size=32)) == 36
    assert len(load_pairs(*given, split="test", image_size=32)) == 3  # and nothing is said twice


@pytest.mark.parametrize("mode", ["scale_width", "none"])
def test_other_modes_keep_the_aspect(folders, mode):
    batch = next(iter(load_pairs(*folders, split="test", image_size=30, mode=mode)))
    assert batch["a"].shape == batch["b"].shape == ((1, 20, 30, 3) if mode == "scale_width" else (1, 40, 60, 3))


@pytest.mark.parametrize("size", [32, 48, 100, 256])
def test_sizes_from_32_up(folders, size):
    batch = next(iter(load_pairs(*folders, image_size=size, batch_size=2)))
    assert batch["a"].shape == batch["b"].shape == (2, size, size, 3)


def test_conditions_are_more_channels(tmp_path):
    for side in ("a", "b", "masks"):
        for kind, shade in (("cats", 40), ("dogs", 200)):
            for i in range(10):
                (tmp_path / side / kind).mkdir(parents=True, exist_ok=True)
                Image.new("RGB", (32, 32), (shade, 5 * i, 0)).save(tmp_path / side / kind / f"{i}.png")
    a, b, masks = (f"folder:{tmp_path / side}" for side in ("a", "b", "masks"))
    batch = next(iter(load_pairs(a, b, image_size=32, mode="crop", batch_size=18, condition=["label", masks])))
    assert batch["a"].shape == (18, 32, 32, 3 + 3 + 2)
    dogs = batch["b"][:, 0, 0, 0].numpy() > 0
    np.testing.assert_array_equal(
        batch["a"][..., 6], np.broadcast_to(np.where(dogs, -1, 1)[:, None, None], (18, 32, 32))
    )
    np.testing.assert_array_equal(batch["a"][..., 7], -batch["a"][..., 6])
    np.testing.assert_array_equal(batch["a"][..., 3:6], batch["a"][..., :3])
    with pytest.raises(UserError, match="knows no 'tone' of its pictures: it knows label"):
        load_pairs(a, b, image_size=32, condition="tone")


def test_what_is_known_may_be_left_unknown_in_training(tmp_path):
    for kind, shade in (("cats", 40), ("dogs", 200)):
        for split in ("train", "test"):
            for side in ("a", "b"):
                (tmp_path / side / split / kind).mkdir(parents=True, exist_ok=True)
                for i in range(10):
                    Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / side / split / kind / f"{i}.png")
    given = {"source_a": f"folder:{tmp_path / 'a'}", "source_b": f"folder:{tmp_path / 'b'}", "condition": "label"}
    given |= {"image_size": 8, "batch_size": 20, "unknown": 0.5}
    facts = np.concatenate([batch["a"][..., 3:] for batch in load_pairs(**given, start_step=0).take(10)])
    of_examples = facts[:, 0, 0]
    np.testing.assert_array_equal(facts, np.broadcast_to(of_examples[:, None, None], facts.shape))
    unknown = (of_examples == 0).all(axis=1)
    assert set(map(tuple, of_examples[~unknown])) == {(1, -1), (-1, 1)}
    assert 60 <= unknown.sum() <= 140  # of 200, always the same ones
    for batch in load_pairs(**given, split="test"):
        assert (np.abs(batch["a"][..., 3:]) == 1).all()
    with pytest.raises(UserError, match="unknown is 2: give a share of the examples, 0 to 1"):
        load_pairs(**given | {"unknown": 2})


def test_shifted_pairs_keep_their_size_and_place(tmp_path):
    dot = np.full((32, 32, 3), 255, np.uint8)
    dot[10, 20] = 0
    for side in ("a/train", "a/test", "b/train", "b/test"):
        (tmp_path / side).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(dot).save(tmp_path / side / f"{i}.png")
    given = {"image_size": 32, "mode": "shift", "batch_size": 2}
    pairs = load_pairs(f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}", **given, start_step=0).take(30)
    pictures = np.concatenate([np.stack([batch["a"], batch["b"]], 1) for batch in pairs])
    np.testing.assert_array_equal(pictures[:, 0], pictures[:, 1])
    places = {tuple(np.argwhere(picture[..., 0] < 0)[0]) for picture in pictures[:, 0]}
    assert all((picture < 0).sum() == 3 for picture in pictures[:, 0])
    rows, columns = ({place[axis] for place in places} for axis in (0, 1))
    assert rows == {8, 9, 10, 11, 12}  # two pixels of 32
    assert columns == {9, 10, 11, 12, 13, 18, 19, 20, 21, 22}  # flipped, and not


def test_related_sources_are_paired_without_names():
    batch = next(iter(load_pairs("digits", "digits_ink", image_size=16, mode="none", batch_size=50, channels=3)))
    ink, paper = np.array([0.10, 0.16, 0.55]), np.array([0.92, 0.86, 0.68])
    a, b = (batch[name].numpy() * 0.5 + 0.5 for name in "ab")
    np.testing.assert_allclose(b, paper + (ink - paper) * a, atol=1e-5)


def test_seven_channels_become_three(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        for side in ("a", "b"):
            (tmp_path / side).mkdir(exist_ok=True)
        np.save(tmp_path / "a" / f"{i}.npy", rng.random((40, 40, 7), np.float32))
        colored(i).save(tmp_path / "b" / f"{i}.png")
    batch = next(iter(load_pairs(f"folder:{tmp_path / 'a'}?range=0..1", f"folder:{tmp_path / 'b'}", image_size=32)))
    assert (batch["a"].shape, batch["b"].shape) == ((1, 32, 32, 7), (1, 32, 32, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": 48, "mode": "crop"}, r"is 40×60, smaller than the crop of 48×48"),
        ({"mode": "none", "batch_size": 2}, "don't make a batch of 2"),
        ({"mode": "zoom"}, "no mode 'zoom'.*resize_and_crop"),
        ({"batch_size": 8}, "has 7 examples.*from 1 to 7"),
        ({"image_size": 0}, "image_size is 0"),
        ({"image_size": 16.5}, "image_size is 16.5: give a whole number"),
        ({"seed": "one"}, "seed is 'one': give a whole number"),
        ({"swap": "no"}, "swap is 'no': give True or False"),
        ({"condition": [3]}, r"condition is '\[3\]': give a name"),
        ({"channels": 3.0}, "channels is 3.0: give a whole number"),
        ({"split": "dev"}, "no split 'dev'"),
        ({"source_b": None}, "alone holds no pairs: give a second source"),
        ({"source_b": "digits"}, "'digits' have no names to pair them by"),
        ({"source_b": "{a}"}, "Both sides are"),
    ],
)
def test_mistakes_get_a_sentence(folders, options, message):
    given = {"source_a": folders[0], "source_b": folders[1], **options}
    if given["source_b"] == "{a}":
        given["source_b"] = folders[0]
    with pytest.raises(UserError, match=message):
        load_pairs(**given)


def test_pictures_of_different_sizes_get_no_common_crop(tmp_path, folders):
    for path in (tmp_path / "colored" / "train").rglob("*.*"):
        if path.stem != "0":
            with Image.open(path) as image:
                larger = image.resize((90, 60))
            larger.save(path)
    with pytest.warns(UserWarning, match="6 pairs of pictures of different sizes are left out, such as"):
        assert len(load_pairs(*folders, image_size=32, mode="crop")) == 1
    assert len(load_pairs(*folders, image_size=32)) == COUNT


def test_two_pictures_of_one_name_are_refused(tmp_path, folders):
    colored(1).save(tmp_path / "sketches" / "train" / "0.bmp")
    with pytest.raises(UserError, match=r"Two pictures of .*sketches' are called '0'"):
        load_pairs(*folders, image_size=32)


def test_pairs_are_not_single_pictures(beside):
    with pytest.raises(UserError, match="holds pairs, but single pictures are wanted: write left:"):
        load(beside, image_size=32)
    left = open_source(beside.replace("side_by_side", "left"), "test", (40, 60))
    np.testing.assert_allclose(
        left.example(tf.constant(2, tf.int64))["image"], np.float32(sketch(2).convert("RGB")) / 255, atol=1e-6
    )


@pytest.mark.parametrize("deep", [False, True])
def test_a_picture_without_two_halves_is_left_out(tmp_path, deep):
    for i in range(4):
        np.save(tmp_path / f"{i}.npy", np.full((16, 32, 3), 0.2 + 0.2 * i, np.float32 if deep else np.uint8) * 100)
    np.save(tmp_path / "line.npy", np.full((16, 1, 3), 900.0, np.float32) if deep else np.zeros((16, 1, 3), np.uint8))
    with pytest.warns(UserWarning, match=r"1 of 5 pictures, narrower than 2 pixels, are left out, such as line\.npy"):
        source = "side_by_side" + settled(f"left:{tmp_path}").removeprefix("left")
    assert ("?range=" in source) == deep
    assert "900" not in source
    pairs = [all_of(load_pairs(source, split=split, image_size=16)) for split in ("train", "test")]
    assert sum(len(found["a"]) for found in pairs) == 4


def test_pairs_of_which_none_can_be_read_get_a_sentence(tmp_path):
    for side in ("a", "b"):
        for split in ("train", "test"):
            (tmp_path / side / split).mkdir(parents=True)
            for i in range(2):
                Image.effect_noise((64, 64), 90).save(tmp_path / side / split / f"{i}.png")
    for file in (tmp_path / "a" / "test" / "0.png", tmp_path / "b" / "test" / "1.png"):
        file.write_bytes(file.read_bytes()[:1500])
    given = f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}"
    assert len(load_pairs(*given, image_size=16)) == 2
    with pytest.raises(
        UserError, match=r"No pair of the split 'test' of .* can be read \(.*0\.png .*: replace or remove"
    ):
        load_pairs(*given, split="test", image_size=16)


def test_a_damaged_picture_takes_its_pair_with_it(tmp_path):
    """Else one pair's lines would be trained with another one's colors."""
    for side in ("a", "b"):
        for split in ("train", "test"):
            (tmp_path / side / split).mkdir(parents=True)
            for i in range(4):
                Image.new("RGB", (64, 64), (60 * i,) * 3).save(tmp_path / side / split / f"{i}.bmp")
    noisy = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noisy).save(tmp_path / "whole.jpg")
    (tmp_path / "a" / "test" / "2.bmp").unlink()
    (tmp_path / "a" / "test" / "2.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:2000])
    given = f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}"
    with pytest.warns(UserWarning, match=r"2\.jpg can't be read .* The next pair takes its place"):
        found = all_of(load_pairs(*given, "test", image_size=64, batch_size=4))
    np.testing.assert_allclose(found["a"], found["b"], atol=1e-6)
    np.testing.assert_allclose(found["a"][:, 0, 0, 0] * 255, [0, 60, 180, 180], atol=1e-3)
