"""Which pictures a folder holds: what people really have lying there, read alike by every command."""

import os
import re
import unicodedata
import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.commands.ship import read_pictures
from kerasgen.data import load, open_source
from kerasgen.data.scanning import scan
from kerasgen.errors import UserError

CHINA = Image.fromarray(load_sample_image("china.jpg")).resize((40, 30))


def save(path, image=CHINA):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def names(root, **options):
    return set(open_source(f"folder:{root}", image_size=8, **options).names)


@pytest.mark.parametrize(
    ("train", "other", "split"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "val"),
        ("TRAIN", "validation", "val"),
        ("training", "dev", "val"),
        ("Train", "testing", "test"),
    ],
)
def test_splits_by_the_names_people_use(tmp_path, train, other, split):
    for folder, pictures in ((train, "abc"), (other, "de")):
        for name in pictures:
            for kind in ("cats", "dogs"):
                save(tmp_path / folder / kind / f"{name}.png")
    assert names(tmp_path, split="train") == {f"{kind}/{name}" for kind in ("cats", "dogs") for name in "abc"}
    assert names(tmp_path, split=split) == {f"{kind}/{name}" for kind in ("cats", "dogs") for name in "de"}
    source = open_source(f"folder:{tmp_path}", "train", 8)
    assert source.class_names == ("cats", "dogs")


def test_three_splits_are_three(tmp_path):
    for folder, name in (("train", "a"), ("val", "b"), ("test", "c")):
        save(tmp_path / folder / f"{name}.png")
    assert [names(tmp_path, split=split) for split in ("train", "val", "test")] == [{"a"}, {"b"}, {"c"}]


def test_a_tenth_is_held_out_of_a_training_folder_alone(tmp_path):
    for i in range(20):
        save(tmp_path / "train" / ("cats" if i % 2 else "dogs") / f"{i}.png")
    train, test = names(tmp_path, split="train"), names(tmp_path, split="test")
    assert (len(train), len(test)) == (18, 2)
    assert not train & test
    assert open_source(f"folder:{tmp_path}", "train", 8).class_names == ("cats", "dogs")


def test_pictures_beside_the_splits_are_counted(tmp_path):
    for path in ("train/a.png", "test/b.png", "c.png", "old/d.png"):
        save(tmp_path / path)
    with pytest.warns(UserWarning, match="2 pictures beside test, train are left out"):
        assert names(tmp_path, split="train") == {"a"}


def test_classes_that_are_called_otherwise_are_classes(tmp_path):
    for path in ("trainers/a.png", "boots/b.png", "boots/c.png"):
        save(tmp_path / path)
    assert open_source(f"folder:{tmp_path}", "train", 8).class_names == ("boots", "trainers")


@pytest.mark.parametrize(
    ("classes", "others"),
    [
        (("bullet_train", "tram"), ()),
        (("blood_test", "bullet_train"), ()),
        (("bullet_train", "tram"), ("train", "test")),  # within splits of a plain name
    ],
)
def test_a_class_with_a_splits_word_in_its_name_is_a_class(tmp_path, classes, others):
    for kind in classes:
        for folder in others or ("",):
            for name in "ab":
                save(tmp_path / folder / kind / f"{name}.png")
    assert open_source(f"folder:{tmp_path}", "train", 8).class_names == classes


@pytest.mark.parametrize(
    "classes",
    [
        ("flask", "test_tube"),
        ("sandal", "training_shoe"),
        ("bus", "car", "train"),
        ("bus", "test_tube", "train"),
        ("test_tube", "training_shoe"),
        ("testers", "trainers"),
        ("TESTER", "TRAINER"),
        ("dev_kit", "test_kit"),  # none to train on
        ("1_bus", "2_train"),
    ],
)
def test_a_word_of_a_split_makes_none_alone(tmp_path, classes):
    for kind in classes:
        for name in "ab":
            save(tmp_path / kind / f"{name}.png")
    assert open_source(f"folder:{tmp_path}", "train", 8).class_names == classes


@pytest.mark.parametrize(
    "folders",
    [
        ("DIV2K_train_HR", "DIV2K_train_LR", "DIV2K_valid_HR", "DIV2K_valid_LR"),
        ("cats_test", "cats_train", "dogs_test", "dogs_train"),
    ],
)
def test_the_splits_of_several_data_sets_are_refused(tmp_path, folders):
    for folder in folders:
        save(tmp_path / folder / "a.png")
    with pytest.raises(UserError, match=f"The folders {', '.join(folders)} are the splits of several data sets: put"):
        names(tmp_path)


