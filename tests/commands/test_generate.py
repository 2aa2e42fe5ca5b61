"""Classes by the names of their folders."""

import json

import numpy as np
import pytest
from PIL import Image

from kerasgen.commands.evaluate import _examples
from kerasgen.commands.generate import Generated, class_of, encode_source, with_class_names
from kerasgen.commands.train import train
from kerasgen.errors import UserError
from kerasgen.models import VAE

NAMES = ("cats", "dogs", "7")


def test_a_class_is_called_by_name_or_number():
    assert [class_of(text, NAMES) for text in ("cats", "dogs", "1", "7", "12")] == [0, 1, 1, 2, 12]
    with pytest.raises(UserError, match="No class is called 'cat': give one of cats, dogs, 7"):
        class_of("cat", NAMES)
    with pytest.raises(UserError, match="its number, because the run's data names no classes"):
        class_of("cats", ())
    with pytest.raises(UserError, match="--label is -1"):
        class_of("-1", NAMES)


def test_rules_say_the_names():
    rules = ["label = 1 and z7 ≤ 0.4", "label ≠ 0 and label ≠ 12", "any picture"]
    generated = Generated(*[np.zeros(3)] * 4, rules, None)
    named = with_class_names(generated, NAMES).origin
    assert named == ["label = dogs and z7 ≤ 0.4", "label ≠ cats and label ≠ 12", "any picture"]


@pytest.mark.slow
def test_classes_are_those_of_the_training_whatever_folders_there_are_by_now(kerasgen, tmp_path):
    for split in ("train", "test"):
        for i, (name, gray) in enumerate((("cats", 40), ("dogs", 220))):
            (tmp_path / "pictures" / split / name).mkdir(parents=True)
            for j in range(12):
                picture = np.full((8, 8, 3), gray + j, np.uint8)
                Image.fromarray(picture).save(tmp_path / "pictures" / split / name / f"{i}{j}.png")
    tiny = {
        "latent_dim": 2,
        "filters": [4],
        "hidden_units": 8,
        "image_size": 8,
        "num_classes": 2,
        "data.batch_size": 8,
    }
    train("vae_64", tmp_path / "run", f"folder:{tmp_path / 'pictures'}", epochs=1, settings=tiny)

    def told(label: str) -> set[int]:
        """The classes of the pictures that are made of a label."""
        code, _, err = kerasgen(
            "generate", tmp_path / "run", "--output", tmp_path / label, "--n", 2, "--label", label
        )
        assert code == 0, err
        return {sample["label"] for sample in json.loads((tmp_path / label / "samples.json").read_text())}

    assert (told("cats"), told("dogs")) == ({0}, {1})
    for split in ("train", "test"):
        (tmp_path / "pictures" / split / "birds").mkdir()
        Image.fromarray(np.full((8, 8, 3), 128, np.uint8)).save(tmp_path / "pictures" / split / "birds" / "b.png")
    assert (told("cats"), told("dogs")) == ({0}, {1})
    code, _, err = kerasgen("evaluate", tmp_path / "run")
    assert code == 2
    assert "has the classes birds, cats, dogs, but the model learned cats, dogs: give --data" in err
    (tmp_path / "pictures").rename(tmp_path / "elsewhere")
    assert (told("0"), told("1")) == ({0}, {1})


def test_where_all_names_are_numbers_no_other_number_is_a_class():
    assert class_of("2", ("1", "2", "3")) == 1
    with pytest.raises(UserError, match="No class is called '0': give one of 1, 2, 3"):
        class_of("0", ("1", "2", "3"))


def test_of_a_large_folder_all_classes_are_looked_at(tmp_path, monkeypatch):
    """Its files lie class by class."""
    for i, name in enumerate(("cats", "dogs")):
        for split in ("train", "test"):
            (tmp_path / split / name).mkdir(parents=True)
            for j in range(300):
                Image.fromarray(np.full((4, 4), 100 * i, np.uint8)).save(tmp_path / split / name / f"{j}.png")
    model = VAE((4, 4, 1), 2, filters=(4,), hidden_units=4, num_classes=2)
    monkeypatch.setattr("kerasgen.commands.generate._LARGEST", 256)
    labels = encode_source(model, f"folder:{tmp_path}").labels
    assert len(labels) == 256
    assert 80 < labels.sum() < 176
    monkeypatch.setattr("kerasgen.commands.evaluate._LARGEST", 250)
    _, labels = _examples(model, f"folder:{tmp_path}", "test", {})
    assert len(labels) == 250
    assert 80 < labels.sum() < 170
