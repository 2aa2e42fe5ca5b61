"""The folder source on real photographs, against Pillow."""

import numpy as np
import pytest
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image

from kerasgen.data import load, open_source
from kerasgen.data.scanning import drawn
from kerasgen.errors import UserError

CHINA = Image.fromarray(load_sample_image("china.jpg"))  # 427×640


def only(source, **options):
    """The single picture of a split as an array [height, width, channels]."""
    return next(iter(load(source, shuffle=False, batch_size=1, **options)))["image"][0].numpy()


def close(image, expected, tolerance):
    return np.abs(image * 255 - np.asarray(expected, np.float32)).mean() < tolerance


@pytest.mark.parametrize("suffix", ["jpg", "png", "bmp", "webp"])
def test_every_format_is_cropped_to_the_center_and_resized(tmp_path, suffix):
    CHINA.save(tmp_path / f"a.{suffix}")
    left = (640 - 427) / 2
    expected = CHINA.resize((64, 64), Image.Resampling.BICUBIC, (left, 0, left + 427, 427))
    image = only(f"folder:{tmp_path}", image_size=64)
    assert image.shape == (64, 64, 3)
    assert close(image, expected, 1 if suffix in ("png", "bmp") else 4)


def test_reduced_jpeg_decoding_stays_close_to_the_full_one(tmp_path):
    CHINA.resize((1281, 855), Image.Resampling.BICUBIC).save(tmp_path / "a.jpg", quality=95)
    with Image.open(tmp_path / "a.jpg") as image:
        full = image.convert("RGB").crop((213, 0, 1068, 855)).resize((64, 64), Image.Resampling.BICUBIC)
    assert close(only(f"folder:{tmp_path}", image_size=64), full, 2)


def test_what_was_read_once_stays_in_memory_as_far_as_there_is_room(tmp_path, monkeypatch):
    left, right = CHINA.crop((0, 0, 256, 256)), CHINA.crop((300, 0, 556, 256))
    for name, picture in (("a", left), ("b", right)):
        (tmp_path / "train").mkdir(exist_ok=True)
        picture.save(tmp_path / "train" / f"{name}.png")
    (tmp_path / "test").mkdir()
    left.save(tmp_path / "test" / "a.png")
    monkeypatch.setattr("kerasgen.data.sources.folder._KEPT", 64 * 64 * 3)  # one of the two
    images = load(f"folder:{tmp_path}", shuffle=False, batch_size=2, image_size=64)
    first = next(iter(images))["image"].numpy()
    for name in "ab":
        CHINA.rotate(180).crop((0, 0, 256, 256)).save(tmp_path / "train" / f"{name}.png")
    later = next(iter(images))["image"].numpy()
    same = [np.array_equal(a, b) for a, b in zip(first, later, strict=True)]
    assert sorted(same) == [False, True]


def test_grey_16_bit_palette_and_transparent_pictures(tmp_path):
    crop = CHINA.crop((0, 0, 64, 64))
    gray = crop.convert("L")
    pictures = {
        "16bit": Image.fromarray(np.asarray(gray).astype(np.uint16) * 257),
        "palette": crop.convert("P"),
        "gray": gray,
    }
    for name, picture in pictures.items():
        (tmp_path / name).mkdir()
        picture.save(tmp_path / name / "a.png")
    assert close(only(f"folder:{tmp_path / '16bit'}", image_size=64, channels=1)[..., 0], gray, 1)
    assert close(only(f"folder:{tmp_path / 'gray'}", image_size=64), np.asarray(gray)[..., None].repeat(3, 2), 1)
    assert close(only(f"folder:{tmp_path / 'palette'}", image_size=64), crop.convert("P").convert("RGB"), 1)
    clear = crop.convert("RGBA")
    clear.putalpha(0)
    (tmp_path / "alone").mkdir()
    clear.save(tmp_path / "alone" / "clear.png")
    assert only(f"folder:{tmp_path / 'alone'}", image_size=64).min() == 1


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_exif_orientation_turns_the_picture_upright(tmp_path, orientation, suffix):
    exif = Image.Exif()
    exif[0x0112] = orientation
    CHINA.save(tmp_path / f"a.{suffix}", exif=exif, quality=95)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        upright = ImageOps.exif_transpose(image)
    expected = ImageOps.fit(upright, (96, 64), Image.Resampling.BICUBIC)
    assert close(only(f"folder:{tmp_path}", image_size=(64, 96)), expected, 0.5 if suffix == "png" else 2)