def test_a_split_that_is_called_otherwise_than_two_others_is_left_out_aloud(tmp_path):
    for folder, name in (("train_HR", "a"), ("val_HR", "b"), ("test", "c")):
        save(tmp_path / folder / f"{name}.png")
    with pytest.warns(UserWarning, match="1 pictures beside train, val are left out"):
        assert names(tmp_path, split="train") == {"a"}
    assert names(tmp_path, split="test") == {"b"}


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("training_set", "test_set"),
        ("train_set", "Test-Set"),
        ("train_data", "test_data"),
        ("train_images", "test_images"),
        ("train1", "test1"),
        ("train", "test1"),
        ("train2017", "val2017"),
        ("train", "eval"),
        ("train", "evaluation"),
        ("training_set/training_set", "test_set/test_set"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("fruits-360 Training", "fruits-360 Test"),
        ("dataset/train", "dataset/test"),
        ("archive/dataset/training", "archive/dataset/testing"),
        ("train/train", "train/test"),
        ("train_HR", "val_HR"),
        ("DIV2K_train_HR", "DIV2K_valid_HR"),
        ("trainval", "test"),
        ("train_val", "test"),
        ("train_img", "test_img"),
        ("train_photos", "val_photos"),
        ("train_images", "test"),
        ("1_train", "2_val"),
        ("01 train", "02 test"),
        ("train-64x64", "val-64x64"),
        ("train_512px", "val_256px"),
        ("train_split", "test_split"),
        ("train", "holdout"),
        ("train", "hold-out"),
        ("trainA", "testA"),
        ("ImagesTrain", "ImagesVal"),
    ],
)
def test_splits_of_unpacked_archives(tmp_path, train, test):
    for folder, pictures in ((train, "abc"), (test, "de")):
        for name in pictures:
            for kind in ("cats", "dogs"):
                save(tmp_path / folder / kind / f"{name}.png")
    assert names(tmp_path, split="train") == {f"{kind}/{name}" for kind in ("cats", "dogs") for name in "abc"}
    assert names(tmp_path, split="test") == {f"{kind}/{name}" for kind in ("cats", "dogs") for name in "de"}
    assert open_source(f"folder:{tmp_path}", "test", 8).class_names == ("cats", "dogs")


def test_splits_may_lie_in_each_class(tmp_path):
    for path in ("cats/train/a", "cats/train/deep/b", "cats/test/c", "dogs/train/a", "dogs/test/a"):
        save(tmp_path / f"{path}.png")
    assert names(tmp_path, split="train") == {"cats/a", "cats/deep/b", "dogs/a"}
    assert names(tmp_path, split="test") == {"cats/c", "dogs/a"}
    source = open_source(f"folder:{tmp_path}", "train", 8)
    assert source.class_names == ("cats", "dogs")
    np.testing.assert_array_equal(source.labels(), [0, 0, 1])


def test_splits_of_pictures_beside_their_labels(tmp_path):
    for split, name in (("train", "a"), ("val", "b")):
        save(tmp_path / "images" / split / f"{name}.png")
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / f"{name}.txt").write_text("0 0.5 0.5 1 1")
    with pytest.warns(UserWarning, match=r"2 of 4 files are left out; of another kind \(2 × \.txt\)"):
        assert names(tmp_path, split="train") == {"a"}
    assert names(tmp_path, split="test") == {"b"}


def test_a_picture_beside_the_folder_of_the_splits_is_counted(tmp_path):
    for path in ("preview.png", "dataset/train/cats/a.png", "dataset/train/dogs/a.png", "dataset/test/cats/b.png"):
        save(tmp_path / path)
    with pytest.warns(UserWarning, match="1 pictures beside test, train are left out"):
        assert names(tmp_path, split="train") == {"cats/a", "dogs/a"}
    assert open_source(f"folder:{tmp_path}", "test", 8).class_names == ("cats", "dogs")


@pytest.mark.parametrize("above", ["", "horse2zebra/"])
def test_two_domains_in_one_folder_are_two_sources(tmp_path, above):
    for folder in ("trainA", "trainB", "testA", "testB"):
        save(tmp_path / above / folder / "a.png")
    a, b = (re.escape(f"folder:{tmp_path / above / name}") for name in ("trainA", "trainB"))
    with pytest.raises(UserError, match=f"trainA and trainB are two domains.*: give two, {a} and {b}"):
        names(tmp_path)
    assert names(tmp_path / above / "trainA") == {"a"}


def test_two_folders_of_one_split_are_refused(tmp_path):
    for folder in ("train", "train1", "test"):
        save(tmp_path / folder / "a.png")
    with pytest.raises(UserError, match="train and train1 would both be the split 'train': keep one, or rename"):
        names(tmp_path)


@pytest.mark.parametrize("folders", [("car", "test", "train"), ("car", "testing", "tests")])
def test_classes_that_are_called_like_splits(tmp_path, folders):
    """A railway's train stands beside other classes, below folders of splits."""
    for split in ("train", "test"):
        for folder in folders:
            for name in "ab":
                save(tmp_path / "split" / split / folder / f"{name}.png")
    assert open_source(f"folder:{tmp_path / 'split'}", "train", 8).class_names == folders
    for folder in ("car", "test"):
        save(tmp_path / "classes" / folder / "a.png")
    assert open_source(f"folder:{tmp_path / 'classes'}", "train", 8).class_names == ("car", "test")


