"""Strips give what the whole gives: every generator of the zoo, odd sizes, little memory and much."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from kerasgen.errors import UserError
from kerasgen.layers import InstanceNormalization
from kerasgen.networks import conv_decoder, conv_encoder, patchgan, resnet_generator, unet_generator
from kerasgen.networks.inpainting import inpainter
from kerasgen.networks.registration import registration_network, warp
from kerasgen.networks.restoration import restorer, super_resolver
from kerasgen.networks.strips import InMemory, NoPlan, UnknownLayer, execute, make_plan
from kerasgen.networks.strips.rules import Warped

# What each takes must be a multiple of the number.
GENERATORS = {
    "resnet": (lambda: resnet_generator(filters=4, blocks=1), 4),
    "resnet_resize": (lambda: resnet_generator(filters=4, blocks=1, upsampling="resize", residual=True), 4),
    "resnet_batch": (lambda: resnet_generator(1, 3, filters=4, blocks=1, norm="batch"), 4),
    "unet": (lambda: unet_generator(filters=3, downsamplings=4), 16),
    "unet_instance": (lambda: unet_generator(filters=3, downsamplings=4, norm="instance"), 16),
    "super_resolver_2": (lambda: super_resolver(2, filters=4, blocks=1), 1),
    "super_resolver_4": (lambda: super_resolver(4, filters=4, blocks=1), 1),
    "restorer": (lambda: restorer(filters=4, blocks=1), 2),
    "restorer_curve": (lambda: restorer(filters=4, blocks=1, curve=True), 2),
    "inpainter": (lambda: inpainter(filters=(4, 4)), 8),
    "registration": (lambda: registration_network(filters=(4, 4, 4)), 8),
    "patchgan": (lambda: patchgan(filters=4), 1),
}
# Primes, five rows, one strip, 10 to 1 and 1 to 10.
SIZES = [
    (5, 41), (5, 97), (7, 70), (11, 13), (13, 130), (17, 53), (23, 29), (31, 31), (37, 19), (41, 67),
    (43, 5), (47, 11), (53, 101), (59, 61), (67, 7), (71, 37), (83, 43), (97, 59), (130, 13), (151, 47),
]  # fmt: skip


def randomize(network: keras.Model) -> keras.Model:
    """Give every variable random values under which no layer is idle: norms' scales and zero kernels too."""
    random = np.random.default_rng(7)
    for variable in network.variables:
        shape = variable.shape
        if len(shape) > 1:
            # A picture's head is smaller, so that what it adds stays in [-1, 1].
            scale = 0.2 if "head_conv" in variable.path else 1.0
            variable.assign(scale * random.normal(size=shape) / np.sqrt(np.prod(shape[:-1])))
        elif variable.path.endswith(("variance", "gamma")):
            variable.assign(random.uniform(0.5, 1.5, shape))
        elif "seed" not in variable.path:
            variable.assign(random.normal(size=shape) * 0.2)
    return network


