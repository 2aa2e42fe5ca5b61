"""What people have, through training, evaluation, translation and export: pairs, 16 bits, seven channels."""

import json
import re

import numpy as np
import pytest
import tifffile
from PIL import Image

from kerasgen.commands.arguments import sources_of
from kerasgen.commands.train import train
from kerasgen.commands.translate import ranges_of, translate_folder
from kerasgen.data import load_pairs
from kerasgen.data.deep import write_deep
from kerasgen.errors import UserError
from kerasgen.runs import RunFolder, load_model

TINY = {"generator_options": {"channels": 1, "filters": 4, "blocks": 1}, "data.image_size": 32, "data.batch_size": 4}


@pytest.fixture(scope="module")
def drawings(tmp_path_factory):
    """200 drawings of OpenMoji to train on and 24 others to test on: lines, colors, and both side by side."""
    from kerasgen.data.sources import openmoji

    root, seen = tmp_path_factory.mktemp("drawings"), {}
    for code in openmoji._hexcodes("train"):
        seen.setdefault(openmoji.drawing_of(code), code)
    for i, code in enumerate(sorted(seen.values())[::5][:224]):
        split = "train" if i < 200 else "val"
        lines = openmoji.render(code, "lines", 64).repeat(3, axis=-1)
        color = openmoji.render(code, "color", 64)
        for name, picture in (("lines", lines), ("color", color), ("both", np.concatenate([lines, color], axis=1))):
            (root / name / split).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / name / split / f"{code}.png")
    return root


def decibels(answers: np.ndarray, truth: np.ndarray) -> float:
    """PSNR of all pictures together, in [-1, 1]."""
    return -10 * np.log10(np.mean(((answers - truth) / 2) ** 2))


def trained(given, folder, epochs: int):
    """A model that learned from pairs, and all of them as its run says where they lie: to train on, to test on."""
    settings = {
        "generator_options": {"downsamplings": 5, "filters": 16, "norm": "instance"},
        "lambda_adversarial": 0.0,
        "data.image_size": 64,
        "data.batch_size": 8,
        "recipe.learning_rate": 2e-3,
    }
    run = train("pix2pix_256", folder, given, epochs=epochs, settings=settings)
    sources = RunFolder(folder).data()
    both = [
        load_pairs(sources["source_a"], sources["source_b"], split, image_size=64, batch_size=8)
        for split in ("train", "test")
    ]
    return run.model, *({name: np.concatenate([batch[name] for batch in data]) for name in "ab"} for data in both)


@pytest.mark.slow
def test_pairs_train_and_beat_what_knows_nothing(drawings, tmp_path):
    folders = (f"folder:{drawings / 'lines'}", f"folder:{drawings / 'color'}")
    model, training, test = trained(folders, tmp_path / "run", epochs=16)
    answer = decibels(model.translate(test["a"]), test["b"])
    assert len(test["a"]) == 24
    assert answer > decibels(test["a"], test["b"]) + 1.0
    assert answer > decibels(training["b"].mean((0, 1, 2)), test["b"]) + 1.0
    assert answer > decibels(training["b"].mean(0), test["b"]) + 1.0

    # Side by side they are the same pairs, and what the same pairs teach is known by now.
    _, *beside = trained(f"side_by_side:{drawings / 'both'}", tmp_path / "beside", epochs=1)
    for pairs, others in zip((training, test), beside, strict=True):
        for name in "ab":
            np.testing.assert_array_equal(others[name], pairs[name])