@pytest.fixture
def classes(tmp_path):
    """Two classes of 20 pictures, of four pixel values that tell them apart."""
    for label, name in enumerate(("cats", "dogs")):
        for i in range(20):
            path = tmp_path / name / "deep" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (i, 100 * label, 0)).save(path)
    return tmp_path


def test_subfolders_are_classes_and_the_split_is_a_tenth(classes):
    source = f"folder:{classes}"
    assert open_source(source, "train", 8).class_names == ("cats", "dogs")
    batch = next(iter(load(source, "train", image_size=8, batch_size=36)))
    np.testing.assert_array_equal(batch["label"], np.round(batch["image"][:, 0, 0, 1] * 2.55))
    test = next(iter(load(source, "test", image_size=8)))
    assert len(test["label"]) == 4

    def keys(part):
        return {tuple(np.round(image[0, 0] * 255)) for image in part["image"].numpy()}

    assert not keys(batch) & keys(test)
    assert len(keys(batch) | keys(test)) == 40


def test_train_and_test_folders_are_the_splits(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        (tmp_path / split).mkdir()
        for i in range(count):
            CHINA.crop((0, 0, 16, 16)).save(tmp_path / split / f"{i}.png")
    assert open_source(f"folder:{tmp_path}", "train", 16).count == 3
    assert open_source(f"folder:{tmp_path}", "test", 16).count == 2
    assert open_source(f"folder:{tmp_path}", "train", 16).class_names == ()


def test_a_corrupt_file_is_named_and_left_out(classes):
    (classes / "cats" / "broken.jpg").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"1 of 41 files are left out; 1 unreadable: broken\.jpg can't be read"):
        assert open_source(f"folder:{classes}", "train", 8).count == 36