def pictures(network: keras.Model, height: int, width: int) -> list[np.ndarray]:
    random = np.random.default_rng(height * 1000 + width)
    found = []
    for tensor in network.inputs:
        # Slow waves and noise, so that statistics differ from strip to strip.
        y, x = np.mgrid[:height, :width] / (height + width)
        waves = np.stack([np.sin((5 + c) * y + 3 * x) for c in range(tensor.shape[-1])], axis=-1)
        found.append((0.6 * waves + random.uniform(-0.4, 0.4, waves.shape)).astype("float32"))
    if network.name == "inpainter":
        found[0][..., 3] = 1.0
        found[0][height // 4 : height // 2, width // 4 : 3 * width // 4, 3] = -1.0
    return found


def whole(network: keras.Model, inputs: list[np.ndarray]) -> list[np.ndarray]:
    given = dict(zip((t.name for t in network.inputs), inputs, strict=True))
    given = {name: array[None] for name, array in given.items()}
    outputs = network(given if isinstance(network.input, dict) else next(iter(given.values())), training=False)
    return [ops.convert_to_numpy(output)[0] for output in keras.tree.flatten(outputs)]


def by_strips(
    network: keras.Model, inputs: list[np.ndarray], strips: int, sparing: bool = False, folder=None
) -> list[np.ndarray]:
    """The outputs by so many strips a pass; `sparing` of memory, most is computed again and maps lie on disk."""
    shapes = [i.shape for i in inputs]
    plan = make_plan(network, shapes, 10**9)
    if sparing:
        plan = make_plan(network, shapes, plan.memory)
    for way in plan.passes:
        way.strips = strips
    if sparing:
        plan.on_disk |= {value for way in plan.passes for value in way.writes if value in plan.last_read}
    results = [np.full(plan.graph.values[n].shape[1:], np.nan, np.float32) for n in plan.graph.outputs]
    execute(plan, [InMemory(i) for i in inputs], [InMemory(result) for result in results], folder)
    return results


def assert_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert np.abs(found - expected).max() <= 1e-5 * max(1.0, np.abs(expected).max())


def different_levels(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """By how many of 255 levels each value of two pictures differs."""
    levels = [np.round((np.clip(p, -1, 1) + 1) * 127.5).astype(int) for p in (found, expected)]
    assert levels[1].std() > 5
    return np.abs(levels[0] - levels[1]).ravel()


def check(network: keras.Model, height: int, width: int, strips: int, sparing: bool) -> np.ndarray:
    """Compare strips with the whole; gives by how many levels the values of its pictures differ."""
    inputs = pictures(network, height, width)
    expected = whole(network, inputs)
    different = [np.zeros(0, int)]
    for found, truth in zip(by_strips(network, inputs, strips, sparing), expected, strict=True):
        assert_equal(found, truth)
        if truth.shape[-1] == 3:
            different.append(different_levels(found, truth))
    return np.concatenate(different)


def assert_same_bytes(different: np.ndarray) -> None:
    """At most one level, in at most one of 10⁴ values; a single small picture may have one."""
    assert different.max(initial=0) <= 1
    assert (different > 0).sum() <= max(1, 1e-4 * different.size)


@pytest.mark.parametrize("name", GENERATORS)
def test_strips_equal_the_whole(name):
    build, multiple = GENERATORS[name]
    height, width = (side + -side % multiple for side in (97, 59))
    sparing = name in ("resnet", "unet", "registration")
    assert_same_bytes(check(randomize(build()), height, width, strips=4, sparing=sparing))


@pytest.mark.slow
@pytest.mark.parametrize("name", GENERATORS)
def test_strips_equal_the_whole_at_twenty_odd_sizes(name):
    build, multiple = GENERATORS[name]
    network = randomize(build())
    least = {"inpainter": 64, "patchgan": 24}.get(name, 5)
    different = []
    for number, sides in enumerate(SIZES):
        height, width = (max(side + -side % multiple, least) for side in sides)
        different.append(check(network, height, width, strips=(1, 2, 3, 7)[number % 4], sparing=number % 2 == 1))
    # Over all of them, because a picture of few values says little of a share of one in 10⁴.
    assert_same_bytes(np.concatenate(different))


def of_layers(*chain) -> keras.Model:
    image = keras.Input((None, None, 3))
    x = image
    for layer in chain:
        x = layer(x)
    return keras.Model(image, x)


def squeezed_and_excited() -> keras.Model:
    image = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, padding="same")(image)
    share = layers.Dense(4, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    largest = layers.Reshape((1, 1, 4))(layers.GlobalMaxPooling2D()(x))
    return keras.Model(image, layers.Multiply()([x, share]) + 0.1 * largest - ops.max(x, axis=(1, 2), keepdims=True))


def nested() -> keras.Model:
    inner = keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(3, 3), InstanceNormalization()])
    image = keras.Input((None, None, 3))
    return keras.Model(image, inner(inner(image)))  # one layer twice


def norm_of_a_small_map() -> keras.Model:
    """Of 41 rows eleven are left, fewer than there are strips, and both are needed."""
    image = keras.Input((None, None, 3))
    small = layers.Conv2D(4, 3, strides=4, padding="same")(image)
    large = layers.Conv2DTranspose(3, 4, strides=4, padding="same")(small)
    normed = InstanceNormalization()(small)
    return keras.Model(image, layers.Concatenate()([layers.UpSampling2D(4)(normed), InstanceNormalization()(large)]))


