"""The benchmarks beside other libraries: that both sides compute the same, and that a short run prints its table."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import cyclegan_step
import numpy as np
import pytest
import torch
import vae_epoch
from torch import nn

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def filled(modules, layers, mirrored=False):
    """PyTorch's modules with the weights of Keras' layers; a dense one can stand for a 4×4 convolution to a pixel."""
    for module, layer in zip(modules, layers, strict=True):
        kernel = np.array(layer.kernel)
        if isinstance(module, nn.Conv2d) and kernel.ndim == 2:
            kernel = kernel.reshape(4, 4, -1, kernel.shape[-1])
        if mirrored and kernel.ndim == 4:
            kernel = kernel[::-1, ::-1]
        kernel = kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T
        module.weight.data = torch.from_numpy(np.ascontiguousarray(kernel))
        module.bias.data = torch.from_numpy(np.array(layer.bias))
    return modules


def with_weights(network):
    return [layer for layer in network.layers if hasattr(layer, "kernel")]


def test_the_mnist_networks_are_pythaes():
    encoder, decoder = vae_epoch.mnist_networks(16)
    assert round((encoder.count_params() + decoder.count_params()) / 1e6, 1) == 17.2
    rng = np.random.default_rng(0)
    for network in (encoder, decoder):
        network.set_weights([w + rng.uniform(0, 0.01, w.shape).astype("float32") for w in network.get_weights()])

    widths = (1, 128, 256, 512, 1024)
    down = [nn.Conv2d(*pair, 4, 2, padding=1) for pair in itertools.pairwise(widths)]
    convolutions = filled(down, with_weights(encoder)[:4])
    heads = [encoder.get_layer(name) for name in ("z_mean", "z_log_var")]
    mean, log_var = filled([nn.Linear(1024, 16), nn.Linear(1024, 16)], heads)
    norms = [layer for layer in encoder.layers if "batch_norm" in layer.name]
    images = rng.random((2, 28, 28, 1), dtype=np.float32)
    with torch.no_grad():
        x = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
        for convolution, norm in zip(convolutions, norms, strict=True):
            x = normalized(convolution(x), norm)
        expected = {"z_mean": mean(x.flatten(1)), "z_log_var": log_var(x.flatten(1))}
    for name, values in encoder({"image": images}).items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-4)

    up = [
        nn.ConvTranspose2d(1024, 512, 3, 2, padding=1),
        nn.ConvTranspose2d(512, 256, 3, 2, padding=1, output_padding=1),
        nn.ConvTranspose2d(256, 1, 3, 2, padding=1, output_padding=1),
    ]
    first, *convolutions = filled([nn.Linear(16, 16384), *up], with_weights(decoder), mirrored=True)
    norms = [layer for layer in decoder.layers if "batch_norm" in layer.name]
    z = rng.standard_normal((2, 16), dtype=np.float32)
    with torch.no_grad():
        x = first(torch.from_numpy(z)).reshape(2, 4, 4, 1024).permute(0, 3, 1, 2).flip(2, 3)
        for convolution, norm in zip(convolutions, norms, strict=False):
            x = normalized(convolution(x), norm)
        expected = torch.sigmoid(convolutions[-1](x)).flip(2, 3).permute(0, 2, 3, 1)
    np.testing.assert_allclose(decoder({"z": z}), expected, rtol=1e-4, atol=1e-5)


def normalized(x, norm):
    """Batch normalization with the averages of Keras' layer, and ReLU."""
    gamma, beta, mean, variance = (torch.from_numpy(w) for w in norm.get_weights())
    return torch.relu(nn.functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-5))


def test_a_steps_operations_are_those_of_the_published_networks():
    # 49.55 and 3.147 GMAC for the generator and the discriminator at 256 pixels.
    assert cyclegan_step.step_operations(256, 9) == pytest.approx(2e9 * (18 * 49.55 + 16 * 3.147), rel=1e-3)
    assert cyclegan_step.step_operations(256, 9, identity=False) == pytest.approx(2 * 645e9, rel=1e-3)


@pytest.mark.slow
def test_a_short_run_prints_its_table(tmp_path):
    options = ["--size", "32", "--blocks", "1", "--rounds", "1", "--json", tmp_path / "rows.json"]
    command = [sys.executable, BENCHMARKS / "cyclegan_step.py", *options]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads((tmp_path / "rows.json").read_text())
    assert len(found["rows"]) == 4
    assert all(row["side"] in printed and row["seconds"] > 0 and row["peak_gib"] > 0 for row in found["rows"])
    assert found["rows"][0]["ratio"] == 1
