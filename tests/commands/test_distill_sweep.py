"""`kerasgen distill --sweep`: two students, their files' numbers against other hands, the front, mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from kerasgen.commands.distill import distill
from kerasgen.commands.distill_sweep import Point, marked
from kerasgen.data import load_inputs
from kerasgen.export import read_manifest
from kerasgen.models import CycleGAN
from kerasgen.runs import RunFolder, load_model

QUICK = ("--epochs", 1, "--set", "data.batch_size=125", "--set", "blocks=1")


def test_a_point_is_on_the_front_unless_another_is_better():
    numbers = [(30, 5, 50), (31, 5, 50), (31, 5, 50), (20, 4, 60), (20, 6, 40), (20, 6, 41), (40, 9, 99)]
    points = marked([Point(i, "float32", *three, macs=1, run="", file="") for i, three in enumerate(numbers)])
    assert [point.on_front for point in points] == [False, True, True, True, True, False, True]


@pytest.mark.slow
def test_a_sweep_goes_on_and_measures(kerasgen, tmp_path):
    folder = tmp_path / "sweep"
    # What is left of a sweep that was interrupted after its first student.
    settings = {"filters": 2, "blocks": 1, "data.batch_size": 125}
    first = distill("cyclegan_digits_ink", folder / "filters_2", epochs=1, settings=settings).folder / "model.keras"
    before = load_model(first).get_weights()
    words = ("distill", "cyclegan_digits_ink", "--output", folder, "--sweep", "filters=2,4", *QUICK)
    code, _, errors = kerasgen(*words)
    assert code == 2
    assert "--resume" in errors
    code, said, errors = kerasgen(*words, "--resume")
    assert code == 0, errors
    for one, other in zip(before, load_model(first).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    found = json.loads((folder / "sweep.json").read_text())
    assert (found["setting"], found["against"], found["refused"]) == ("filters", "the teacher's answers", [])
    points = found["points"]
    assert {(p["value"], p["variant"]) for p in points} == {
        (n, v) for n in (2, 4) for v in ("float32", "dynamic_int8")
    }
    assert f"{found['pictures']} held-out pictures, against the teacher's answers" in " ".join(said.split())
    taught = CycleGAN.from_preset("cyclegan_digits_ink")
    for point in points:
        run = RunFolder(point["run"])
        model, file = run.model(), Path(point["file"])
        assert read_manifest(file)["variant"] == point["variant"]
        assert point["bytes"] == file.stat().st_size
        assert point["macs"] == model.costs()["generator_a2b"].macs
        assert point["milliseconds"] > 0
        if point["variant"] == "float32":  # its gate has proven it equal to Keras
            assert point["psnr"] == pytest.approx(decibels(model, taught, run.data(), found["pictures"]), abs=0.01)


def decibels(model, taught, arguments, pictures: int) -> float:
    """The mean PSNR of a student's answers to its teacher's, by scikit-image."""
    images = np.concatenate([batch["a"] for batch in load_inputs(split="test", **arguments)])[:pictures]
    pairs = zip(model.translate(images), taught.translate(images), strict=True)
    return float(np.mean([peak_signal_noise_ratio(t, s, data_range=2) for s, t in pairs]))


def test_mistakes_are_one_sentence(kerasgen, tmp_path):
    for options, said in (
        (("--sweep", "filters=4"), "filters is swept over [4]: give two values or more, each once"),
        (("--sweep", "filters=4,4"), "filters is swept over [4, 4]: give two values or more, each once"),
        (("--sweep", "filters"), "--sweep is 'filters': write it as NAME=VALUE,VALUE"),
        (("--sweep", "filters=4,8", "--set", "filters=2"), "filters is both set and swept"),
    ):
        code, _, errors = kerasgen("distill", "cyclegan_digits_ink", *options, "--output", tmp_path / "sweep")
        assert code == 2
        assert said in errors