LAYERS = {
    "dilated": lambda: of_layers(layers.Conv2D(4, 3, dilation_rate=3, padding="same")),
    "stride 3 same": lambda: of_layers(
        layers.Conv2D(4, 5, strides=3, padding="same"), layers.Conv2D(4, 2, strides=3)
    ),
    "stride over kernel": lambda: of_layers(layers.Conv2D(4, 1, strides=2, padding="same")),
    "depthwise": lambda: of_layers(layers.DepthwiseConv2D(4, strides=2, padding="same", depth_multiplier=2)),
    "transposed": lambda: of_layers(
        layers.Conv2DTranspose(4, 5, strides=2, padding="valid"), layers.Conv2DTranspose(4, 2, strides=3)
    ),
    "pooling": lambda: of_layers(
        layers.AveragePooling2D(3, 2, padding="same"), layers.MaxPooling2D(2), layers.AveragePooling2D(5, 1, "same")
    ),
    "bilinear": lambda: of_layers(layers.UpSampling2D((3, 2), interpolation="bilinear")),
    "bicubic": lambda: of_layers(layers.UpSampling2D(2, interpolation="bicubic")),
    "crop and pad": lambda: of_layers(
        layers.Cropping2D(((3, 5), (1, 2))), layers.ZeroPadding2D(((9, 2), (0, 3))), layers.Conv2D(4, 3)
    ),
    "norms": lambda: of_layers(
        layers.Conv2D(8, 3, padding="same"),
        layers.GroupNormalization(2),
        layers.PReLU(shared_axes=[1, 2]),
        layers.LayerNormalization(),
        layers.BatchNormalization(),
        layers.Dropout(0.5),
    ),
    "squeeze and excitation": squeezed_and_excited,
    "nested": nested,
    "norm of a small map": norm_of_a_small_map,
}


@pytest.mark.parametrize("name", LAYERS)
def test_each_kind_of_layer_by_strips_equals_the_whole(name):
    network = randomize(LAYERS[name]())
    for height, width in ((41, 23), (38, 17)):
        inputs = pictures(network, height, width)
        (expected,) = whole(network, inputs)
        for strips in (3, 5, 17):
            (found,) = by_strips(network, inputs, strips)
            assert_equal(found, expected)
            assert expected.std() > 1e-3


def test_moments_keep_their_digits_where_the_mean_is_large():
    network = of_layers(InstanceNormalization())
    image = (1000.0 + np.random.default_rng(0).normal(size=(400, 100, 3))).astype("float32")
    (found,) = by_strips(network, [image], 7)
    exact = image.astype("float64")
    exact = (exact - exact.mean((0, 1))) / np.sqrt(exact.var((0, 1)) + 1e-5)
    assert np.abs(found - exact).max() < 1e-4


