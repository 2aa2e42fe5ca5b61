"""The VAE against an independent NumPy computation, and as a Keras model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.errors import UserError
from kerasgen.models import VAE
from kerasgen.samplers import PriorSampler


def dataset(digits, batch_size, count=512, **more):
    return tf.data.Dataset.from_tensor_slices({**digits, **more}).take(count).batch(batch_size)


def numpy_kl(mean, log_var):
    return 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var)


def numpy_bernoulli(images, p):
    p = np.clip(p.astype("float64"), 1e-12, 1 - 1e-12)
    return -(images * np.log(p) + (1 - images) * np.log(1 - p)).sum(axis=(1, 2, 3))


def test_evaluation_equals_numpy(small_vae, digits):
    vae = small_vae(beta=0.3)
    vae.compile(optimizer="adam")
    vae.fit(dataset(digits, 64), epochs=2, verbose=0, shuffle=False)
    result = vae.evaluate(dataset(digits, 64), return_dict=True, verbose=0)

    posterior = vae.encode(digits["image"], digits["label"])
    noise = np.stack([tf.random.stateless_normal([4], seed=[20131220, i]).numpy() for i in range(512)])
    z = posterior.mean + np.exp(posterior.log_var / 2) * noise
    reconstruction = numpy_bernoulli(digits["image"], vae.decode(z, digits["label"])).mean()
    kl = numpy_kl(posterior.mean, posterior.log_var)
    np.testing.assert_allclose(result["reconstruction_loss"], reconstruction, rtol=1e-4)
    np.testing.assert_allclose(result["kl_loss"], kl.sum(axis=1).mean(), rtol=1e-4)
    np.testing.assert_allclose(result["elbo"], -reconstruction - kl.sum(axis=1).mean(), rtol=1e-4)
    np.testing.assert_allclose(result["loss"], reconstruction + 0.3 * kl.sum(axis=1).mean(), rtol=1e-4)
    assert result["active_units"] == (posterior.mean.var(axis=0) > 0.01).sum()
    np.testing.assert_allclose(posterior.kl(), kl, rtol=1e-3, atol=1e-5)


def test_evaluation_does_not_depend_on_the_batches(small_vae, digits):
    vae = small_vae(seed=3)
    vae.compile(optimizer="adam")
    results = [vae.evaluate(dataset(digits, n, 500), return_dict=True, verbose=0) for n in (500, 64, 77)]
    for other in results[1:]:
        for name, value in results[0].items():
            np.testing.assert_allclose(other[name], value, rtol=1e-5)


def test_sample_weights_weight_the_mean(small_vae, digits):
    vae = small_vae()
    vae.compile(optimizer="adam")
    weights = np.where(np.arange(512) < 100, 1.0, 0.0).astype("float32")
    weighted = vae.evaluate(dataset(digits, 64, sample_weight=weights), return_dict=True, verbose=0)
    first = vae.evaluate(dataset(digits, 64, 100), return_dict=True, verbose=0)
    np.testing.assert_allclose(weighted["elbo"], first["elbo"], rtol=1e-5)


def test_one_training_step_is_gradient_descent_on_the_elbo(small_vae, digits):
    """The gradient of `train_step` against finite differences of the NumPy objective, along a random direction."""
    keras.utils.set_random_seed(0)
    vae = small_vae(beta=0.7)
    batch = {name: value[:32] for name, value in digits.items()}
    noise_vae = small_vae(beta=0.7)
    noise_vae.set_weights(vae.get_weights())
    noise = keras.ops.convert_to_numpy(
        keras.random.normal((32, 4), dtype="float32", seed=noise_vae.sampling.seed_generator)
    )
    vae.compile(optimizer=keras.optimizers.SGD(1.0))
    before = [w.numpy() for w in vae.trainable_variables]
    vae.train_on_batch(batch)
    gradient = [b - w.numpy() for b, w in zip(before, vae.trainable_variables, strict=True)]

    def objective(step, direction):
        for w, b, d in zip(vae.trainable_variables, before, direction, strict=True):
            w.assign(b + step * d)
        posterior = vae.encode(batch["image"], batch["label"])
        z = posterior.mean + np.exp(posterior.log_var / 2) * noise
        images = vae.decode(z, batch["label"])
        return (
            numpy_bernoulli(batch["image"], images) + 0.7 * numpy_kl(*posterior).astype("float64").sum(axis=1)
        ).mean()

    rng = np.random.default_rng(0)
    direction = [rng.normal(size=b.shape).astype("float32") for b in before]
    slope = (objective(2e-3, direction) - objective(-2e-3, direction)) / 4e-3
    np.testing.assert_allclose(sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True)), slope, rtol=0.02)


@pytest.mark.parametrize("sigma", [0.5, "learned", "optimal"])
def test_gaussian_likelihoods_train(small_vae, digits, sigma):
    vae = small_vae(likelihood="gaussian", sigma=sigma)
    vae.compile(optimizer=keras.optimizers.Adam(1e-2))
    history = vae.fit(dataset(digits, 32), epochs=12, verbose=0, shuffle=False).history
    assert history["loss"][-1] < history["loss"][0]
    result = vae.evaluate(dataset(digits, 64), return_dict=True, verbose=0)
    if sigma == 0.5:
        assert float(vae.log_sigma) == pytest.approx(np.log(0.5))
    else:
        # Both find the spread of the errors that is there, and evaluation uses it.
        error = np.mean((vae.reconstruct(digits["image"], digits["label"]) - digits["image"]) ** 2)
        assert abs(float(vae.log_sigma) - 0.5 * np.log(error)) < 0.3
    assert np.isfinite(result["elbo"])


def test_free_bits_leave_the_divergence_below_them_alone(small_vae, digits):
    vae = small_vae(beta=1.0, free_bits=100.0)
    vae.compile(optimizer=keras.optimizers.SGD(0.01))
    logs = vae.train_on_batch({name: v[:32] for name, v in digits.items()}, return_dict=True)
    # Every dimension is below 100 nats: the objective's KL part is the constant 4 · 100.
    np.testing.assert_allclose(logs["loss"], logs["reconstruction_loss"] + 400, rtol=1e-5)


def test_beta_warms_up(small_vae, digits):
    vae = small_vae(beta=1.0, kl_warmup_steps=4)
    vae.compile(optimizer=keras.optimizers.SGD(1e-6))
    batch = {name: v[:32] for name, v in digits.items()}
    shares = []
    for _ in range(6):
        vae.reset_metrics()
        logs = vae.train_on_batch(batch, return_dict=True)
        shares.append((logs["loss"] - logs["reconstruction_loss"]) / logs["kl_loss"])
    np.testing.assert_allclose(shares, [0, 0.25, 0.5, 0.75, 1, 1], atol=1e-3)


def test_keras_file_round_trip_keeps_weights_and_optimizer(small_vae, digits, tmp_path):
    vae = small_vae(kl_warmup_steps=3)
    vae.compile(optimizer=keras.optimizers.Adam(1e-3))
    vae.fit(dataset(digits, 64), epochs=1, verbose=0, shuffle=False)
    vae.save(tmp_path / "x.keras")
    loaded = keras.models.load_model(tmp_path / "x.keras")
    np.testing.assert_array_equal(vae.generate(5, seed=1), loaded.generate(5, seed=1))
    for a, b in zip(vae.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(a, b)
    # Training goes on alike: the same next step, with the same noise.
    for model in (vae, loaded):
        model.train_on_batch({name: v[:32] for name, v in digits.items()})
    for a, b in zip(vae.variables, loaded.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_own_networks_round_trip(digits, tmp_path):
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Flatten()(image)
    outputs = {n: keras.layers.Dense(3, name=n)(x) for n in ("z_mean", "z_log_var")}
    encoder = keras.Model({"image": image}, outputs)
    z = keras.Input((3,), name="z")
    x = keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64)(z))
    decoder = keras.Model({"z": z}, keras.layers.Activation("sigmoid")(x))
    vae = VAE((8, 8, 1), 3, encoder=encoder, decoder=decoder)
    vae.compile(optimizer="adam")
    vae.fit(digits["image"], batch_size=64, epochs=1, verbose=0)
    vae.save(tmp_path / "own.keras")
    loaded = keras.models.load_model(tmp_path / "own.keras")
    np.testing.assert_array_equal(vae.predict(digits["image"], verbose=0), loaded.predict(digits["image"], verbose=0))


def test_labels_decide_what_is_generated(small_vae, digits):
    keras.utils.set_random_seed(0)
    vae = small_vae(beta=0.2)
    vae.compile(optimizer=keras.optimizers.Adam(5e-3))
    vae.fit(dataset(digits, 32), epochs=30, verbose=0, shuffle=False)
    from sklearn.svm import SVC

    classifier = SVC().fit(digits["image"].reshape(512, -1), digits["label"])
    images = vae.generate(100, labels=3, seed=0).reshape(100, -1)
    assert (classifier.predict(images) == 3).mean() > 0.8
    in_turn = vae.generate(20, seed=0)
    np.testing.assert_array_equal(in_turn, vae.generate(20, labels=np.arange(20) % 10, seed=0))


def test_use(small_vae, digits):
    vae = small_vae(num_classes=None)
    images = digits["image"][:6]
    assert vae.encode(images).mean.shape == (6, 4)
    assert vae.encode(images).sample(seed=0).shape == (6, 4)
    np.testing.assert_allclose(vae.reconstruct(images), vae.decode(vae.encode(images).mode()), rtol=1e-6)
    way = vae.interpolate(images[0], images[1], steps=5)
    np.testing.assert_allclose(way[[0, -1]], vae.reconstruct(images[:2]), atol=1e-5)
    straight = vae.interpolate(images[0], images[1], steps=3, spherical=False)
    middle = vae.decode(vae.encode(images[:2]).mean.mean(axis=0, keepdims=True))
    np.testing.assert_allclose(straight[1:2], middle, atol=1e-5)
    with_prior = vae.generate(4, seed=7, sampler=PriorSampler(latent_dim=4))
    np.testing.assert_array_equal(with_prior, vae.generate(4, seed=7))
    assert not np.array_equal(vae.generate(4, seed=None), vae.generate(4, seed=None))
    assert list(vae.networks_to_export()) == ["decoder", "encoder"]


def test_preview_is_the_same_each_time(small_vae, digits):
    vae = small_vae()
    np.testing.assert_array_equal(vae.preview(4)["generated"], vae.preview(4)["generated"])
    pictures = vae.preview(3, inputs=digits)
    assert {title: p.shape for title, p in pictures.items()} == {
        "original": (3, 8, 8, 1),
        "reconstruction": (3, 8, 8, 1),
    }


def test_attributes_are_shown_in_real_combinations(small_vae, digits):
    labels = np.array([[1, 1], [0, 1], [0, 0]], np.float32)
    vae = small_vae(num_classes=None, num_attributes=2)
    assert vae.previews_inputs
    pictures = vae.preview(3, inputs={"image": digits["image"][:3], "label": labels})
    np.testing.assert_array_equal(pictures["generated"], vae.generate(3, labels=labels, seed=0))
    np.testing.assert_array_equal(vae.generate(2, labels=[1, 1]), vae.generate(2, labels=[[1, 1], [1, 1]]))
    assert not np.allclose(vae.generate(1, labels=[1, 1]), vae.generate(1, labels=[0, 1]))
    with pytest.raises(UserError, match="2 attributes, which come in combinations: give labels"):
        vae.generate(3)
    with pytest.raises(UserError, match="num_classes is 10 and num_attributes is 2: give one"):
        small_vae(num_attributes=2)


def test_mixed_precision_computes_losses_in_float32(digits):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        vae = VAE((8, 8, 1), 4, num_classes=10)
        vae.compile(optimizer="adam")
        logs = vae.train_on_batch({n: v[:32] for n, v in digits.items()}, return_dict=True)
        assert vae.encoder.get_layer("down_0").compute_dtype == "bfloat16"
        assert vae.decoder.output.dtype == "float32"
        assert np.isfinite(logs["loss"])
    finally:
        keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda make, d: VAE.from_preset("vae_digit"), "no preset 'vae_digit'.*vae_digits"),
        (lambda make, d: make(likelihood="poisson"), "choose one of bernoulli, gaussian"),
        (lambda make, d: make(sigma="best"), "learned"),
        (lambda make, d: make(sigma=-1), "above 0"),
        (lambda make, d: make(beta=-1), "beta is -1"),
        (lambda make, d: VAE((10, 10, 1), 2), "divisible by 4"),
        (lambda make, d: VAE((8, 8), 2), "height, width, channels"),
        (lambda make, d: make().generate(0), "n is 0"),
        (lambda make, d: make().generate(3, labels=[1, 2]), "2 labels.*3 images"),
        (lambda make, d: make().generate(3, labels=10), "classes 0 to 9"),
        (lambda make, d: make(num_classes=None).generate(3, labels=1), "unconditional"),
        (lambda make, d: make().decode(np.zeros((2, 5)), [0, 1]), "z has the shape"),
        (lambda make, d: make().encode(d["image"]), "no labels were given"),
        (lambda make, d: make().encode(np.zeros((2, 16, 16, 1)), [0, 1]), "resize them"),
        (lambda make, d: make().encode(d["image"][:2], np.zeros((2, 3))), "labels have the shape"),
    ],
)
def test_mistakes_get_a_sentence(small_vae, digits, call, message):
    with pytest.raises(UserError, match=message):
        call(small_vae, digits)


def test_fit_says_that_labels_or_sizes_are_wrong(small_vae, digits):
    vae = small_vae()
    vae.compile(optimizer="adam")
    with pytest.raises(UserError, match="no labels were given"):
        vae.fit(digits["image"], batch_size=64, verbose=0)
    with pytest.raises(UserError, match="resize them"):
        vae.fit({"image": np.zeros((8, 4, 4, 1), "float32"), "label": np.zeros(8, "int32")}, verbose=0)


def test_a_bernoulli_decoder_must_end_with_a_sigmoid():
    z = keras.Input((2,), name="z")
    decoder = keras.Model({"z": z}, keras.layers.Reshape((8, 8, 1))(keras.layers.Dense(64)(z)))
    with pytest.raises(UserError, match="sigmoid"):
        VAE((8, 8, 1), 2, decoder=decoder)
