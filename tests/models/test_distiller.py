"""Distillation: the loss against NumPy, a frozen teacher, exact students, scores, names, wrong input."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from skimage.metrics import peak_signal_noise_ratio

from kerasgen.data import load_inputs, load_unpaired
from kerasgen.errors import UserError
from kerasgen.models import CycleGAN, Distiller, PairedTranslator, presets
from kerasgen.networks.patchgan import patchgan
from kerasgen.networks.restoration import super_resolver
from tests.models.test_paired import disturbed, photo

SMALL = {"filters": 4, "blocks": 1, "downsamplings": 0, "stem_kernel": 3}


def teacher(**options) -> keras.Model:
    return PairedTranslator("resnet", generator_options=SMALL | options).generator_a2b


def pieces() -> np.ndarray:
    """Two different pieces of a photograph: float32 [2, 16, 16, 3] in [-1, 1]."""
    return np.concatenate([photo(16, 16), photo(32, 32)[:, 16:, 16:]])


def test_the_loss_is_the_formula():
    taught = teacher()
    student = Distiller(
        taught,
        generator_type="resnet",
        generator_options={**SMALL, "filters": 2, "separable": True},
        features=("stem_relu", "block1_add"),
        lambda_features=0.7,
        lambda_l1=2.0,
        lambda_l2=0.5,
    )
    random = np.random.default_rng(0)
    for network in (student.generator_a2b, student.adapters):
        network.set_weights([random.normal(0, 0.3, w.shape) for w in network.get_weights()])
    images = pieces()
    student.compile()
    found = student.test_step({"a": tf.constant(images)})

    def of(network: keras.Model, name: str) -> np.ndarray:
        return np.asarray(keras.Model(network.input, network.get_layer(name).output)(images))

    ours, theirs = np.asarray(student.generator_a2b(images)), np.asarray(taught(images))
    error, weights = ours - theirs, iter(student.adapters.get_weights())
    distances = []
    for name in ("stem_relu", "block1_add"):
        kernel, bias = next(weights)[0, 0], next(weights)
        distances.append(np.mean((of(student.generator_a2b, name) @ kernel + bias - of(taught, name)) ** 2))
    assert float(found["feature_loss"]) == pytest.approx(np.mean(distances), rel=1e-4)
    by_hand = 2 * np.abs(error).mean() + 0.5 * (error**2).mean() + 0.7 * np.mean(distances)
    assert float(found["loss"]) == pytest.approx(by_hand, rel=1e-4)
    decibels = [
        peak_signal_noise_ratio(t, np.clip(s, -1, 1), data_range=2) for s, t in zip(ours, theirs, strict=True)
    ]
    assert float(found["psnr"]) == pytest.approx(np.mean(decibels), abs=1e-3)


def test_a_student_with_the_teachers_weights_has_no_loss_and_adapters_begin_by_passing_on():
    taught = teacher()
    same = Distiller(taught, generator_type="resnet", generator_options=SMALL, features=("block1_add",))
    same.generator_a2b.set_weights(taught.get_weights())
    same.compile()
    found = same.test_step({"a": tf.constant(pieces())})
    assert float(found["loss"]) == 0
    assert float(found["feature_loss"]) == 0


@pytest.fixture(scope="module")
def named(tmp_path_factory):
    """A preset with trained weights, of a teacher that does something."""
    model, folder = PairedTranslator("restorer", generator_options={"filters": 4, "blocks": 1}), "teacher"
    disturbed(model.generator_a2b)
    path = tmp_path_factory.mktemp("presets") / folder
    model.save_to_preset(path)
    return str(path), model.generator_a2b


def test_a_named_teacher_is_read_when_it_is_asked_and_saved_with_its_own_preset_alone(named, tmp_path):
    name, network = named
    student = Distiller(name, generator_options={"filters": 2, "blocks": 1, "separable": True})
    alone = student.generator_a2b.count_params()
    assert student.count_params() == alone
    student.compile(keras.optimizers.Adam(1e-2))
    student.fit(tf.data.Dataset.from_tensors({"a": pieces()}).repeat(), steps_per_epoch=2, verbose=0)
    np.testing.assert_allclose(student._taught(tf.constant(pieces()))[0], network(pieces()), atol=1e-6)
    student.save_to_preset(tmp_path / "student")
    student.save(tmp_path / "student.keras")
    for found in (Distiller.from_preset(tmp_path / "student"), keras.models.load_model(tmp_path / "student.keras")):
        assert found.count_params() == student.count_params() == alone
        np.testing.assert_array_equal(found.translate(pieces()), student.translate(pieces()))
        assert found.score([{"a": pieces()}]) == student.score([{"a": pieces()}])


def test_a_named_teacher_that_there_is_not_is_a_sentence(named):
    name, _ = named
    with pytest.raises(UserError, match="There is no preset 'nothing', and no folder of that name with trained"):
        Distiller("nothing").score([{"a": pieces()}])
    with pytest.raises(UserError, match="The teacher 'vae_digits' translates nothing, but 'a2b' was asked for"):
        Distiller("vae_digits").score([{"a": pieces()}])
    with pytest.raises(UserError, match="answers in the directions a2b, but 'b2a' was asked for"):
        Distiller(name, direction="b2a").score([{"a": pieces()}])
    with pytest.raises(UserError, match="features are compared with the teacher's own, but of it only the name"):
        Distiller(name, features=("stem",))
    with pytest.raises(UserError, match="would take 1 channels, but the teacher's pictures have 3"):
        Distiller(name, generator_options={"channels": 1}).score([{"a": pieces()[..., :1]}])


@pytest.mark.parametrize("name", Distiller.presets)
def test_a_students_preset_costs_a_tenth_of_its_teachers(name):
    known, student = presets(), Distiller.presets[name]
    teacher = known[student.config["teacher"]][1]
    assert student.macs <= teacher.macs / 10
    assert student.data == teacher.data


def test_the_student_learns_and_neither_teacher_changes():
    keras.utils.set_random_seed(0)
    taught = teacher()
    student = Distiller(
        taught, generator_type="resnet", generator_options=SMALL | {"separable": True}, features=("stem_relu",)
    )
    assert not student.teacher.trainable_variables
    assert taught.trainable
    before = [student.teacher.get_weights(), taught.get_weights(), student.adapters.get_weights()]
    student.compile(keras.optimizers.Adam(1e-2))
    data = tf.data.Dataset.from_tensors({"a": pieces()}).repeat()
    losses = student.fit(data, steps_per_epoch=10, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    for weights, now in zip(before[:2], (student.teacher.get_weights(), taught.get_weights()), strict=True):
        for one, other in zip(weights, now, strict=True):
            np.testing.assert_array_equal(one, other)
    assert any((one != other).any() for one, other in zip(before[2], student.adapters.get_weights(), strict=True))
    with tf.GradientTape() as tape:
        answer, features = student._taught(tf.constant(pieces()))
        total = tf.reduce_sum(answer) + tf.reduce_sum(features[0])
    assert tape.gradient(total, student.teacher.weights) == [None] * len(student.teacher.weights)


def test_the_discriminator_goes_on_from_the_teachers():
    gan = CycleGAN(16, generator_options=SMALL, discriminator_options={"filters": 4, "downsamplings": 1})
    told = gan.teachers()["b2a"]
    assert told.network is gan.generator_b2a
    assert told.discriminator is gan.discriminator_a
    student = Distiller(
        told.network,
        generator_type=told.generator_type,
        generator_options=told.generator_options,
        discriminator=told.discriminator,
        conditional=told.conditional,
        adversarial_loss=told.adversarial_loss,
        lambda_adversarial=1.0,
        differentiable_augmentation=("translation",),
        direction="b2a",
    )
    for one, other in zip(student.discriminator.weights, gan.discriminator_a.weights, strict=True):
        assert one is not other
        np.testing.assert_array_equal(one, other)
    student.compile()
    found = student.train_step({"a": tf.constant(pieces())})
    ours = gan.discriminator_a(student.generator_a2b(pieces()))
    assert np.isfinite(ours).all()
    assert {"adversarial_loss", "discriminator_loss"} <= found.keys()
    # It is used under the teacher's name.
    assert list(student.translators()) == list(student.teachers()) == ["b2a"]
    assert list(student.networks_to_export()) == ["generator_b2a"]
    assert list(student.example_inputs({"a": pieces()})) == ["generator_b2a"]


def test_a_critic_does_not_go_on():
    gan = CycleGAN(24, generator_options=SMALL, adversarial_loss="wgan_gp", pool_size=0)
    assert gan.teachers()["a2b"].discriminator is None


def test_the_score_is_of_the_teacher_and_of_the_truth():
    taught = disturbed(super_resolver(filters=4, blocks=1))
    student = Distiller(taught, generator_type="super_resolver", generator_options={"filters": 2, "blocks": 1})
    small, large = photo(12, 12), photo(24, 24)
    found = student.score([{"a": small, "b": large}])
    ours, theirs = (np.clip(network(small), -1, 1)[0] for network in (student.generator_a2b, taught))
    assert found["psnr"] == pytest.approx(peak_signal_noise_ratio(theirs, ours, data_range=2), abs=1e-3)
    assert found["l1"] == pytest.approx(np.abs(ours - theirs).mean() / 2, rel=1e-4)
    model = PairedTranslator("super_resolver", generator_a2b=taught)
    assert found["psnr_teacher_truth"] == pytest.approx(model.score([{"a": small, "b": large}])["psnr"])
    # As it is made, the student is bicubic enlargement.
    assert found["psnr_truth"] == pytest.approx(found["psnr_bicubic"], abs=1e-3)
    assert student.score([{"a": small}]).keys() == {"pictures", "psnr", "l1"}


def test_wrong_input_is_a_sentence():
    taught = teacher()
    options = {"generator_type": "resnet", "generator_options": SMALL}
    with pytest.raises(UserError, match="would give 2 channels, but the teacher's pictures have 3"):
        Distiller(taught, generator_type="resnet", generator_options={**SMALL, "out_channels": 2})
    with pytest.raises(UserError, match="features has 'block2_add', but the student has no layer of that name"):
        Distiller(taught, **options, features=("block2_add",))
    judge = patchgan(3, condition_channels=3, filters=4, downsamplings=1)
    with pytest.raises(UserError, match="takes 6 channels, but it would be shown 3"):
        Distiller(taught, **options, discriminator=judge, conditional=False, lambda_adversarial=1.0)
    with pytest.raises(UserError, match="direction is 'ab': choose one of a2b, b2a"):
        Distiller(taught, **options, direction="ab")
    student = Distiller(taught, **options)
    student.compile()
    with pytest.raises(UserError, match=r"make them with kerasgen\.data\.load_inputs"):
        student.test_step({"image": tf.zeros((1, 8, 8, 3))})
    with pytest.raises(UserError, match="channels, but the teacher takes 3"):
        student.test_step({"a": tf.zeros((1, 8, 8, 1))})
    larger = Distiller(super_resolver(2, filters=4), generator_type="super_resolver", generator_options={"scale": 4})
    with pytest.raises(UserError, match=r"The student's pictures are \(32, 32, 3\), but the teacher's are \(16, 16"):
        larger.test_step({"a": tf.zeros((1, 8, 8, 3))})


def test_inputs_are_what_unpaired_training_has():
    one = next(iter(load_inputs("photos", "test", image_size=32, batch_size=3, mode="crop")))
    pair = next(iter(load_unpaired("photos", "photo_dusk", "test", image_size=32, batch_size=3, mode="crop")))
    np.testing.assert_array_equal(one["a"], pair["a"])
    shuffled = load_inputs("photos", image_size=16, batch_size=2, mode="crop", seed=3)
    later = load_inputs("photos", image_size=16, batch_size=2, mode="crop", seed=3, start_step=2)
    np.testing.assert_array_equal(list(shuffled.take(3))[2]["a"], next(iter(later))["a"])
