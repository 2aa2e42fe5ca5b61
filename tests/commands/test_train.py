"""What can be set about a training, other weights to begin with, and more epochs."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kerasgen.commands.arguments import parse_settings, read_settings, sources_of
from kerasgen.commands.options import Options
from kerasgen.commands.settings import changed, settings_in, settings_of
from kerasgen.commands.train import Run, finish, stages_of, together, train
from kerasgen.commands.warm_start import start_from
from kerasgen.errors import UserError
from kerasgen.models import VAE, VQVAE, AutoencoderKL, CycleGAN, RectifiedFlow, find, presets
from kerasgen.runs import RunFolder
from kerasgen.training.schedules import Stage

GOLDEN = Path(__file__).parents[1] / "golden" / "009280b"
TINY = {"latent_dim": 2, "filters": [4], "hidden_units": 8, "image_size": 8, "data.batch_size": 250}


def preset(name: str):
    model_class, found = find(name)
    return model_class, found, model_class.loader_for(found.data) or model_class.loaders[0]


@pytest.mark.parametrize("name", presets())
def test_every_setting_of_a_preset_can_be_set_to_its_default(name):
    model_class, found, loader = preset(name)
    known = settings_of(model_class, found, loader)
    assert {"recipe.epochs", "recipe.learning_rate", "data.batch_size"} <= known.keys()
    own = {name: setting.default for name, setting in known.items() if isinstance(setting.default, setting.kinds)}
    again = changed(model_class, found, loader, own)
    assert again.config.items() >= found.config.items()
    assert again.recipe.items() >= found.recipe.items()


def test_settings_reach_model_data_and_recipe():
    texts = ["latent_dim=3", "recipe.learning_rate=1e-4", "image_size=24", "likelihood=gaussian", "num_classes=null"]
    found = changed(*preset("vae_digits"), parse_settings(texts))
    assert found.config["latent_dim"] == 3
    assert found.config["image_shape"] == (24, 24, 1)
    assert found.data["image_size"] == 24
    assert found.recipe["learning_rate"] == 1e-4
    assert found.config["likelihood"] == "gaussian"
    assert found.config["num_classes"] is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("latent_dims=3", "no setting 'latent_dims': did you mean 'latent_dim'"),
        ("recipe.learnin_rate=3", "did you mean 'recipe.learning_rate'"),
        ("zzzzz=3", "choose one of"),
        ("latent_dim=many", "latent_dim is 'many', but it takes a whole number"),
        ("latent_dim=true", "latent_dim is True, but it takes a whole number"),
        ("beta=[1]", r"beta is \[1\], but it takes a number"),
        ("latent_dim", "write it as NAME=VALUE"),
    ],
)
def test_a_wrong_setting_gets_a_sentence(text, message):
    with pytest.raises(UserError, match=message):
        changed(*preset("vae_digits"), parse_settings([text]))


def test_a_runs_config_is_a_file_of_settings(tmp_path):
    run = RunFolder(GOLDEN / "vae_run")
    found = changed(*preset("vae_digits"), settings_in(read_settings(run.config_file), "vae_digits"))
    former = run.config()
    assert found.config["latent_dim"] == former["config"]["latent_dim"] == 3
    assert found.recipe["epochs"] == 2
    with pytest.raises(UserError, match="are of the preset 'vae_digits', not of 'vae_64'"):
        settings_in(read_settings(run.config_file), "vae_64")
    (tmp_path / "own.json").write_text(json.dumps({"latent_dim": 5}))
    assert settings_in(read_settings(tmp_path / "own.json"), "vae_digits") == {"latent_dim": 5}
    (tmp_path / "own.yaml").write_text("latent_dim: 5\nrecipe:\n  learning_rate: 0.001\ndata.batch_size: 8\n")
    assert read_settings(tmp_path / "own.yaml") == {
        "latent_dim": 5,
        "recipe.learning_rate": 0.001,
        "data.batch_size": 8,
    }
    for wrong, message in (
        ("a: [1", "can't be read as a YAML file"),
        ("- 1", "doesn't hold values"),
        ("a: &x [1]\nb: *x", "parts of itself"),
        ("a: !!python/object/apply:os.system [ls]", "can't be read as a YAML file"),
    ):
        (tmp_path / "own.yaml").write_text(wrong)
        with pytest.raises(UserError, match=message):
            read_settings(tmp_path / "own.yaml")
    (tmp_path / "own.json").write_text("latent_dim = 5")
    with pytest.raises(UserError, match="can't be read as a JSON file"):
        read_settings(tmp_path / "own.json")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "digits", "--data-a", "digits", "--data-b", "digits"), "Both --data and --data-a"),
        (("--data-a", "digits"), "give --data-b too"),
        (("--data-a", "digits", "--data-b", "digits"), "can't be trained on 2 data sources: give --data folder:PATH"),
        (("--set", "latent_dims=3"), "did you mean 'latent_dim'"),
        (("--config", "/nowhere.json"), "There is no file"),
        (("--monitor", "val_psnr"), "A VAE doesn't report 'val_psnr': choose one of loss"),
        (("--schedule", "cosine"), "choose 'restart' or 'extend'"),
        (("--epochs", "0"), "--epochs is 0"),
        (("--resume",), "holds no run to resume"),
        (("--from", "/nowhere"), "no model at /nowhere"),
    ],
)
def test_a_mistake_on_the_command_line_gets_a_sentence(kerasgen, tmp_path, arguments, message):
    code, _, errors = kerasgen("train", "vae_digits", "--output", tmp_path / "run", *arguments)
    assert code == 2
    assert message in errors
    assert not (tmp_path / "run" / "config.json").exists()


def test_show_prints_each_setting(kerasgen):
    code, out, _ = kerasgen("train", "vae_digits", "--show")
    assert code == 0
    for text in ("latent_dim", "12; a whole number", "recipe.learning_rate", "data.batch_size"):
        assert text in out


def test_one_source_or_two():
    assert sources_of(None, None, None) is None
    assert sources_of("a", None, None) == "a"
    assert sources_of(None, "a", "b") == ("a", "b")


def test_weights_that_fit_are_taken_and_the_others_named():
    origin = RunFolder(GOLDEN / "vae_run").model()
    vae = VAE((16, 16, 1), 5, filters=(4, 8), hidden_units=16, num_classes=10)
    with pytest.warns(UserWarning, match=r"\d+ of \d+ weights are those of .*vae_run; new are .*z_mean"):
        start_from(vae, str(GOLDEN / "vae_run"))
    same = {v.path: np.array(v) for v in origin.encoder.weights}
    taken = [v.path for v in vae.encoder.weights if np.array_equal(same.get(v.path), v)]
    assert {v.path for v in vae.encoder.weights} - set(taken) == {
        f"{name}/{part}" for name in ("z_mean", "z_log_var") for part in ("kernel", "bias")
    } - {path for path in taken if path.endswith("bias")}
    with pytest.raises(UserError, match="None of the weights"):
        start_from(vae, str(GOLDEN / "registration.keras"))


def test_a_generator_alone_goes_into_both_directions(tmp_path):
    options = {"filters": 4, "blocks": 1, "downsamplings": 0, "stem_kernel": 3, "norm": "none"}
    small = {"generator_options": options, "discriminator_options": {"filters": 4, "downsamplings": 1}}
    first, second = CycleGAN(16, **small), CycleGAN(16, **small)
    first.generator_a2b.save(tmp_path / "generator.keras")
    with pytest.warns(UserWarning, match="new are discriminator_a/"):
        start_from(second, str(tmp_path / "generator.keras"))
    for network in (second.generator_a2b, second.generator_b2a):
        for expected, found in zip(first.generator_a2b.weights, network.weights, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_a_first_stage_is_the_one_that_was_given(tmp_path):
    def flow() -> RectifiedFlow:
        first_stage = AutoencoderKL(1, latent_channels=2, architecture_options={"filters": (8,), "patch": 2})
        return RectifiedFlow((8, 8, 1), first_stage=first_stage, filters=(8,), hidden_units=8)

    first, second = flow(), flow()
    first.save(tmp_path / "flow.keras")
    own = second.first_stage.model.get_weights()
    start_from(second, str(tmp_path / "flow.keras"))
    for expected, found in zip(own, second.first_stage.model.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
    for expected, found in zip(first.network.get_weights(), second.network.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_stages():
    assert stages_of(None, None, 50, None) == (Stage(50),)
    assert stages_of(None, (2, 4), 50, "restart") == (Stage(2), Stage(4, "restart"))
    run = RunFolder(GOLDEN / "vae_run")
    assert stages_of(run, None, 50, None) == stages_of(run, 2, 50, None) == (Stage(2),)
    assert stages_of(run, 5, 50, "extend") == (Stage(2), Stage(5, "extend"))
    with pytest.raises(UserError, match="one of 2 epochs, and 1 were asked for"):
        stages_of(run, 1, 50, None)
    with pytest.raises(UserError, match=r"--schedule restart \(anew, over 3 epochs\) or --schedule extend"):
        stages_of(run, 5, 50, None)
    with pytest.raises(UserError, match="give numbers that grow"):
        stages_of(None, (4, 2), 50, "extend")


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["restart", "extend"])
def test_a_run_that_is_made_longer_equals_one_that_was_begun_so(schedule, tmp_path):
    begun = train("vae_digits", tmp_path / "begun", epochs=(2, 4), schedule=schedule, settings=TINY)
    train("vae_digits", tmp_path / "longer", epochs=2, settings=TINY)
    longer = train("vae_digits", tmp_path / "longer", epochs=4, schedule=schedule, settings=TINY, resume=True)
    assert longer.history == begun.history
    assert len(longer.history["loss"]) == 4
    for one, two in zip(begun.model.variables, longer.model.variables, strict=True):
        np.testing.assert_array_equal(one, two)
    assert RunFolder(tmp_path / "longer").config()["stages"] == [
        {"epochs": 2, "schedule": "extend"},
        {"epochs": 4, "schedule": schedule},
    ]
    finished = RunFolder(tmp_path / "longer").model()
    with pytest.raises(UserError, match="where its learning rate is 0, so it would learn nothing"):
        finished.fit(longer.validation, epochs=1, verbose=0)
    finished.compile(keras.optimizers.Adam(1e-3))
    finished.fit(longer.validation.take(1), epochs=1, verbose=0)


def test_steps_in_one_call_end_where_something_is_due():
    assert together(32, 23, 0, 0) == 23
    assert together(32, 100, 0, 0) == 25
    assert together(32, 100, 10, 0) == 10
    assert together(32, 100, 10, 35) == 5  # a run that was begun with other checkpoints goes on
    assert together(1, 100, 0, 0) == 1
    assert together(32, 97, 0, 0) == 1


@pytest.mark.slow
def test_steps_in_one_call_learn_the_same_to_the_bit(tmp_path):
    """The numbers of a small VAE, whose recipe takes many steps together, and whose checkpoints leave one."""

    def weights(name: str, checkpoint_steps: int | None) -> list[np.ndarray]:
        options = Options(checkpoint_steps=checkpoint_steps)
        run = train("vae_digits", tmp_path / name, epochs=2, settings=TINY, options=options)
        assert run.model.steps_per_execution == (6 if checkpoint_steps is None else 1)
        return run.model.get_weights()

    for one, other in zip(weights("together", None), weights("apart", 1), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_xla_compiles_the_step_that_it_was_asked_for(tmp_path):
    # A warning of Keras' that it goes on without would fail the test.
    run = train("vae_digits", tmp_path, epochs=1, settings=TINY, options=Options(jit=True))
    assert run.model.jit_compile


class OneTitle(VAE):
    """A model whose preview has one title only."""

    def preview(self, n=64, seed=0, inputs=None):
        return {"generated": self.generate(n, seed=seed)}


def test_a_preview_of_one_title_ends_a_training_too(tmp_path):
    import tensorflow as tf

    model = OneTitle((8, 8, 1), 2, filters=(4,), hidden_units=8)
    validation = tf.data.Dataset.from_tensors({"image": np.zeros((2, 8, 8, 1), "float32")})
    finish(Run(tmp_path, model, {"loss": [1.0]}, validation))
    assert {"model.keras", "curves.png", "reconstructions.png"} <= {path.name for path in tmp_path.iterdir()}


def test_what_can_be_answered_without_tensorflow_is(said_early, tmp_path):
    settings = tmp_path / "own.json"
    settings.write_text(json.dumps({"beta_": 1}))
    lines = [
        f"--output {tmp_path} --data digits --data-a digits --data-b digits",
        f"--output {tmp_path} --data-b digits",
        f"--output {tmp_path} --set latent_dim",
        f"--output {tmp_path} --set latent_dims=3",
        f"--output {tmp_path} --set recipe.learnin_rate=3",
        f"--output {tmp_path} --config {settings}",
        f"--output {tmp_path} --monitor val_lose",
        f"--output {tmp_path} --monitor val_psnr",
        f"--output {tmp_path} --config /nowhere.json",
        f"--output {tmp_path} --resume",
        f"--output {GOLDEN / 'vae_run'}",
        f"--output {tmp_path} --epochs many",
        "--epochs 1",
    ]
    said = said_early([f"train vae_digits {line}" for line in lines])
    assert said.count("Error: ") >= len(lines) - 1
    assert "holds a run already" in said
    for wrong, meant in (
        ("There is no setting 'latent_dims'", "latent_dim"),
        ("There is no setting 'recipe.learnin_rate'", "recipe.learning_rate"),
        ("There is no setting 'beta_'", "beta"),
        ("A VAE doesn't report 'val_lose'", "val_loss"),
    ):
        assert f"Error: {wrong}: did you mean {meant!r}.\n" in said
    assert "A VAE doesn't report 'val_psnr': choose one of loss, reconstruction_loss, kl_loss, val_loss" in said
    assert "Traceback" not in said


def test_files_that_no_run_wrote_stay(kerasgen, tmp_path):
    (tmp_path / "pictures").mkdir()
    for name in ("log.csv", "pictures/epoch_trip.png", "pictures/epoch_0001.png"):
        (tmp_path / name).write_text("mine")
    for name in ("log.csv", "pictures/epoch_0001.png"):
        code, _, err = kerasgen("train", "vae_digits", "--output", tmp_path, "--epochs", 1)
        assert code == 2
        assert "is not a run folder, but holds what a training would replace, such as" in err
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()
    RunFolder(tmp_path).check()  # what is left is nobody's
    RunFolder(tmp_path).begin({})
    assert (tmp_path / "pictures/epoch_trip.png").read_text() == "mine"


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("preset: vae_64\nlatent_dim: 32", {"latent_dim": 32}),
        ("recipe: {learning_rate: 1e-4}", {"recipe.learning_rate": 1e-4}),
        ("preset: vae_64\nrecipe:\n  learning_rate: 2.5E+2", {"recipe.learning_rate": 250.0}),
    ],
)
def test_a_file_of_settings_may_name_its_preset(text, settings, tmp_path):
    (tmp_path / "settings.yaml").write_text(text)
    assert settings_in(read_settings(tmp_path / "settings.yaml"), "vae_64") == settings
    (tmp_path / "other.json").write_text('{"preset": "vae_digits", "data": {"batch_size": 8}}')
    assert settings_in(read_settings(tmp_path / "other.json"), "vae_digits") == {"data.batch_size": 8}
    with pytest.raises(UserError, match="of the preset 'vae_digits', not of 'vae_64'"):
        settings_in(read_settings(tmp_path / "other.json"), "vae_64")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("image_size", [64, 64], "image_size is [64, 64], but it takes a whole number"),
        ("recipe.learning_rate", -1.0, "recipe.learning_rate is -1"),
        ("recipe.learning_rate", float("nan"), "recipe.learning_rate is nan"),
        ("beta", float("inf"), "beta is inf"),
    ],
)
def test_what_no_training_could_mean_gets_a_sentence(name, value, message):
    with pytest.raises(UserError, match=re.escape(message)):
        changed(*preset("vae_64"), {name: value})


@pytest.mark.slow
def test_pairs_may_keep_sizes_of_their_own(kerasgen, tmp_path):
    random = np.random.default_rng(0)
    for split in ("train", "test"):
        for side in ("a", "b"):
            (tmp_path / side / split).mkdir(parents=True)
        for i in range(4):
            pixels = random.integers(0, 255, (32 + 4 * i, 40, 3), np.uint8)
            for side in ("a", "b"):
                Image.fromarray(pixels).save(tmp_path / side / split / f"{i}.png")
    sides = f"folder:{tmp_path / 'a'}", f"folder:{tmp_path / 'b'}"
    settings = {"data.mode": "none", "data.batch_size": 1, "generator_options": {"filters": 4, "blocks": 1}}
    run = train("denoising", tmp_path / "run", sides, epochs=1, settings=settings)
    assert np.isfinite(run.history["val_loss"]).all()
    code, _, err = kerasgen("evaluate", tmp_path / "run")
    assert code == 0, err
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert found["likeness"]["untouched"]["ssim"] == pytest.approx(1.0)
    assert found["likeness"]["answers"]["n"] == 4


@pytest.mark.slow
def test_a_run_goes_on_with_what_it_learned(kerasgen, tmp_path, monkeypatch):
    """Classes by other names are refused, first weights are remembered, and what was measured before is forgotten."""
    monkeypatch.chdir(tmp_path)
    for name, gray in (("ants", 40), ("bees", 120), ("cats", 220)):
        for split in ("train", "test"):
            (tmp_path / "d" / split / name).mkdir(parents=True)
            for i in range(8):
                picture = Image.fromarray(np.full((8, 8, 3), gray + i, np.uint8))
                picture.save(tmp_path / "d" / split / name / f"{i}.png")
    tiny = {**TINY, "data.batch_size": 8, "num_classes": 3}
    train("vae_64", "first", "folder:d", epochs=1, settings=tiny)
    train("vae_64", ".", "folder:d", epochs=1, settings=tiny, start="first")  # the present folder is a run too
    (tmp_path / "evaluation.json").write_text("{}")
    (tmp_path / "pictures" / "epoch_0001 (copy).png").write_bytes(b"")
    (tmp_path / "checkpoints" / "step_backup.npz").write_bytes(b"")
    longer = {"epochs": 2, "settings": tiny, "resume": True, "schedule": "extend"}
    with pytest.raises(UserError, match="began with the weights of first: leave --from out"):
        train("vae_64", ".", "folder:d", start="d", **longer)
    train("vae_64", ".", "folder:d", **longer)
    assert RunFolder(".").config()["start"] == "first"
    assert "--from first" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "evaluation.json").exists()
    for split in ("train", "test"):
        (tmp_path / "d" / split / "ants").rename(tmp_path / "d" / split / "zants")
    with pytest.raises(UserError, match="learned the classes ants, bees, cats, but its data has bees, cats, zants"):
        train("vae_64", ".", "folder:d", **{**longer, "epochs": 3})


def test_codes_come_with_the_weights_to_begin_with(tmp_path):
    options = {"codes": 16, "code_dim": 4, "architecture_options": {"filters": (8,), "patch": 2}}
    given, new = VQVAE(1, **options), VQVAE(1, **options)
    given.compile_for_recipe(2, 1)
    given.fit(np.random.default_rng(0).random((8, 8, 8, 1), np.float32), batch_size=4, verbose=0)
    given.save(tmp_path / "given.keras")
    start_from(new, str(tmp_path / "given.keras"))
    for one, two in zip(given.quantizer.weights, new.quantizer.weights, strict=True):
        np.testing.assert_array_equal(one, two)
    autoencoder = AutoencoderKL(1, architecture_options=options["architecture_options"])
    autoencoder.latent_moments.assign([0.5, 4.25])
    autoencoder.save(tmp_path / "kl.keras")
    other = AutoencoderKL(1, architecture_options=options["architecture_options"])
    start_from(other, str(tmp_path / "kl.keras"))
    np.testing.assert_array_equal(other.latent_moments, [0.5, 4.25])
