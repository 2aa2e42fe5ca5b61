"""The rectified flow: its loss and averages by NumPy, its pictures and likelihood where the truth is known."""

from pathlib import Path
from unittest.mock import ANY

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.models import VQVAE, AutoencoderKL, RectifiedFlow
from kerasgen.presets import Preset, PresetFolder
from kerasgen.runs import load_model

RANDOM = np.random.default_rng(0)
# A mixture of three Gaussians in the plane; pictures of one pixel and two channels in [0, 1] hold its points.
MEANS, SHARES, DEVIATION = np.float32([[-0.3, -0.2], [0.3, -0.2], [0.0, 0.3]]), np.float32([0.5, 0.3, 0.2]), 0.2


def points(count: int, random: np.random.Generator) -> np.ndarray:
    """Points of the mixture, as pictures [count, 1, 1, 2]."""
    chosen = MEANS[random.choice(3, count, p=SHARES)]
    drawn = chosen + DEVIATION * random.standard_normal((count, 2))
    return np.clip(drawn / 2 + 0.5, 0, 1).astype("float32").reshape(count, 1, 1, 2)


def log_density(pictures: np.ndarray) -> np.ndarray:
    """Of the mixture, in the unit of pictures."""
    x = 2 * pictures.reshape(-1, 1, 2).astype("float64") - 1
    exponents = -0.5 * ((x - MEANS) ** 2).sum(-1) / DEVIATION**2 + np.log(SHARES)
    return np.logaddexp.reduce(exponents, axis=1) - np.log(2 * np.pi * DEVIATION**2) + 2 * np.log(2)


class MixtureVelocity(layers.Layer):
    """The mixture's own velocity, in closed form: E[x₁ − x₀ | x, t]."""

    def call(self, inputs):
        x, t = ops.reshape(inputs["image"], (-1, 1, 2)), inputs["time"][:, :, None]
        variance = t**2 * DEVIATION**2 + (1 - t) ** 2
        away = x - t * MEANS
        exponents = -0.5 * ops.sum(away**2, axis=-1) / variance[:, :, 0] + np.log(SHARES)
        velocities = MEANS + (t * DEVIATION**2 - (1 - t)) / variance * away
        found = ops.sum(ops.softmax(exponents)[:, :, None] * velocities, axis=1)
        return ops.reshape(found, (-1, 1, 1, 2))


def in_the_plane(network) -> RectifiedFlow:
    inputs = {"image": keras.Input((1, 1, 2), name="image"), "time": keras.Input((1,), name="time")}
    return RectifiedFlow((1, 1, 2), network=keras.Model(inputs, network(inputs)), ema=0.99, steps=40)


def energy_distance(one: np.ndarray, two: np.ndarray) -> float:
    """0 for two samples of one distribution, but for chance (Székely and Rizzo 2004)."""

    def mean(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm(a[:, None] - b[None], axis=-1).mean())

    return 2 * mean(one, two) - mean(one, one) - mean(two, two)


def pass_a_two_sample_test(pictures: np.ndarray, random: np.random.Generator) -> None:
    """The energy distance to the truth is not larger than 99% of those after the two samples were mixed."""
    truth = points(len(pictures), random).reshape(-1, 2)
    both = np.concatenate([pictures.reshape(-1, 2), truth])
    mixed = [random.permutation(both) for _ in range(100)]
    chance = [energy_distance(m[: len(truth)], m[len(truth) :]) for m in mixed]
    assert energy_distance(both[: len(truth)], truth) <= np.quantile(chance, 0.99)


def test_the_mixtures_own_velocity_gives_its_points_and_its_density():
    flow, random = in_the_plane(MixtureVelocity()), np.random.default_rng(1)
    pass_a_two_sample_test(flow.generate(200, seed=0), random)
    held_out = points(200, random)
    np.testing.assert_allclose(flow.log_prob(held_out, steps=80), log_density(held_out), atol=0.02)
    # And there and back again: each point comes from the noise that `call` gives.
    z = flow.predict(held_out, verbose=0)
    np.testing.assert_allclose(flow.decode(z.reshape(-1, 2)), held_out, atol=2e-3)