def test_links_are_followed_and_circles_are_not(tmp_path):
    for name in "ab":
        save(tmp_path / "elsewhere" / name / "deep" / f"{name}.png")
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / name).symlink_to(tmp_path / "elsewhere" / name)
    (tmp_path / "elsewhere" / "a" / "deep" / "again").symlink_to(tmp_path / "elsewhere" / "a")
    (tmp_path / "data" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "data" / "itself").symlink_to(tmp_path / "data" / "itself")
    save(tmp_path / "linked.png")
    (tmp_path / "data" / "b" / "one.png").symlink_to(tmp_path / "linked.png")
    with pytest.warns(UserWarning, match="3 of 6 files.*2 × a broken link.*1 × a link to a folder that it lies in"):
        found = scan(tmp_path / "data")
    assert [file.name for file in found.files] == ["a/deep/a", "b/deep/b", "b/one"]
    assert open_source(f"folder:{tmp_path / 'data'}", "train", 8).class_names == ("a", "b")


def huge(path):
    """14,000×14,000 pixels of one color: more than anybody may ask for."""
    Image.new("1", (14_000, 14_000)).save(path)


@pytest.fixture
def mixed(tmp_path):
    """Three pictures that are read, and five files that are not."""
    for name in ("a.png", "b.tif", "c.TIFF"):
        save(tmp_path / name)
    huge(tmp_path / "huge.png")
    (tmp_path / "phone.HEIC").write_bytes(b"ftypheic")
    (tmp_path / "notes.txt").write_text("notes")
    frames = [CHINA, CHINA.rotate(180)]
    frames[0].save(tmp_path / "moving.webp", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "stack.tiff", save_all=True, append_images=frames[1:])
    (tmp_path / ".DS_Store").write_bytes(b"a Mac's")
    return tmp_path


def test_what_cannot_be_read_is_counted_and_said_once(mixed):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for split in ("train", "test", "train"):
            load(f"folder:{mixed}", split, image_size=8, batch_size=1)
    (message,) = [str(warning.message) for warning in said]
    assert "5 of 8 files are left out" in message
    assert "1 × .heic, 1 × .txt" in message
    assert "3 unreadable" in message
    assert len(message) < 400


def test_a_folder_that_changed_is_looked_at_again(mixed):
    with pytest.warns(UserWarning, match="5 of 8"):
        assert len(scan(mixed).files) == 3
    save(mixed / "d.png")
    with pytest.warns(UserWarning, match="5 of 9"):
        assert len(scan(mixed).files) == 4


def test_an_exporter_reads_the_same_pictures(mixed):
    with pytest.warns(UserWarning, match="5 of 8 files are left out"):
        assert read_pictures(mixed, (8, 8), 3).shape == (3, 8, 8, 3)


def test_translating_takes_the_same_pictures(mixed, tmp_path_factory):
    from kerasgen.commands.translate import translate_folder
    from kerasgen.networks.resnet import resnet_generator

    output = tmp_path_factory.mktemp("out")
    with pytest.warns(UserWarning, match="5 of 8 files are left out"):
        result = translate_folder(resnet_generator(3, filters=2, blocks=1), mixed, output)
    assert [path.name for path in result.written] == ["a.png", "b.png", "c.png"]
    assert {path.name for path in result.skipped} == {"huge.png", "moving.webp", "stack.tiff"}


def test_a_phones_jpeg_with_a_second_picture_is_a_picture(tmp_path):
    CHINA.save(tmp_path / "phone.jpg", format="MPO", save_all=True, append_images=[CHINA.rotate(90)])
    assert [file.name for file in scan(tmp_path).files] == ["phone"]


def test_a_jpeg_is_taken_by_each_of_its_suffixes(tmp_path):
    for suffix in ("jpg", "jpeg", "jpe", "JFIF"):
        CHINA.save(tmp_path / f"{suffix}.{suffix}", format="JPEG")
    assert {file.name for file in scan(tmp_path).files} == {"jpg", "jpeg", "jpe", "JFIF"}


def test_a_class_of_a_mac_is_the_same_class(tmp_path):
    """The Mac takes an umlaut apart in the names of files and folders."""
    for split, form in (("train", "NFD"), ("test", "NFC")):
        for kind in ("Bäume", "Häuser"):
            save(tmp_path / split / unicodedata.normalize(form, kind) / "a.png")
    assert open_source(f"folder:{tmp_path}", "test", 8).class_names == ("Bäume", "Häuser")


def test_sizes_are_those_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("a.png", "b.jpg"):
        CHINA.save(tmp_path / name, exif=exif)
    for file in scan(tmp_path).files:
        assert (file.head.height, file.head.width) == (40, 30)


def test_a_pipe_is_not_waited_for(tmp_path):
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with pytest.warns(UserWarning, match="1 of 2 files"):
        assert [file.name for file in scan(tmp_path).files] == ["a"]
    np.testing.assert_array_equal(read_pictures(tmp_path, (8, 8), 3).shape, (1, 8, 8, 3))
