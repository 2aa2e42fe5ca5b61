"""The examples, run as a user runs them."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_image

from kerasgen.models import VQVAE, CodePrior

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.slow
def test_train_vae(warm, tmp_path):
    warm.run(EXAMPLES / "train_vae.py", tmp_path, 1, cwd=tmp_path).check_returncode()
    names = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")}
    assert {"sevens.png", "vae.keras", "decoder.tflite", "pictures/epoch_0001.png"} <= names


@pytest.mark.slow
def test_multi_worker(tmp_path):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, EXAMPLES / "multi_worker.py", tmp_path / "run", "1"]
    subprocess.run(command, check=True, capture_output=True, env=environment)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["workers"], config["replicas"]) == (2, 2)
    names = {p.relative_to(tmp_path / "run").as_posix() for p in (tmp_path / "run").rglob("*")}
    assert {"model.keras", "log.csv", "checkpoints/step_00000023.npz", "pictures/epoch_0001.png"} <= names


@pytest.mark.slow
def test_train_cyclegan(warm, tmp_path):
    for name, photo in (("a", "china.jpg"), ("b", "flower.jpg")):
        (tmp_path / name).mkdir()
        picture = Image.fromarray(load_sample_image(photo)).resize((160, 106))
        for i in range(4):
            picture.crop((20 * i, 5 * i, 20 * i + 62, 5 * i + 50)).save(tmp_path / name / f"{i}.png")
    warm.run(EXAMPLES / "train_cyclegan.py", "a", "b", "out", 1, 32, cwd=tmp_path).check_returncode()
    names = {p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*")}
    assert {"cyclegan.keras", "pictures/epoch_0001.png", "a2b/0.png", "b2a/3.png"} <= names
    with Image.open(tmp_path / "out" / "a2b" / "0.png") as image:
        assert image.size == (62, 50)


@pytest.mark.slow
def test_export_to_phone(warm, ink_run, tmp_path):
    result = warm.run(EXAMPLES / "export_to_phone.py", ink_run, "out", cwd=tmp_path)
    result.check_returncode()
    names = {p.name for p in (tmp_path / "out").iterdir()}
    files = {"generator_a2b.tflite", "generator_a2b.dynamic_int8.tflite"}
    assert names == files | {f"{name}.manifest.json" for name in files}
    assert result.stdout.count(" 1 XNNPACK partition(s)") == 2
    # The page for app developers names the files that are really there.
    page = (EXAMPLES / "phone" / "README.md").read_text()
    assert all(name in page for name in files)


@pytest.mark.slow
def test_serve(warm, ink_run, tmp_path):
    """Both scripts, and the page's commands in between, with the server as a process of its own."""
    from kerasgen.serve import Server

    result = warm.run(EXAMPLES / "serve" / "publish.py", ink_run, "models", cwd=tmp_path)
    result.check_returncode()
    *_, first, second = result.stdout.splitlines()
    assert first == "generator_a2b 1 ('stable',) default"
    assert second.strip() == "generator_a2b 2 not loaded"
    (tmp_path / "photos").mkdir()
    Image.fromarray(load_sample_image("china.jpg")).resize((33, 18)).save(tmp_path / "photos" / "china.jpg")
    with Server(tmp_path / "models", 0, 0) as server:
        for url in (f"grpc://127.0.0.1:{server.grpc_port}", f"http://127.0.0.1:{server.rest_port}"):
            ask = [sys.executable, EXAMPLES / "serve" / "ask.py", url, "generator_a2b", "photos", url[:4]]
            subprocess.run(ask, check=True, capture_output=True, cwd=tmp_path)
            with Image.open(tmp_path / url[:4] / "china.png") as image:
                assert image.size == (33, 18)


@pytest.mark.slow
def test_generate_codes(kerasgen, tmp_path):
    keras.utils.set_random_seed(0)
    vqvae = VQVAE(1, codes=5, code_dim=3, architecture_options={"filters": (8,), "patch": 2})
    random = np.random.default_rng(1)
    vqvae.quantizer.codebook.assign(random.normal(0, 0.7, (5, 3)))
    prior = CodePrior(vqvae, (4, 6, 1), filters=4, blocks=1, kernel=3, num_classes=2)
    prior.network.set_weights([w + random.normal(0, 0.3, w.shape) for w in prior.network.get_weights()])
    prior.save(tmp_path / "prior.keras")
    code, _, errors = kerasgen("export", tmp_path / "prior.keras", "--output", tmp_path / "codes", "--format", "onnx")
    assert code == 0, errors
    command = [sys.executable, EXAMPLES / "generate_codes.py", "codes", "pictures", "2x3", "5", "1"]
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)
    expected = prior.generate(5, labels=1, seed=0)[..., 0] * 255
    assert len(np.unique(expected.reshape(5, -1), axis=0)) > 1
    for i, picture in enumerate(expected):
        with Image.open(tmp_path / "pictures" / f"{i:04d}.png") as image:
            np.testing.assert_allclose(np.asarray(image, float), picture, atol=0.51)