def test_a_file_that_was_cut_short_is_replaced_by_the_next(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        CHINA.save(tmp_path / split / "b.jpg")
    whole = (tmp_path / "train" / "b.jpg").read_bytes()
    (tmp_path / "train" / "a.jpg").write_bytes(whole[: len(whole) // 3])
    with pytest.warns(UserWarning, match=r"a\.jpg can't be read as a picture .* The next picture takes its place"):
        images = next(iter(load(f"folder:{tmp_path}", image_size=32, shuffle=False)))["image"].numpy()
    assert len(images) == 2
    np.testing.assert_array_equal(images[0], images[1])


def test_a_replaced_picture_brings_its_own_label(tmp_path):
    for path in ("train/a", "train/b", "test/a"):
        (tmp_path / path).mkdir(parents=True)
    CHINA.save(tmp_path / "test/a/whole.png")
    CHINA.save(tmp_path / "train/b/whole.png")
    whole = (tmp_path / "train/b/whole.png").read_bytes()
    (tmp_path / "train/a/cut.png").write_bytes(whole[: len(whole) // 3])
    with pytest.warns(UserWarning, match=r"cut\.png can't be read"):
        batch = next(iter(load(f"folder:{tmp_path}", image_size=32, shuffle=False)))
    np.testing.assert_array_equal(batch["label"], [1, 1])


def test_a_class_has_the_same_number_in_both_splits(tmp_path):
    for split, names in (("train", ("ants", "bees", "cats")), ("test", ("bees", "cats"))):
        for name in names:
            (tmp_path / split / name).mkdir(parents=True)
            CHINA.crop((0, 0, 16, 16)).save(tmp_path / split / name / "0.png")
    assert open_source(f"folder:{tmp_path}", "test", 16).class_names == ("ants", "bees", "cats")
    batch = next(iter(load(f"folder:{tmp_path}", "test", image_size=16)))
    np.testing.assert_array_equal(batch["label"], [1, 2])


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("folder:/nowhere", {"image_size": 8}, "no folder '/nowhere'"),
        ("folder:", {"image_size": 8}, "folder:PATH"),
        ("folder:{empty}", {"image_size": 8}, "no readable picture"),
        ("folder:{empty}", {}, "image_size=64"),
        ("folder:{empty}", {"image_size": 8, "split": "dev"}, "no split 'dev'"),
        ("folder:{empty}?range=9..1", {"image_size": 8}, "range '9..1' is not black and white"),
    ],
)
def test_mistakes_get_a_sentence(tmp_path, source, options, message):
    with pytest.raises(UserError, match=message):
        load(source.format(empty=tmp_path), **options)


def cut(path):
    """Damage a picture so that only a look at all of it shows it."""
    Image.effect_noise((64, 64), 90).save(path)
    path.write_bytes(path.read_bytes()[:1500])


@pytest.fixture
def held_out(tmp_path):
    """Five pictures and a damaged one, which is all that is held out."""
    names = [f"{name}.png" for name in "abcdef"]
    for name in names:
        CHINA.resize((16, 16)).save(tmp_path / name)
    (held,) = drawn(names)
    cut(tmp_path / held)
    return f"folder:{tmp_path}", held


@pytest.mark.parametrize("split", ["test", "val"])
def test_a_split_of_which_nothing_can_be_read_is_named(held_out, split):
    source, held = held_out
    assert len(next(iter(load(source, image_size=8, batch_size=5)))["image"]) == 5
    with pytest.raises(
        UserError, match=rf"No picture of the split '{split}' of .* \({held}|{held} can't be read.*\): replace"
    ):
        load(source, split, image_size=8, batch_size=1)


def test_a_training_says_so_in_one_sentence(held_out, tmp_path_factory, kerasgen):
    source, held = held_out
    output = tmp_path_factory.mktemp("run") / "run"
    options = ("--batch-size", 5, "--epochs", 1, "--image-size", 16)
    code, _, errors = kerasgen("train", "vae_64", "--data", source, "--output", output, *options)
    assert code == 2
    assert "No picture of the split 'val' of" in errors
    assert f"{held} can't be read" in errors
    assert "Traceback" not in errors


def test_what_is_gone_during_a_training_gets_the_same_sentence(tmp_path, small_vae, monkeypatch):
    monkeypatch.setattr("kerasgen.data.sources.folder._KEPT", 0)  # as of more than stays in memory
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split).mkdir(exist_ok=True)
            CHINA.resize((16, 16)).save(tmp_path / split / f"{name}.png")
    options = {"image_size": 8, "channels": 1, "batch_size": 1}
    train, test = (load(f"folder:{tmp_path}", split, **options) for split in ("train", "test"))
    for name in "ab":
        cut(tmp_path / "test" / f"{name}.png")
    model = small_vae(num_classes=None)
    model.compile("adam")
    with pytest.raises(
        UserError, match=r"No picture of the split 'test' of .* replace or remove the damaged files\.$"
    ):
        model.fit(train, validation_data=test, verbose=0)


def test_a_path_below_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        (tmp_path / "photos").mkdir(exist_ok=True)
        CHINA.resize((16, 8)).save(tmp_path / "photos" / f"{i}.png")
    for name in ("folder", "left", "right"):
        assert open_source(f"{name}:~/photos", "train", 8).count == 1
    with pytest.raises(UserError, match="did you mean folder:~/photos"):
        load("~/photos", image_size=8)
    (tmp_path / "~").mkdir()
    (tmp_path / "photos").rename(tmp_path / "~" / "photos")
    assert open_source("folder:~/photos", "train", 8).count == 1


@pytest.mark.parametrize("path", ["n" * 300, f"{'n' * 300}/photos", "~nobody_of_this_name/photos", "a\0b"])
def test_no_folder_can_have_such_a_name(path):
    with pytest.raises(UserError, match="There is no folder"):
        load(f"folder:{path}", image_size=8)
