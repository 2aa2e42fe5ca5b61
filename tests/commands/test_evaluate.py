"""`kerasgen evaluate`, and `generate` by sampler, on small trained models."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from kerasgen import metrics
from kerasgen.models import PairedTranslator

GOLDEN = Path(__file__).parents[1] / "golden" / "009280b"


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    """A short training of vae_digits."""
    from kerasgen.commands.train import train

    return train("vae_digits", tmp_path_factory.mktemp("runs") / "digits", epochs=3, seed=1).folder


@pytest.fixture(scope="module")
def unconditional(tmp_path_factory):
    from kerasgen.data import load
    from kerasgen.models import VAE
    from kerasgen.runs import save_model

    folder = tmp_path_factory.mktemp("unconditional")
    vae = VAE.from_preset("vae_digits", load_weights=False, num_classes=None, beta=0.4, kl_warmup_steps=0)
    vae.compile(optimizer="adam")
    vae.fit(load("digits", "train", batch_size=64), epochs=8, verbose=0, shuffle=False)
    save_model(vae, folder / "model.keras")
    return folder


@pytest.mark.slow
def test_evaluation_of_a_conditional_vae(kerasgen, conditional):
    code, out, err = kerasgen("evaluate", conditional, "--k", 5, "--sampler", "prior,class_gaussian")
    assert code == 0, err
    assert "digits_classifier" in out
    report = json.loads((conditional / "evaluation.json").read_text())
    likelihood = report["likelihood"]["test"]
    with open(conditional / "log.csv", newline="") as file:
        logged = float(list(csv.DictReader(file))[-1]["val_elbo"])
    assert likelihood["elbo"] == pytest.approx(logged, abs=1.0)
    assert likelihood["iwae_5"] > likelihood["elbo"]
    assert likelihood["reconstruction"] - likelihood["kl"] == pytest.approx(likelihood["elbo"])
    assert likelihood["bits_per_dim"] is None  # gray levels
    real, prior = report["pictures"]["real"], report["pictures"]["prior"]
    assert real["conditional_accuracy"] > 0.95
    from kerasgen.data import load
    from kerasgen.metrics.features import extractor_for
    from kerasgen.runs import load_model

    labels = np.concatenate([b["label"] for b in load("digits", "test")])
    answers = extractor_for("digits").classes(load_model(conditional).generate(297, labels=labels, seed=0))
    assert prior["conditional_accuracy"] == pytest.approx(np.mean(answers == labels))
    assert real["frechet"] < prior["frechet"]
    assert {"n", "kernel", "precision", "recall", "density", "coverage", "nearest_training"} <= prior.keys()
    assert prior["n"] == 297


@pytest.mark.slow
def test_evaluation_equals_the_metrics(unconditional):
    from kerasgen.commands.evaluate import evaluate
    from kerasgen.data import load
    from kerasgen.metrics.features import extractor_for
    from kerasgen.runs import load_model

    report = evaluate(unconditional, "digits", k=2)
    vae = load_model(unconditional)
    test = np.concatenate([b["image"] for b in load("digits", "test")])
    features = extractor_for("digits").features
    expected = metrics.frechet_distance(features(test), features(vae.generate(297, seed=0)))
    assert report["pictures"]["prior"]["frechet"] == pytest.approx(expected, rel=1e-4)
    assert report["pictures"]["prior"]["conditional_accuracy"] is None


def test_generate_by_the_tree_says_each_rule(kerasgen, unconditional, tmp_path):
    options = ("--sampler", "decision_tree", "--data", "digits", "--label", 3, "--n", 5)
    code, out, err = kerasgen("generate", unconditional, "--output", tmp_path / "a", *options)
    assert code == 0, err
    rows = json.loads((tmp_path / "a" / "samples.json").read_text())
    assert len(rows) == 5
    assert len(rows[0]["z"]) == 12
    assert np.isfinite(rows[0]["log_density"])
    for row in rows:
        assert f"{row['file']}: {row['rule']}" in out
        assert "label ≠ 3" not in row["rule"]
        assert "label = " not in row["rule"].replace("label = 3", "")
    names = {p.name for p in (tmp_path / "a").iterdir()}
    assert {"grid.png", "tree.png", "0004.png"} <= names
    code, *_ = kerasgen("generate", unconditional, "--output", tmp_path / "b", *options)
    assert json.loads((tmp_path / "b" / "samples.json").read_text()) == rows


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["prior", "posterior", "class_gaussian", "gaussian_mixture"])
def test_generate_by_every_sampler(kerasgen, conditional, tmp_path, sampler):
    options = ("--sampler", sampler, "--where", "label=4", "--n", 3, "--temperature", 0.5)
    code, _, err = kerasgen("generate", conditional, "--output", tmp_path, *options)
    assert code == 0, err
    rows = json.loads((tmp_path / "samples.json").read_text())
    assert [row["label"] for row in rows] == [4, 4, 4]


@pytest.mark.slow
def test_generate_around_a_picture_of_ones_own(kerasgen, conditional, tmp_path):
    from kerasgen.data import load
    from kerasgen.drawing import save_png, to_uint8
    from kerasgen.runs import load_model

    batch = next(iter(load("digits", "test", shuffle=False)))
    image, label = batch["image"][:1].numpy(), int(batch["label"][0])
    save_png(tmp_path / "mine" / "a.png", to_uint8(image)[0])
    options = ("--sampler", "posterior", "--data", f"folder:{tmp_path / 'mine'}", "--n", 200)
    code, _, err = kerasgen("generate", conditional, "--output", tmp_path / "near", *options, "--label", label)
    assert code == 0, err
    z = np.array([row["z"] for row in json.loads((tmp_path / "near" / "samples.json").read_text())])
    posterior = load_model(conditional).encode(image, [label])
    deviation = np.exp(posterior.log_var[0] / 2)
    np.testing.assert_allclose(z.mean(axis=0), posterior.mean[0], atol=5 * deviation.max() / 200**0.5)
    np.testing.assert_allclose(z.std(axis=0), deviation, rtol=0.25)
    code, _, err = kerasgen("generate", conditional, "--output", tmp_path / "near", *options)
    assert code == 2
    assert "has no labels" in err


def test_a_vae_that_is_conditional_on_attributes(small_vae, digits):
    """The decoder is told the evidence; what it leaves out is as in a training picture that agrees."""
    import keras

    from kerasgen.commands.generate import Encoded, generate_pictures
    from kerasgen.samplers import PriorSampler

    label = digits["label"]
    names = {"odd": label % 2, "large": (label >= 5).astype(int)}
    vectors = np.stack(list(names.values()), axis=1)
    vae = small_vae(num_classes=None, num_attributes=2, beta=0.3)
    vae.compile(optimizer=keras.optimizers.Adam(5e-3))
    vae.fit({"image": digits["image"], "label": vectors}, batch_size=64, epochs=20, verbose=0)
    encoded = Encoded(*vae.encode(digits["image"], vectors), None, names)
    made = generate_pictures(vae, PriorSampler(4), 300, 0, {"large": 1}, encoded=encoded)
    assert (made.labels[:, 1] == 1).all()
    assert made.labels[:, 0].mean() == pytest.approx((label % 2)[label >= 5].mean(), abs=0.1)
    from sklearn.svm import SVC

    classifier = SVC().fit(digits["image"].reshape(512, -1), names["large"])
    assert classifier.predict(made.images.reshape(300, -1)).mean() > 0.75


@pytest.mark.slow
def test_evaluation_of_a_translation(ink_run):
    """Each direction beside the untouched input, by the truth and by the distance to the target."""
    from kerasgen.commands.evaluate import evaluate

    report = evaluate(ink_run)
    rows = report["translation"]
    assert rows["a2b, untouched"]["psnr"] == pytest.approx(2.7, abs=0.3)
    assert rows["a2b"]["psnr"] > rows["a2b, untouched"]["psnr"]
    assert rows["b2a"].keys() == {"n", "psnr", "ssim", "kernel"}


def test_pairs_are_compared_by_their_looks_too(tmp_path):
    """By SSIM, as scikit-image has it, and by the distance of looks, of which a truth has none from itself."""
    from kerasgen.commands.evaluate import evaluate
    from kerasgen.data import load_paired

    data = {"source": "pictures", "image_size": 32, "batch_size": 64, "degradation": [{"kind": "low_light"}]}
    restorer = PairedTranslator("restorer", generator_options={"filters": 4, "blocks": 1})  # leaves all as it is
    restorer.save_to_preset(tmp_path / "restorer", {"data": data})
    looks = evaluate(tmp_path / "restorer")["likeness"]
    batches = load_paired(**data, split="test")
    pairs = [pair for batch in batches for pair in zip(batch["a"] + 1, batch["b"] + 1, strict=True)]
    options = {
        "data_range": 1,
        "channel_axis": -1,
        "gaussian_weights": True,
        "sigma": 1.5,
        "use_sample_covariance": False,
    }
    expected = np.mean([structural_similarity(np.asarray(a) / 2, np.asarray(b) / 2, **options) for a, b in pairs])
    for row in looks.values():
        assert row["ssim"] == pytest.approx(expected, abs=0.01)
        assert row["kernel"] > 0.1
    assert looks["answers"] == pytest.approx(looks["untouched"], rel=1e-3)


def test_a_model_that_scores_itself(kerasgen, tmp_path):
    """As the models of the tasks do: the table is what a registration finds on the test split of its data."""
    from kerasgen.data import load_registration
    from kerasgen.runs import RunFolder

    run, data = RunFolder(tmp_path), {"source": "pictures", "image_size": 32, "batch_size": 64}
    run.model_file.write_bytes((GOLDEN / "registration.keras").read_bytes())
    run.write_config({"preset": "registration", "data": data})
    code, out, errors = kerasgen("evaluate", tmp_path)
    assert code == 0, errors
    report = json.loads(run.evaluation_file.read_text())
    batches = list(load_registration(**data, split="test"))
    flows = np.concatenate([run.model().align(batch["moving"], batch["fixed"])[1] for batch in batches])
    truth = np.concatenate([batch["flow"] for batch in batches])
    assert report["score"]["pairs"] == len(truth)
    assert report["score"]["epe"] == pytest.approx(np.sqrt(((flows - truth) ** 2).sum(-1)).mean(), rel=1e-4)
    assert report["data"] == "pictures"
    assert f"{report['score']['epe']:.4g}" in out


@pytest.mark.slow
def test_mistakes_get_a_sentence(kerasgen, conditional, unconditional, tmp_path):
    for arguments, message in (
        (("evaluate", "/nowhere"), "no model at /nowhere"),
        (("evaluate", unconditional), "--data"),
        (("evaluate", conditional, "--sampler", "best"), "no sampler 'best'"),
        (("evaluate", conditional, "--features", "x.keras"), "no classifier x.keras"),
        (("evaluate", conditional, "--k", 0), "--k is 0"),
        (("generate", conditional, "--output", tmp_path, "--sampler", "tree"), "no sampler 'tree'"),
        (("generate", conditional, "--output", tmp_path, "--where", "label"), "smiling=1 & male=0"),
        (("generate", conditional, "--output", tmp_path, "--where", "hat=1"), "no attribute hat"),
        (
            ("generate", unconditional, "--output", tmp_path, "--sampler", "decision_tree", "--data", "digits",
             "--where", "hat=1"),
            "no attribute 'hat'",
        ),
        (("generate", unconditional, "--output", tmp_path, "--sampler", "decision_tree"), "--data"),
        (("generate", unconditional, "--output", tmp_path, "--label", 1), "knows no labels"),
        (("generate", conditional, "--output", tmp_path, "--label", 1, "--where", "label=2"), "both say the label"),
    ):  # fmt: skip
        code, _, err = kerasgen(*arguments)
        assert code == 2, (arguments, err)
        assert message in err, (arguments, err)
        assert "Traceback" not in err
