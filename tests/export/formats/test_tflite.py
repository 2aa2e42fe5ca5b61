"""The form for mobile runtimes: the same numbers, the same weights, one partition in XNNPACK."""

from collections import Counter

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from keras import layers

from kerasgen.export import export_model
from kerasgen.export.contract.signature import model_signature
from kerasgen.export.formats.tflite.rewrite import rewritten
from kerasgen.layers import ReflectionPadding2D
from kerasgen.networks import resnet_generator


def normalized(groups):
    image = keras.Input((12, 10, 8), name="photo")
    inner = keras.Sequential([keras.Input((12, 10, 8)), layers.Conv2D(8, 1), layers.GroupNormalization(groups)])
    x = ReflectionPadding2D(3)(inner(image))
    x = layers.GroupNormalization(groups, scale=False)(x)
    model = keras.Model(image, layers.Conv2D(3, 3, name="result")(x))
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(size=weight.shape))
    return model


def photos(shape, seed=1):
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


@pytest.mark.parametrize("groups", [-1, 1, 4, 8])
def test_norms_and_mirrors_keep_their_output_and_share_their_weights(groups):
    model = normalized(groups)
    signature = model_signature(model)
    clone = rewritten(signature)
    batch = {"photo": photos((3, 12, 10, 8))}
    found, expected = clone.reference(batch)["result"], signature.reference(batch)["result"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert {id(w) for w in clone.model.weights} == {id(w) for w in model.weights}


@pytest.mark.parametrize("padding", [1, 2, 3])
def test_the_mirror_is_numpys(padding):
    image = keras.Input((5, 4, 2), name="photo")
    clone = rewritten(model_signature(keras.Model(image, ReflectionPadding2D(padding, name="wide")(image))))
    batch = photos((2, 5, 4, 2))
    expected = np.pad(batch, [(0, 0), (padding, padding), (padding, padding), (0, 0)], mode="reflect")
    np.testing.assert_array_equal(clone.reference({"photo": batch})["wide"], expected)


def graph_of(path):
    with_delegate = Interpreter(str(path), num_threads=1)
    with_delegate.allocate_tensors()
    partitions = sum(op["op_name"] == "DELEGATE" for op in with_delegate._get_ops_details())
    plain = Interpreter(
        str(path),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    kinds = Counter(op["op_name"] for op in plain._get_ops_details())
    ranks = {len(t["shape"]) for t in plain.get_tensor_details()}
    return partitions, kinds, ranks


def test_the_resnet_generator_is_one_partition(tmp_path):
    model = resnet_generator(filters=4, blocks=2)
    artifact = export_model(model, tmp_path / "net", format="tflite", inputs=photos((2, 32, 32, 3)))
    partitions, kinds, ranks = graph_of(artifact.path)
    assert partitions == 1
    assert "MIRROR_PAD" not in kinds
    assert not any(name.startswith("Flex") for name in kinds)
    assert max(ranks) <= 4


def test_keras_own_group_normalization_is_one_partition_too(tmp_path):
    artifact = export_model(normalized(-1), tmp_path / "net", format="tflite", inputs=photos((2, 12, 10, 8)))
    partitions, kinds, ranks = graph_of(artifact.path)
    assert partitions == 1
    assert "MIRROR_PAD" not in kinds
    assert max(ranks) <= 4


def test_a_vector_of_zeros_stays_zero_by_its_length(tmp_path):
    image = keras.Input((6, 5, 4), name="photo")
    model = keras.Model(image, layers.UnitNormalization(name="unit")(layers.ReLU()(image)))
    batch = photos((1, 6, 5, 4))
    batch[0, 2] = -1
    artifact = export_model(model, tmp_path / "net", format="tflite", inputs=batch)
    assert artifact.parity["max_difference"] <= 1e-6
