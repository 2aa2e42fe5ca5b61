"""`kerasgen export --serving`, `kerasgen serving`, and the page's own lines run by a shell."""

import json
import re
import shutil
import subprocess

import keras
import numpy as np
import pytest
from PIL import Image

from kerasgen.serve import Server

from .conftest import publish


def test_list_label_and_rollback(kerasgen, saved, tmp_path):
    for number in (1, 2, 3):
        publish(tmp_path, saved[number])
    code, said, _ = kerasgen("serving", "list", tmp_path)
    assert code == 0
    assert re.search(r"tiny 1 .*not loaded", said)
    assert re.search(r"tiny 3 .*stable; the default", said)
    assert kerasgen("serving", "rollback", tmp_path, "tiny")[1].startswith("tiny is served in version 2 again")
    assert kerasgen("serving", "label", tmp_path, "tiny", "canary", 3)[0] == 0
    assert re.search(r"tiny 3 .*canary; the default", kerasgen("serving", "list", tmp_path)[1])
    for wrong in (
        ("list", tmp_path / "none"),
        ("rollback", tmp_path, "other"),
        ("rollback", tmp_path, "tiny", "--version", 7),
        ("label", tmp_path, "tiny", "canary", 9),
    ):
        code, _, errors = kerasgen("serving", *wrong)
        assert code == 2
        assert errors.startswith("Error: ")
        assert "Traceback" not in errors


def test_a_wrong_folder_or_nothing_to_do_is_a_sentence(kerasgen, tmp_path):
    code, _, errors = kerasgen("serve", tmp_path / "none")
    assert (code, errors[:24]) == (2, "Error: There is no folde")
    (tmp_path / "model.keras").touch()
    code, _, errors = kerasgen("export", tmp_path / "model.keras")
    assert (code, errors[:27]) == (2, "Error: Nothing says where t")
    code, _, errors = kerasgen("export", tmp_path / "model.keras", "--output", tmp_path, "--name", "x2")
    assert (code, errors) == (2, "Error: --name is of a model that is served: give --serving too.\n")


def test_without_the_extra_there_is_one_sentence(saved, tmp_path, monkeypatch):
    import importlib.util

    from kerasgen.errors import UserError

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "uvicorn" else find(name, *a))
    with pytest.raises(UserError, match=r"The server needs uvicorn: run pip install 'kerasgen\[serving\]'\."):
        Server(tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_export_and_the_pages_own_lines(kerasgen, photos, tmp_path):
    """What README.md says for curl, run as it stands."""
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    made = keras.layers.Conv2D(3, 1, activation="tanh", name="generated")(image)
    keras.Model(image, made, name="shades").save(tmp_path / "shades.keras")
    models = tmp_path / "models"
    options = ("--serving", models, "--range=-1,1")
    code, said, errors = kerasgen("export", tmp_path / "shades.keras", *options)
    assert code == 0, errors
    assert f"{models}/shades/1 is published" in said
    z = keras.Input((3,), name="z")
    pictures = keras.layers.Reshape((4, 4, 1), name="image")(keras.layers.Dense(16, activation="sigmoid")(z))
    keras.Model(z, pictures).save(tmp_path / "dreams.keras")
    code, _, errors = kerasgen(
        "export", tmp_path / "dreams.keras", "--serving", models, "--range=0,1", "--name", "nights"
    )
    assert code == 0, errors
    Image.fromarray(photos[0]).save(models / "photo.png")
    asked = 0
    with Server(models, 0, 0) as server:
        for name in ("shades", "nights"):
            page = (models / name / "README.md").read_text().replace(":8501", f":{server.rest_port}")
            for line in re.findall(r"^.*curl -s.*$", page, re.MULTILINE):
                result = subprocess.run(["bash", "-ec", line], cwd=models, capture_output=True, text=True, check=True)
                if "answer.png" in line:
                    with Image.open(models / "answer.png") as answer:
                        assert answer.size == (32, 24)
                else:
                    assert "error" not in json.loads(result.stdout), line
                asked += 1
    assert asked == 8  # state and metadata of both, the bytes of one, three signatures of the other
    assert np.asarray(Image.open(models / "answer.png")).std() > 1
