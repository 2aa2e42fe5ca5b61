"""Which pictures a folder holds: what people really have lying there, read alike by every command."""

import os
import warnings

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.commands.ship import read_pictures
from kerasgen.data import load, open_source
from kerasgen.data.scanning import scan

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