def test_probes_estimate_the_density_without_a_bias():
    """In the plane a probe is (1, 1) or (1, -1), but for its sign: the two are off by as much to either side."""
    flow, held_out = in_the_plane(MixtureVelocity()), points(4, np.random.default_rng(2))
    exact = flow.log_prob(held_out, steps=3)
    estimates = np.stack([flow.log_prob(held_out, steps=3, probes=1, seed=seed) for seed in range(6)])
    assert np.abs(estimates[0] - exact).max() > 0.01
    np.testing.assert_allclose(estimates.max(axis=0) + estimates.min(axis=0), 2 * exact, atol=1e-3)


def dense(inputs):
    x = layers.Concatenate()([layers.Flatten()(inputs["image"]), inputs["time"]])
    for _ in range(3):
        x = layers.Dense(128, activation="silu")(x)
    return layers.Reshape((1, 1, 2))(layers.Dense(2)(x))


@pytest.mark.slow
def test_a_trained_flow_has_the_mixtures_points_and_density():
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(3)
    flow = in_the_plane(dense)
    flow.compile_for_recipe(1, 2000, learning_rate=4e-3)
    data = tf.data.Dataset.from_tensor_slices(points(65_536, random)).batch(512).repeat()
    flow.fit(data, epochs=1, steps_per_epoch=2000, verbose=0)
    pass_a_two_sample_test(flow.generate(200, seed=0), random)
    held_out = points(1000, random)
    assert abs((flow.log_prob(held_out) - log_density(held_out)).mean()) < 0.05


def way(flow: RectifiedFlow, z: np.ndarray, steps: int) -> tuple[np.ndarray, float]:
    """Where Euler's steps take points [n, 2], and how far from straight that is: E ∫ |end - beginning - v|² dt."""
    x, velocities = z, []
    for i in range(steps):
        given = {"image": x.reshape(-1, 1, 1, 2), "time": np.full((len(x), 1), i / steps, "float32")}
        velocities.append(np.asarray(flow.averaged(given)).reshape(-1, 2))
        x = x + velocities[-1] / steps
    return x, float(np.mean([((x - z - v) ** 2).sum(-1).mean() for v in velocities]))


@pytest.mark.slow
def test_reflow_makes_ways_straight_so_that_a_step_is_enough():
    keras.utils.set_random_seed(0)
    teacher = in_the_plane(MixtureVelocity())
    teacher.steps = 8
    student = in_the_plane(dense)
    student.compile_for_recipe(1, 500, learning_rate=4e-3, teacher=teacher)
    data = tf.data.Dataset.from_tensors(points(256, np.random.default_rng(4))).repeat()
    student.fit(data, epochs=1, steps_per_epoch=500, verbose=0)
    z = np.random.default_rng(5).standard_normal((500, 2), dtype="float32")
    ends, bent = way(teacher, z, 200)
    assert way(student, z, 50)[1] < bent / 4
    for steps in (1, 2):
        far, near = (np.abs(way(flow, z, steps)[0] - ends).mean() for flow in (teacher, student))
        assert near < far / 2


def small(**options) -> RectifiedFlow:
    keras.utils.set_random_seed(0)
    flow = RectifiedFlow((8, 8, 1), filters=(8, 8), hidden_units=8, num_classes=3, **options)
    for network in (flow.network, flow.averaged):
        network.set_weights([np.random.default_rng(1).normal(0, 0.2, w.shape) for w in network.get_weights()])
    return flow


@pytest.fixture(scope="module")
def flow() -> RectifiedFlow:
    return small(guidance=2.0, steps=3)


