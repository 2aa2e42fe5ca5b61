"""Networks and their weights against PyTorch, through a checkpoint file as a user has it."""

import argparse
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from torch import nn
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


def with_affine_norms(module):
    """Each instance norm with a scale and an offset as after a training."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.InstanceNorm2d):
            affine = nn.InstanceNorm2d(layer.num_features, affine=True)
            nn.init.uniform_(affine.weight, 0.5, 1.5)
            nn.init.normal_(affine.bias, 0, 0.3)
            parent, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(parent), leaf, affine)
    return module


def with_spectral_norms(module, normed):
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            normed(layer)
    module.train()
    module(torch.randn(1, 3, 64, 64))  # its vectors turn to the largest singular value
    return module


OTHERS = {
    "affine resnet": lambda: with_affine_norms(ResnetGenerator(filters=4, blocks=2)),
    "affine u-net": lambda: with_affine_norms(UnetGenerator(filters=4, levels=5, norm="instance")),
    "affine patchgan": lambda: with_affine_norms(PatchGAN(filters=4)),
    "old spectral norm": lambda: with_spectral_norms(PatchGAN(filters=4), nn.utils.spectral_norm),
    "new spectral norm": lambda: with_spectral_norms(PatchGAN(filters=4), nn.utils.parametrizations.spectral_norm),
    "spectral norm of transposed ones": lambda: with_spectral_norms(
        UnetGenerator(filters=4, levels=5), nn.utils.spectral_norm
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_other_norms_equal_pytorch(case, tmp_path):
    torch.manual_seed(0)
    module = OTHERS[case]().eval()
    network = import_torch(save(module, tmp_path / "net.pth")).network
    images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    with torch.no_grad():
        expected = module(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    np.testing.assert_allclose(network(images, training=False), expected, atol=1e-4)


@pytest.mark.parametrize(
    "build", [lambda: UnetGenerator(filters=4, levels=5), lambda: PatchGAN(norm="batch", filters=4)]
)
def test_batch_statistics_are_each_pictures_own(build, tmp_path):
    torch.manual_seed(0)
    module = give_statistics(build()).train()  # as the project's test script leaves it
    network = import_torch(save(module, tmp_path / "net.pth"), batch_statistics=True).network
    images = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    with torch.no_grad():
        singly = [module(torch.from_numpy(image[None].transpose(0, 3, 1, 2))) for image in images]
    np.testing.assert_allclose(network(images), torch.cat(singly).numpy().transpose(0, 2, 3, 1), atol=1e-4)
    with pytest.raises(UserError, match="has no batch norm"):
        import_torch(save(PatchGAN(filters=4), tmp_path / "other.pth"), batch_statistics=True)


def test_one_of_several_networks_is_chosen(tmp_path):
    nets = {"netG.": ResnetGenerator(filters=4, blocks=1), "netD.": PatchGAN(filters=4)}
    joined = {prefix + name: w for prefix, net in nets.items() for name, w in net.state_dict().items()}
    torch.save({"state_dict": joined, "epoch": 3}, tmp_path / "net.ckpt")
    with pytest.raises(UserError, match=r"the networks 'state_dict\.netG', 'state_dict\.netD': choose one"):
        import_torch(tmp_path / "net.ckpt")
    with pytest.raises(UserError, match="choose one"):
        import_torch(tmp_path / "net.ckpt", "other")
    assert "PatchGAN" in import_torch(tmp_path / "net.ckpt", "state_dict.netD").description


def test_a_network_that_is_named_wholly_is_the_one(tmp_path):
    """Beside another whose name begins alike, and a best score that is still infinite."""
    nets = {name: ResnetGenerator(filters=4, blocks=1).state_dict() for name in ("netG", "netG_ema")}
    torch.save({**nets, "best_fid": torch.tensor(float("inf"))}, tmp_path / "net.pth")
    for name, weights in nets.items():
        torch.save(weights, tmp_path / "alone.pth")
        expected = import_torch(tmp_path / "alone.pth").network.get_weights()
        for one, other in zip(import_torch(tmp_path / "net.pth", name).network.get_weights(), expected, strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(UserError, match="choose one"):
        import_torch(tmp_path / "net.pth", "net")


def test_the_command_says_which_statistics(kerasgen, tmp_path):
    path = save(PatchGAN(filters=4, norm="batch"), tmp_path / "net.pth")
    code, _, errors = kerasgen("import-torch", path, "--output", tmp_path / "net")
    assert code == 2
    assert "give a file that ends in .keras" in errors
    code, said, _ = kerasgen("import-torch", path, "--output", tmp_path / "net.keras")
    assert code == 0
    assert "--batch-statistics" in said
    code, said, _ = kerasgen("import-torch", path, "--output", tmp_path / "net.keras", "--batch-statistics")
    assert code == 0
    assert "--batch-statistics" not in said


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
        lambda weights: {"state_dict": {f"netG.module.{n}": w for n, w in weights.items()}, "epoch": 3, "lr": [1.0]},
        lambda weights: {"generator": weights, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
        lambda weights: {"epoch": 3, **weights},
        lambda weights: {"state_dict": weights, "opt": argparse.Namespace(lr=1, gpu_ids=[0])},
        lambda weights: {"netG": weights, "best": np.float64(0.5), "step": np.int64(3), "done": np.bool_(True)},
        lambda weights: {"netG": weights, "history": {"names": np.array(["a"]), "any": np.array([{}])}},
        lambda weights: {name: value.numpy() for name, value in weights.items()},
        lambda weights: {name: np.asfortranarray(value.numpy().astype(">f8")) for name, value in weights.items()},
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
        (lambda w: {"epoch": 3, "names": {"a": "b"}}, "no tensors by name"),
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


@pytest.mark.parametrize("new", [True, False])
def test_the_class_that_is_not_read_is_named(new, tmp_path):
    content = {"state_dict": PatchGAN(filters=4).state_dict(), "path": Path("/x")}
    torch.save(content, tmp_path / "net.pth", _use_new_zipfile_serialization=new)
    with pytest.raises(UserError, match=r"it holds pathlib\.PosixPath, which may run code\): save a state_dict"):
        import_torch(tmp_path / "net.pth")


def test_safetensors_are_named(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    (tmp_path / "net.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(UserError, match=r"safetensors\): load it with safetensors\.torch\.load_file"):
        import_torch(tmp_path / "net.safetensors")


@pytest.mark.slow
def test_the_example_writes_a_keras_file(tmp_path):
    path = save(ResnetGenerator(filters=8, blocks=1), tmp_path / "net_G_A.pth")
    example = Path(__file__).parents[2] / "examples" / "import_torch.py"
    command = [sys.executable, str(example), str(path), str(tmp_path / "out.keras")]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "ResNet generator of 1 blocks with instance norm" in said
    assert keras.models.load_model(tmp_path / "out.keras").output_shape == (None, None, None, 3)
