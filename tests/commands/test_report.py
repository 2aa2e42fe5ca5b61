"""The report of a training: what it says, that it changes nothing, and how it looks in a browser."""

import csv
import html
import json
import re
import shlex

import keras
import numpy as np
import pytest
from PIL import Image

from kerasgen.commands.report import Report
from kerasgen.commands.train import train
from kerasgen.commands.training_data import TrainingData
from kerasgen.data import load
from kerasgen.errors import UserError
from kerasgen.models import VAE
from kerasgen.runs import RunFolder
from kerasgen.training.callbacks import StopOnNaN
from tests.browser import browser

TINY = {"latent_dim": 2, "filters": [4], "hidden_units": 8, "image_size": 8, "data.batch_size": 250}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunFolder:
    """A training of two epochs that was then made one longer; its folder's name is no HTML."""
    folder = tmp_path_factory.mktemp("runs") / "<b>digits & co"
    train("vae_digits", folder, epochs=2, settings=TINY)
    train("vae_digits", folder, epochs=3, settings=TINY, resume=True, schedule="extend")
    return RunFolder(folder)


def test_the_report_tells_of_the_whole_run(run):
    page, health = run.report_file.read_text(), run.health()
    assert health["epochs"] == 3
    assert f"<strong>{health['summary']}</strong>" in page
    assert all(f"<li>{html.escape(reason['text'])}</li>" in page for reason in health["reasons"])
    assert "<b>digits" not in page
    assert "&lt;b&gt;digits &amp; co" in page
    assert re.findall(r"<figcaption>Epoch (\d+)</figcaption>", page) == ["0", "1", "2", "3"]
    assert "Worst of 250" in page
    names = {name.removeprefix("val_").replace("_", " ") for row in run.log() for name in row}
    assert set(re.findall(r"<figcaption><b>([^<]*)</b>", page)) == names
    assert "http" not in page.replace("http-equiv", "")


def test_the_worst_and_the_best_are_measured(run):
    model = run.model()
    batch = next(iter(load("digits", "test", image_size=8, channels=1, batch_size=250, shuffle=True)))
    images, labels = np.asarray(batch["image"]), np.asarray(batch["label"])
    errors = np.sort(np.abs(model.reconstruct(images, labels) - images).mean((1, 2, 3)))
    page = run.report_file.read_text()
    said = re.findall(r"<figcaption>(?:Worst|Best) of 250; [^:]*: ([\d., ]+)", page)
    listed = [[float(number) for number in line.split(", ")] for line in said]
    np.testing.assert_allclose(listed, [errors[::-1][:4], errors[:4]], atol=6e-4)


@pytest.mark.slow
def test_the_command_repeats_the_run_to_the_bit(run, kerasgen):
    page = run.report_file.read_text()
    commands = html.unescape(re.search(r"<pre>(.*?)</pre>", page, re.DOTALL)[1]).splitlines()
    assert len(commands) == 2
    for command in commands:
        code, _, err = kerasgen(*shlex.split(command)[1:])
        assert code == 0, err
    again = RunFolder(shlex.split(commands[0])[shlex.split(commands[0]).index("--output") + 1])
    assert again.log_file.read_bytes() == run.log_file.read_bytes()


def test_a_training_with_a_report_equals_one_without(small_vae, digits, tmp_path):
    def weights(*callbacks: keras.callbacks.Callback) -> list[np.ndarray]:
        keras.utils.set_random_seed(0)
        vae = small_vae()
        vae.compile(optimizer="adam")
        vae.fit(digits, validation_data=(digits["image"], digits["label"]), epochs=2, batch_size=128, verbose=0,
                callbacks=list(callbacks))  # fmt: skip
        return [np.array(v) for group in vae.training_variables.values() for v in group]

    report = Report(tmp_path, [digits])
    for a, b in zip(weights(), weights(report), strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(report.rows) == RunFolder(tmp_path).health()["epochs"] == 2


def test_a_training_that_nan_ends_has_a_report(small_vae, digits, tmp_path):
    vae, images = small_vae(), digits["image"].copy()
    vae.compile(optimizer="adam")
    images[200] = np.nan
    report = Report(tmp_path, [digits])
    with pytest.raises(UserError, match="nan"), report.following():
        vae.fit({**digits, "image": images}, batch_size=64, callbacks=[StopOnNaN(), report], verbose=0)
    health = RunFolder(tmp_path).health()
    assert health["state"] == "sick"
    assert "is nan in epoch 1" in health["reasons"][0]["text"]
    assert "No epoch is finished yet" in (tmp_path / "report.html").read_text()


def test_the_log_is_read_as_it_was_written(run):
    with run.log_file.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{"epoch": str(i), **{n: str(v) for n, v in row.items()}} for i, row in enumerate(run.log())] == rows


def test_a_damaged_verdict_gets_a_sentence(tmp_path):
    (tmp_path / "health.json").write_text(json.dumps({"state": 1}))
    with pytest.raises(UserError, match="the verdict on a run"):
        RunFolder(tmp_path).health()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_in_a_browser(run, width):
    address = run.report_file.as_uri()
    with browser() as shown:
        shown.open(address, width)
        assert shown.run("return document.documentElement.scrollWidth") <= width
        caption = "return [...document.querySelectorAll('section figure')].find(f => !f.hidden).innerText"
        assert shown.run(caption) == "Epoch 3"
        for place, epoch in ((0, "Epoch 0"), (2, "Epoch 2")):
            shown.run(
                f"const range = document.querySelector('input'); range.value = {place};"
                "range.dispatchEvent(new Event('input'))"
            )
            assert shown.run(caption) == epoch
        assert shown.run("return [...document.images].every(i => i.hidden || i.complete && i.naturalWidth > 0)")
        assert shown.complaints() == []
        assert shown.requests() == [address]


@pytest.mark.slow
def test_a_report_looks_at_all_classes_of_a_folder(tmp_path):
    """Its files lie class by class: the first 64 would be of one, whose pictures hardly differ."""
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for name, spread in (("blank", 2), ("noise", 120)):
            (tmp_path / "d" / split / name).mkdir(parents=True)
            for i in range(70):
                pixels = np.clip(128 + random.normal(0, spread, (8, 8, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / "d" / split / name / f"{i}.png")
    settings = {**TINY, "data.batch_size": 16}
    train("vae_64", tmp_path / "run", f"folder:{tmp_path / 'd'}", epochs=1, settings=settings)
    data = TrainingData(VAE.loaders[0], RunFolder(tmp_path / "run").config()["data"], 0, 1)
    labels = np.concatenate([batch["label"] for batch in data.mixed().take(4)])
    assert 16 < labels.sum() < 48
