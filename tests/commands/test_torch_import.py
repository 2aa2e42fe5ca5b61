"""Networks and their weights against PyTorch, through a checkpoint file as a user has it."""

import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch_cyclegan import PatchGAN, PixelDiscriminator, ResnetGenerator, UnetGenerator

from kerasgen.commands.torch_import import import_torch
from kerasgen.errors import UserError

CASES = {
    "resnet instance": (lambda: ResnetGenerator(filters=8, blocks=6), 32),
    "resnet batch": (lambda: ResnetGenerator(1, 3, filters=8, blocks=2, norm="batch"), 20),
    "resnet paper": (ResnetGenerator, 32),
    "u-net batch": (lambda: UnetGenerator(filters=4, levels=7), 128),
    "u-net instance": (lambda: UnetGenerator(4, 3, filters=4, levels=8, norm="instance"), 256),
    "patchgan instance": (lambda: PatchGAN(filters=8), 50),
    "patchgan batch, odd size": (lambda: PatchGAN(filters=8, levels=4, norm="batch"), 67),
    "pixel": (lambda: PixelDiscriminator(filters=8, norm="batch"), 9),
}


def give_statistics(module):
    """Running statistics and scales as after a training, so that a test would notice if they were mixed up."""
    for layer in module.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            for tensor in (layer.weight.data, layer.running_var):
                torch.nn.init.uniform_(tensor, 0.5, 1.5)
            for tensor in (layer.bias.data, layer.running_mean):
                torch.nn.init.normal_(tensor, 0, 0.3)
    return module


def save(module, path, change=lambda weights: weights):
    torch.save(change(module.state_dict()), path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_imported_network_equals_pytorch(case, tmp_path):
    build, size = CASES[case]
    torch.manual_seed(0)
    module = give_statistics(build()).eval()
    network, description = import_torch(save(module, tmp_path / "net.pth"))
    assert case.split()[0] in description.lower()
    channels = network.input_shape[-1]
    images = np.random.default_rng(0).uniform(-1, 1, (2, size, size, channels)).astype("float32")
    with torch.no_grad():
        expected = module(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)

    np.testing.assert_allclose(network(images, training=False), expected, atol=1e-4)
    network.save(tmp_path / "net.keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    np.testing.assert_allclose(loaded(images, training=False), expected, atol=1e-4)


def with_old_statistics(weights):
    statistics = {f"model.2.{name}": torch.rand(8) for name in ("running_mean", "running_var")}
    return {**weights, **statistics, "model.2.num_batches_tracked": torch.tensor(3)}


def with_dropout(weights):
    # A dropout layer stands at index 4 of each block, so that the second convolution is number 6.
    return {name.replace("conv_block.5.", "conv_block.6."): value for name, value in weights.items()}


@pytest.mark.parametrize(
    "change",
    [
        with_old_statistics,
        with_dropout,
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
    ],
)
def test_other_ways_of_saving(change, tmp_path):
    module = ResnetGenerator(filters=8, blocks=1)
    plain = import_torch(save(module, tmp_path / "a.pth")).network
    changed = import_torch(save(module, tmp_path / "b.pth", change)).network
    for expected, actual in zip(plain.weights, changed.weights, strict=True):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {**w, "model.99.weight": torch.zeros(3)}, "'model.99.weight'"),
        (lambda w: {k: v for k, v in w.items() if k != "model.4.bias"}, "lacks 'model.4.bias'"),
        (lambda w: {**w, "model.4.weight": torch.zeros(16, 8, 4, 4)}, r"'model.4.weight' .* \(16, 8, 4, 4\)"),
        (lambda w: {"encoder.0.weight": torch.zeros(3)}, "'encoder.0.weight'"),
        (lambda w: {"epoch": 3, **w}, "'epoch'"),
        (lambda w: [1, 2], "list"),
    ],
)
def test_what_does_not_fit_is_named(change, words, tmp_path):
    path = save(ResnetGenerator(filters=8, blocks=1), tmp_path / "net.pth", change)
    with pytest.raises(UserError, match=words):
        import_torch(path)


def test_files_that_are_no_checkpoints(tmp_path):
    with pytest.raises(UserError, match="There is no file"):
        import_torch(tmp_path / "missing.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match="can't be read as a checkpoint"):
        import_torch(tmp_path / "text.pth")


def test_pickled_code_is_not_run(tmp_path):
    torch.save(ResnetGenerator(filters=8, blocks=1), tmp_path / "whole.pth")
    with pytest.raises(UserError, match="state_dict"):
        import_torch(tmp_path / "whole.pth")


@pytest.mark.slow
def test_the_example_writes_a_keras_file(tmp_path):
    path = save(ResnetGenerator(filters=8, blocks=1), tmp_path / "net_G_A.pth")
    example = Path(__file__).parents[2] / "examples" / "import_torch.py"
    command = [sys.executable, str(example), str(path), str(tmp_path / "out.keras")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "ResNet generator of 1 blocks with instance norm" in said
    assert keras.models.load_model(tmp_path / "out.keras").output_shape == (None, None, None, 3)