def test_an_encoder_and_a_decoder_of_a_vae():
    encoder, decoder = conv_encoder((32, 24, 1), 3, (4, 6), 8, 2), conv_decoder(3, (32, 24, 1), (6, 4), 8, 2)
    image = np.random.default_rng(0).uniform(size=(32, 24, 1)).astype("float32")
    label = np.array([[0.0, 1.0]], "float32")
    given = {"image": InMemory(image), "label": label}
    plan = make_plan(encoder, [tuple(t.shape[1:]) for t in encoder.inputs], 10**6)
    for way in plan.passes:
        way.strips = 4
    found = execute(plan, [given[t.name] for t in encoder.inputs], [None, None])
    out = encoder({"image": image[None], "label": label})
    expected = (
        [out[name] for name in encoder.output_names] if hasattr(encoder, "output_names") else list(out.values())
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    z = np.array([[0.3, -1.0, 2.0]], "float32")
    plan = make_plan(decoder, [tuple(t.shape[1:]) for t in decoder.inputs], 10**6)
    for way in plan.passes:
        way.strips = 4
    result = np.full((32, 24, 1), np.nan, np.float32)
    given = {"z": z, "label": label}
    execute(plan, [given[t.name] for t in decoder.inputs], [InMemory(result)])
    np.testing.assert_allclose(result, decoder(given)[0], atol=1e-5)


@keras.saving.register_keras_serializable(package="test")
class Rotated(layers.Layer):
    def call(self, inputs):
        return ops.flip(inputs, axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape


@pytest.mark.parametrize(
    ("last", "words"),
    [
        (lambda: Rotated(name="turned"), "is a Flip"),
        (lambda: layers.Softmax(axis=1, name="turned"), "works along the axis 1"),
        (lambda: layers.Conv2D(3, 3, name="turned", data_format="channels_first"), "is channels_first"),
    ],
)
def test_a_layer_outside_the_table_is_named(last, words):
    image = keras.Input((3, 8, 8)) if words == "is channels_first" else keras.Input((None, None, 3))
    network = keras.Model(image, last()(image))
    shape = (3, 8, 8) if words == "is channels_first" else (8, 8, 3)
    with pytest.raises(
        UnknownLayer, match=rf"The layer '.*' {words}, which can't be computed strip by strip: shrink"
    ):
        make_plan(network, [shape], 10**9)


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            lambda x: ops.pad(x, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=1.0),
            "The operation 'pad.*' pads by 1.0",
        ),
        (lambda x: x - x[:, :1], "The operation 'subtract.*' repeats the rows of one of its inputs"),
    ],
)
def test_an_operation_whose_rows_need_others_is_named(made, words):
    image = keras.Input((None, None, 3))
    with pytest.raises(UnknownLayer, match=rf"{words}, which can't be computed strip by strip: shrink"):
        make_plan(keras.Model(image, made(image)), [(8, 8, 3)], 10**9)


def test_an_output_that_is_made_of_a_small_tensor_is_refused():
    image = keras.Input((8, 8, 3))
    with pytest.raises(UnknownLayer, match="is a small tensor, reshaped"):
        make_plan(
            keras.Model(image, layers.Reshape((8, 8, 1))(layers.Dense(64)(layers.Flatten()(image)))),
            [(8, 8, 3)],
            10**9,
        )


def test_a_flow_that_leaps_is_followed_a_few_rows_at_a_time():
    """One pixel of a strip asks for a row that is 700 rows away."""
    random = np.random.default_rng(0)
    picture = random.uniform(size=(1, 900, 6, 1)).astype("float32")
    flow = random.normal(size=(1, 10, 6, 2)).astype("float32")
    flow[0, 4, 2, 0] = 700.0
    read = []

    def rows(low, high):
        read.append(high - low)
        return picture[:, low:high]

    found = Warped().run(lambda values: values, [rows, flow], 50, (50, 60), 900)
    whole_flow = np.zeros((1, 900, 6, 2), "float32")
    whole_flow[:, 50:60] = flow
    np.testing.assert_allclose(found, warp(picture, whole_flow)[:, 50:60], atol=1e-6)
    assert len(read) > 1
    assert sum(count > 100 for count in read) == 1


def test_too_little_memory_is_refused_with_what_is_needed():
    network = resnet_generator(filters=8, blocks=1)
    with pytest.raises(NoPlan, match=r"1 MB are too little for a picture of 4000×800 pixels: give \d+ MB at least"):
        make_plan(network, [(800, 4000, 3)], 10**6)


def test_a_plan_takes_no_more_than_it_is_given_and_the_less_the_more_it_keeps_on_disk():
    network = resnet_generator()
    plans = {memory: make_plan(network, [(3000, 4000, 3)], memory * 10**9) for memory in (1, 2, 8, 64)}
    for memory, plan in plans.items():
        assert plan.memory <= memory * 10**9
    assert plans[1].disk > plans[2].disk > 0
    assert plans[64].disk == 0
    assert make_plan(network, [(8400, 12000, 3)], 5 * 10**9).memory <= 5 * 10**9


def test_a_full_disk_is_one_sentence(tmp_path):
    resource = pytest.importorskip("resource")
    network, size = resnet_generator(filters=4, blocks=1), 64
    inputs = pictures(network, size, size)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # a file can't become larger, as on a full disk
    try:
        with pytest.raises(UserError, match=r"A temporary file of .* can't be written to .*: make room there"):
            by_strips(network, inputs, 2, sparing=True, folder=tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