BATCH = {"image": RANDOM.uniform(size=(6, 8, 8, 1)).astype("float32"), "label": np.arange(6, dtype="int32") % 3}


def test_a_training_step_is_what_numpy_makes_of_it():
    flow = small(ema=0.5)
    flow.compile(optimizer=keras.optimizers.SGD(0.1))
    inputs, _ = flow._unpack(BATCH)
    draws = keras.tree.map_structure(np.asarray, flow.draws(inputs))
    flow.draws = lambda inputs: draws
    noise, _, time, told = draws
    t, picture = time[:, :, None, None], 2 * BATCH["image"] - 1
    given = {"image": t * picture + (1 - t) * noise, "time": time, "label": told["label"]}
    expected = ((np.asarray(flow.network(given)) - (picture - noise)) ** 2).mean()
    averages = flow.averaged.get_weights()
    for step in (1, 2):
        history = flow.fit(tf.data.Dataset.from_tensors(BATCH), verbose=0).history
        if step == 1:
            assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
        kept = min(0.5, (1 + step) / (10 + step))
        averages = [kept * a + (1 - kept) * w for a, w in zip(averages, flow.network.get_weights(), strict=True)]
        for found, wanted in zip(flow.averaged.get_weights(), averages, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_averages_rest_while_gradients_accumulate():
    flow = small()
    flow.compile(optimizer=keras.optimizers.SGD(0.1), gradient_accumulation_steps=2)
    before = flow.averaged.get_weights()
    flow.fit(tf.data.Dataset.from_tensors(BATCH), verbose=0)
    for found, wanted in zip(flow.averaged.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, wanted)
    flow.fit(tf.data.Dataset.from_tensors(BATCH), verbose=0)
    assert any((a != b).any() for a, b in zip(flow.averaged.get_weights(), before, strict=True))


def test_a_preset_begins_with_the_averages_and_stores_them_once(tmp_path):
    flow = small()
    flow.averaged.set_weights([weight + 0.5 for weight in flow.averaged.get_weights()])
    before = [np.array(weight) for weight in flow.network.get_weights()]
    flow.save_to_preset(tmp_path / "flow")
    again = RectifiedFlow.from_preset(tmp_path / "flow")
    for network in (again.network, again.averaged):
        for found, wanted in zip(network.get_weights(), flow.averaged.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
    for found, wanted in zip(flow.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(found, wanted)  # the model itself is as it was
    assert stored(tmp_path / "flow") <= flow.averaged.count_params() + 10  # and the seeds


def stored(preset: Path) -> int:
    """How many numbers a preset's file holds; what has several names counts once."""
    sizes = []
    with h5py.File(preset / "model.weights.h5") as file:
        file.visititems(lambda _, item: sizes.append(item.size) if isinstance(item, h5py.Dataset) else None)
    return sum(sizes)


def named(preset: Path) -> int:
    """How many numbers Keras reads of a preset's file: what has several names counts under each."""
    with h5py.File(preset / "model.weights.h5") as file:
        names = []
        file.visititems_links(lambda name, _: names.append(name))
        return sum(file[name].size for name in names if isinstance(file[name], h5py.Dataset))


def test_times_cover_their_range_and_some_labels_are_hidden(flow):
    labels = np.eye(3, dtype="float32")[np.arange(2000) % 3]
    noise, _, time, told = flow.draws({"image": tf.zeros((2000, 8, 8, 1)), "label": tf.constant(labels)})
    within = np.sort(np.asarray(time, np.float64)[:, 0]) * 2000 - np.arange(2000)
    assert -0.01 < within.min() < within.max() < 1.01  # each in its own two-thousandth
    hidden = np.all(np.asarray(told["label"]) == np.float32(1 / 3), axis=1)
    assert 140 <= hidden.sum() <= 260  # a tenth, by more than four standard deviations
    np.testing.assert_array_equal(np.asarray(told["label"])[~hidden], labels[~hidden])
    assert abs(np.asarray(noise).std() - 1) < 0.02


def test_guidance_goes_beyond_the_label(flow):
    z = RANDOM.normal(size=(5, 64)).astype("float32")
    labels = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1]]

    def velocity(x: np.ndarray, t: float) -> np.ndarray:
        given = {"image": x, "time": np.full((5, 1), t, "float32")}
        known = np.asarray(flow.averaged({**given, "label": labels}))
        unknown = np.asarray(flow.averaged({**given, "label": np.full((5, 3), 1 / 3, "float32")}))
        return 2 * known - unknown

    x = z.reshape(5, 8, 8, 1)
    for i in range(3):
        slope = velocity(x, i / 3)
        x = x + (slope + velocity(x + slope / 3, (i + 1) / 3)) / 6
    expected = np.clip(x / 2 + 0.5, 0, 1)
    np.testing.assert_allclose(flow.decode(z, labels), expected, atol=1e-5)
    np.testing.assert_allclose(flow.sampling_network()({"z": z, "label": labels}), expected, atol=1e-5)
    euler = flow.sampling_network(steps=1, solver="euler", guidance=1.0)({"z": z, "label": labels})
    given = {"image": z.reshape(5, 8, 8, 1), "time": np.zeros((5, 1), "float32"), "label": labels}
    once = given["image"] + np.asarray(flow.averaged(given))
    np.testing.assert_allclose(euler, np.clip(once / 2 + 0.5, 0, 1), atol=1e-5)


def test_validation_is_the_same_for_each_split_into_batches(flow):
    flow.compile()
    losses = [flow.evaluate(tf.data.Dataset.from_tensor_slices(BATCH).batch(n), verbose=0) for n in (6, 4)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_pictures_are_the_same_for_the_same_seed_and_of_the_labels(flow):
    np.testing.assert_array_equal(flow.generate(4, seed=5), flow.generate(4, seed=5))
    assert (flow.generate(4, labels=1, seed=5) != flow.generate(4, labels=2, seed=5)).any()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"solver": "rk4"}, "choose one of euler, heun"),
        ({"label_dropout": 1.5}, "label_dropout is 1.5"),
        ({"ema": -0.1}, "ema"),
        ({"steps": 0}, "steps"),
        ({"num_attributes": 2}, "give one of them"),
        ({"num_classes": None, "guidance": 2.0}, "conditional on nothing"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        RectifiedFlow((8, 8, 1), **{"filters": (8, 8), "num_classes": 3, **options})


def test_what_it_cannot_do_is_said(flow, tmp_path):
    from kerasgen.commands.generate import check_sampler

    with pytest.raises(UserError, match="choose the sampler prior"):
        check_sampler(flow, "decision_tree")
    with pytest.raises(UserError, match="encodes no pictures"):
        flow.encode(BATCH["image"], BATCH["label"])
    with pytest.raises(UserError, match="encodes no pictures"):  # rather than a traceback of `kerasgen interpolate`
        flow.interpolate(BATCH["image"][0], BATCH["image"][1], labels=0)
    with pytest.raises(UserError, match=r"\[n, 64\] is needed"):
        flow.decode(np.zeros((2, 3), "float32"), [0, 1])


# -- reflow --------------------------------------------------------------------------------------------------


def test_a_student_learns_where_its_teacher_ends_guided_and_for_the_real_labels(flow, tmp_path):
    flow.save_to_preset(tmp_path / "teacher")
    student = small(label_dropout=1.0)
    student.compile_for_recipe(1, 1, teacher=str(tmp_path / "teacher"))
    inputs, _ = student._unpack(BATCH)
    draws = student.draws(inputs)
    np.testing.assert_allclose(draws.told["label"], 1 / 3)
    expected = flow.decode(tf.reshape(draws.noise, (6, 64)), BATCH["label"])
    np.testing.assert_allclose(np.clip(0.5 * draws.ends + 0.5, 0, 1), expected, atol=1e-5)
    twin = small(label_dropout=1.0)
    twin.reflow(flow)
    other = twin.draws({**inputs, "image": 1 - inputs["image"]})
    np.testing.assert_allclose(other.ends, draws.ends, atol=1e-6)  # of the pictures nothing is learned
    twin.save(tmp_path / "student.keras")
    loaded = load_model(tmp_path / "student.keras")
    assert len(loaded.weights) == len(flow.weights)  # without the teacher's


@pytest.mark.parametrize(
    ("options", "teacher", "said"),
    [
        ({"guidance": 2.0}, lambda flow: flow, "guidance is 2.0, but what the teacher's guidance does"),
        ({"num_classes": 4}, lambda flow: flow, "is told 4 classes or attributes, but the teacher"),
        ({}, lambda flow: flow.network, "give a trained RectifiedFlow"),
        ({}, lambda flow: "nowhere", "There is no RectifiedFlow at 'nowhere'"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(flow, options, teacher, said):
    student = RectifiedFlow((8, 8, 1), filters=(8, 8), hidden_units=8, **{"num_classes": 3, **options})
    with pytest.raises(UserError, match=said):
        student.compile_for_recipe(1, 1, teacher=teacher(flow))


# -- in latents ----------------------------------------------------------------------------------------------


def autoencoder() -> AutoencoderKL:
    """One with random weights, whose latents have the mean 1 and the deviation 2."""
    keras.utils.set_random_seed(1)
    model = AutoencoderKL(1, latent_channels=3, architecture_options={"filters": (8, 8), "patch": 1})
    model.latent_moments.assign([1.0, 5.0])
    return model


def in_latents(first_stage: keras.Model | str, **options) -> RectifiedFlow:
    flow = RectifiedFlow((8, 8, 1), first_stage=first_stage, filters=(8, 8), hidden_units=8, steps=2, **options)
    for network in (flow.network, flow.averaged):
        network.set_weights([np.random.default_rng(1).normal(0, 0.2, w.shape) for w in network.get_weights()])
    return flow


@pytest.fixture(scope="module")
def first_stage() -> AutoencoderKL:
    return autoencoder()


@pytest.fixture(scope="module")
def latent_flow(first_stage) -> RectifiedFlow:
    return in_latents(first_stage)


def test_it_learns_latents_drawn_from_the_posterior(first_stage, latent_flow):
    assert latent_flow.latent_shape == (4, 4, 3)
    images = np.repeat(BATCH["image"][:1], 4000, axis=0)
    ends = np.asarray(latent_flow.draws({"image": tf.constant(images)}).ends)
    posterior = first_stage.encode(images[:1])
    np.testing.assert_allclose(posterior.mean, np.asarray(first_stage.encoder(images[:1])["z_mean"]) / 2, atol=1e-5)
    deviation = np.exp(0.5 * posterior.log_var[0])
    assert np.abs((ends.mean(axis=0) - posterior.mean[0]) / deviation).max() < 5 / np.sqrt(4000)
    np.testing.assert_allclose(ends.std(axis=0) / deviation, 1, atol=5 / np.sqrt(8000))
    assert not [v for v in latent_flow.trainable_variables if v.path.startswith(("encoder", "decoder"))]
    assert len(latent_flow.trainable_variables) == len(latent_flow.network.trainable_variables)


def test_its_pictures_are_decoded(first_stage, latent_flow):
    z = RANDOM.normal(size=(2, 48)).astype("float32")

    def velocity(x: np.ndarray, t: float) -> np.ndarray:
        return np.asarray(latent_flow.averaged({"image": x, "time": np.full((2, 1), t, "float32")}))

    x = z.reshape(2, 4, 4, 3)
    for i in range(2):
        slope = velocity(x, i / 2)
        x = x + (slope + velocity(x + slope / 2, (i + 1) / 2)) / 4
    expected = first_stage.decode(x)
    np.testing.assert_allclose(latent_flow.decode(z), expected, atol=1e-5)
    np.testing.assert_allclose(latent_flow.sampling_network()({"z": z}), expected, atol=1e-5)
    # A flow that goes nowhere gives the posterior's mean for the noise.
    still = RectifiedFlow((8, 8, 1), first_stage=first_stage, filters=(8,), hidden_units=8, steps=1, solver="euler")
    noise = still.predict(BATCH["image"], verbose=0)
    np.testing.assert_allclose(noise, first_stage.encode(BATCH["image"]).mean, atol=1e-5)
    with pytest.raises(UserError, match="ask a flow in pixels"):
        latent_flow.log_prob(BATCH["image"])


def test_a_first_stage_of_a_folder_becomes_part_of_the_file(first_stage, tmp_path):
    first_stage.save_to_preset(tmp_path / "stage")
    first_stage.save(tmp_path / "model.keras")
    for given in (tmp_path / "stage", tmp_path, tmp_path / "model.keras"):
        flow = in_latents(str(given))
        for found, wanted in zip(flow.first_stage.model.get_weights(), first_stage.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
    flow.save(tmp_path / "flow.keras")
    flow.save_to_preset(tmp_path / "flow")
    (tmp_path / "model.keras").unlink()
    for loaded in (load_model(tmp_path / "flow.keras"), RectifiedFlow.from_preset(tmp_path / "flow")):
        assert loaded.first_stage.model.latent_scale == pytest.approx(1 / 2)
        for found, wanted in zip(loaded.get_weights(), flow.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
    held = sum(weight.size for weight in flow.get_weights())
    assert held <= named(tmp_path / "flow") <= held + 10  # and the seeds
    once = flow.averaged.count_params() + first_stage.count_params()
    assert stored(tmp_path / "flow") <= once + 10


def test_a_preset_as_first_stage_is_only_named(first_stage, tmp_path, monkeypatch):
    zoo = {name: tmp_path / name for name in ("kl_tiny", "other")}
    for path in zoo.values():
        autoencoder().save_to_preset(path)
    for module in ("pretrained", "first_stage"):
        monkeypatch.setattr(f"kerasgen.models.{module}.shipped", lambda name: PresetFolder(zoo[name]))
    config = first_stage.get_config()
    monkeypatch.setattr(AutoencoderKL, "presets", {"kl_tiny": Preset("", config)})
    flow = in_latents("kl_tiny")
    digest = PresetFolder(zoo["kl_tiny"]).metadata()["sha256"]
    assert flow.get_config()["first_stage"] == f"kl_tiny@{digest}"
    assert len(flow.weights) == 2 * len(flow.network.weights)
    flow.save(tmp_path / "flow.keras")
    again = load_model(tmp_path / "flow.keras")
    for one, two in ((again, flow), (again.first_stage.model, first_stage)):
        for found, wanted in zip(one.get_weights(), two.get_weights(), strict=True):
            np.testing.assert_array_equal(found, wanted)
    assert in_latents(f"kl_tiny@{digest[:12]}").get_config() == {**flow.get_config(), "name": ANY}
    first_stage.decoder.set_weights([2 * w for w in first_stage.decoder.get_weights()])
    first_stage.save_to_preset(zoo["kl_tiny"])
    with pytest.raises(UserError, match=f"and this model was trained with {digest[:12]}"):
        load_model(tmp_path / "flow.keras")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: VQVAE(1, codes=4, code_dim=2, architecture_options={"filters": (8,)}), "is a VQVAE: give a trained"),
        (lambda: "nowhere", "There is no AutoencoderKL at 'nowhere'"),
        (lambda: AutoencoderKL(3, architecture_options={"filters": (8,)}), "takes 3 channels"),
    ],
)
def test_a_first_stage_that_does_not_fit_is_refused(given, said):
    with pytest.raises(UserError, match=said):
        in_latents(given())