def deep_folder(folder, suffix: str, count: int = 20) -> None:
    """16-bit pictures of smooth hills, whose lower bits matter."""
    rows, columns = np.mgrid[:40, :48] / 48
    for i in range(count):
        picture = 0.5 + 0.49 * np.sin(3 * rows + i) * np.cos(5 * columns - i)
        write_deep(folder / f"{i}{suffix}", picture[..., None], np.dtype(np.uint16))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bits_come_through_a_trained_identity(tmp_path, suffix):
    for side in "ab":
        deep_folder(tmp_path / side, suffix)
    run = train(
        "denoising",
        tmp_path / "run",
        (f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}"),
        epochs=1,
        settings={**TINY, "data.channels": 1},
    )
    result = translate_folder(run.model, tmp_path / "a", tmp_path / "out")
    assert len(result.written) == 20
    for path in result.written:
        before, after = (read(where / path.name) for where in (tmp_path / "a", tmp_path / "out"))
        assert after.dtype == np.uint16
        assert np.abs(after.astype(int) - before).max() < 65535 / 2**12
        assert len(np.unique(after)) > 256


def read(path) -> np.ndarray:
    if path.suffix == ".tif":
        return tifffile.imread(path)
    with Image.open(path) as image:
        assert image.mode == "I;16"
        return np.asarray(image)


@pytest.mark.slow
def test_seven_channels_train_evaluate_translate_and_export(tmp_path, kerasgen):
    random = np.random.default_rng(0)
    for i in range(20):
        bands = (100 * random.normal(size=(40, 40, 7))).astype("float32")
        for side, factor in (("a", 1.0), ("b", 0.5)):
            (tmp_path / side).mkdir(exist_ok=True)
            np.save(tmp_path / side / f"{i}.npy", factor * bands)
    options = ["--data-a", f"folder:{tmp_path / 'a'}", "--data-b", f"folder:{tmp_path / 'b'}", "--epochs", 1]
    for name, value in {**TINY, "generator_options": {"channels": 7, "filters": 4, "blocks": 1}}.items():
        options += ["--set", f"{name}={json.dumps(value)}"]
    run = tmp_path / "run"
    for command in (
        ("train", "denoising", "--output", run, *options),
        ("evaluate", run),
        ("translate", run, "--input", tmp_path / "a", "--output", tmp_path / "out"),
        ("export", run, "--output", tmp_path / "artifacts", "--format", "tflite", "--images", tmp_path / "a"),
    ):
        code, _, errors = kerasgen(*command)
        assert code == 0, errors
    # The range was measured once, on the training split, and is the run's.
    assert re.search(r"\?range=-?[\d.e-]+\.\.[\d.e]+$", RunFolder(run).data()["source_a"])
    (low, high), (low_b, high_b) = ranges_of(run)
    source = np.load(tmp_path / "a" / "3.npy").clip(low, high)
    expected = load_model(run).translate((source - low) / (high - low) * 2 - 1) / 2 + 0.5
    found = np.load(tmp_path / "out" / "3.npy")
    assert (found.dtype, found.shape) == (np.float32, (40, 40, 7))
    np.testing.assert_allclose(found, expected * (high_b - low_b) + low_b, atol=1e-3)
    (manifest,) = (tmp_path / "artifacts").glob("*.json")
    (taken,) = json.loads(manifest.read_text())["signatures"]["serving_default"]["inputs"].values()
    assert (taken["dtype"], taken["shape"][-1]) == ("float32", 7)


def test_one_plain_folder_is_not_another_task(tmp_path, kerasgen):
    Image.new("RGB", (32, 32)).save(tmp_path / "a.png")
    code, _, errors = kerasgen("train", "pix2pix_256", "--data", f"folder:{tmp_path}", "--output", tmp_path / "run")
    assert code == 2
    assert "give --data-a folder:PATH --data-b folder:PATH, or --data side_by_side:PATH" in errors
    assert not (tmp_path / "run").exists()


def test_the_command_line_names_two_sides():
    assert sources_of("side_by_side:pairs", None, None, swap=True) == ("right:pairs", "left:pairs")
    assert sources_of("side_by_side:pairs", None, None) == "side_by_side:pairs"
    assert sources_of(None, "folder:a", "folder:b", swap=True) == ("folder:b", "folder:a")
    with pytest.raises(UserError, match="holds no pairs"):
        sources_of("folder:a", None, None, swap=True)
    with pytest.raises(UserError, match="--swap changes the places of A and B"):
        sources_of(None, None, None, swap=True)
