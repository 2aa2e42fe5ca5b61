"""`kerasgen distill`: a run like any other, from a preset and from a run, its data, its settings, its mistakes."""

import json
import shlex

import numpy as np
import pytest
from PIL import Image

from kerasgen.commands.distill import distill
from kerasgen.commands.report import repeating
from kerasgen.commands.ship import shipments
from kerasgen.models import CycleGAN
from kerasgen.runs import RunFolder, load_model

QUICK = ("--epochs", 1, "--set", "filters=4", "--set", "data.batch_size=125")


@pytest.fixture(scope="module")
def student(tmp_path_factory):
    """An epoch of a student of `cyclegan_digits_ink`."""
    settings = {"filters": 4, "data.batch_size": 125}
    return distill("cyclegan_digits_ink", tmp_path_factory.mktemp("runs") / "ink", epochs=1, settings=settings).folder


def test_a_students_run_is_like_any_other(student, kerasgen, tmp_path):
    config, teacher = RunFolder(student).config(), CycleGAN.from_preset("cyclegan_digits_ink")
    assert (config["preset"], config["model"]) == ("cyclegan_digits_ink", "Distiller")
    assert config["data"]["source"] == "digits"
    model = load_model(student)
    assert model.generator_options["filters"] == 4
    assert model.generator_options["separable"]
    for one, other in zip(model.teacher.get_weights(), teacher.generator_a2b.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert {"config.json", "log.csv", "report.html", "model.keras", "students.png"} <= {
        path.name for path in student.iterdir()
    }
    code, _, errors = kerasgen("evaluate", student)
    assert code == 0, errors
    score = json.loads((student / "evaluation.json").read_text())["score"]
    assert score["psnr"] > 0
    assert 0 < score["l1"] < 1
    (tmp_path / "in").mkdir()
    Image.fromarray(np.full((16, 24, 3), 40, np.uint8)).save(tmp_path / "in" / "one.png")
    code, _, errors = kerasgen("translate", student, "--input", tmp_path / "in", "--output", tmp_path / "out")
    assert code == 0, errors
    with Image.open(tmp_path / "out" / "one.png") as image:
        assert image.size == (24, 16)


def test_it_is_exported_as_its_teacher_is_but_small(student):
    (ours,), theirs = shipments(student), shipments("cyclegan_digits_ink")[0]
    assert (ours.name, ours.image) == (theirs.name, theirs.image)
    assert ours.network.count_params() < 0.2 * theirs.network.count_params()


def test_a_preset_that_names_its_teacher_is_trained_again_as_any_other(student):
    run, config = RunFolder(student), RunFolder(student).config()
    named = {
        **config,
        "preset": "sketch_to_emoji_mobile",
        "config": {**config["config"], "teacher": "sketch_to_emoji"},
    }
    (command,) = repeating(run, named)
    assert shlex.split(command)[:4] == ["kerasgen", "train", "sketch_to_emoji_mobile", "--config"]


@pytest.mark.slow
def test_it_goes_on_to_the_bit_and_its_command_repeats_it(student, kerasgen, tmp_path):
    folder = tmp_path / "run"
    code, _, errors = kerasgen("distill", "cyclegan_digits_ink", "--output", folder, *QUICK)
    assert code == 0, errors
    more = ("--resume", "--epochs", 2, "--schedule", "extend", *QUICK[2:])
    code, _, errors = kerasgen("distill", "cyclegan_digits_ink", "--output", folder, *more)
    assert code == 0, errors
    assert len(RunFolder(folder).log()) == 2
    (command,) = repeating(RunFolder(student), RunFolder(student).config())
    words = shlex.split(command)
    assert words[:3] == ["kerasgen", "distill", "cyclegan_digits_ink"]
    code, _, errors = kerasgen(*words[1:])
    assert code == 0, errors
    again = load_model(words[words.index("--output") + 1]).get_weights()
    for one, other in zip(load_model(student).get_weights(), again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_mistakes_are_one_sentence(kerasgen, tmp_path):
    for words, said in (
        (("vae_digits",), "holds a VAE, which no student can learn from"),
        (("cyclegan_digits_ink", "--direction", "c"), "knows no direction 'c': choose one of a2b, b2a"),
        (("cyclegan_digits_ink", "--set", "filter=4"), "There is no setting 'filter'"),
        (("cyclegan_digits_ink", "--set", "teacher=denoising"), "The teacher is 'cyclegan_digits_ink' already"),
        (("cyclegan_digits_ink", "--set", "generator_type=vae"), "generator_type is 'vae': choose one of"),
    ):
        code, _, errors = kerasgen("distill", *words, "--output", tmp_path / "run")
        assert code == 2
        assert said in errors
        assert "Traceback" not in errors
