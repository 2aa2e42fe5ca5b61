"""Generators and discriminators from PyTorch: checkpoints of junyanz/pytorch-CycleGAN-and-pix2pix."""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np

from kerasgen.errors import UserError, require_extra
from kerasgen.networks.patchgan import patchgan, pixel_discriminator
from kerasgen.networks.resnet import resnet_generator
from kerasgen.networks.unet import unet_generator
from kerasgen.untrusted import bounded_weights, read_torch

_ADVICE = "only ResNet and U-Net generators and PatchGANs of pytorch-CycleGAN-and-pix2pix can be imported"


class ImportedNetwork(NamedTuple):
    """What `import_torch` returns.

    Attributes:
        network: ready for `save`, `kerasgen.export.export_model`, or as a part of a `CycleGAN`.
        description: what was recognized, for people.
    """

    network: keras.Model
    description: str


def import_torch(path: str | os.PathLike) -> ImportedNetwork:
    """Read a `.pth` file of resnet_9blocks/6blocks, unet_128/256, n-layer or pixel discriminators.

    Instance and batch norm, files saved from several GPUs (`module.` prefixes) and old ones with running
    statistics of instance norms are read. Pickled code is never run. Dropout holds no weights and is left out.

    Raises:
        UserError: PyTorch is missing, the file is none, or it holds another network; the sentence then names the
            first key that doesn't fit.
    """
    weights = _read(path)
    # Its shapes say how large the network is: no larger than its weights.
    with bounded_weights(sum(value.size for value in weights.values())):
        network, pairs, description = _recognize(weights)
    taken = {}
    for torch_name, variable, axes in pairs:
        if torch_name not in weights:
            raise UserError(f"{path} looks like a {description}, but lacks {torch_name!r}: {_ADVICE}.")
        value = weights[torch_name].transpose(axes)
        if value.shape != tuple(variable.shape):
            raise UserError(
                f"{torch_name!r} in {path} has the shape {weights[torch_name].shape}, which a {description} "
                f"has not: {_ADVICE}."
            )
        taken[torch_name] = (variable, value)
    for torch_name in weights:
        if torch_name not in taken:
            raise UserError(f"{path} looks like a {description}, which has no {torch_name!r}: {_ADVICE}.")
    for variable, value in taken.values():
        variable.assign(value)
    return ImportedNetwork(network, description)


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    require_extra("torch", "Reading .pth files", "torch")
    weights = read_torch(path)
    return _without_bookkeeping({name.removeprefix("module."): array for name, array in weights.items()})


def _without_bookkeeping(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drop step counters, and running statistics of norms without weights: old instance norms, which ignore them."""
    kept = {}
    for name, value in weights.items():
        stem, _, leaf = name.rpartition(".")
        old = leaf in ("running_mean", "running_var") and f"{stem}.weight" not in weights
        if not old and leaf != "num_batches_tracked":
            kept[name] = value
    return kept


Pairs = Iterator[tuple[str, keras.Variable, tuple[int, ...]]]


def _recognize(weights: dict[str, np.ndarray]) -> tuple[keras.Model, Pairs, str]:
    # One-dimensional weights are a norm's scale, which only batch norm has here.
    norm = "batch" if any(n.endswith("running_mean") for n in weights) else "instance"
    for first, build in (
        ("model.10.conv_block.1.weight", _resnet),
        ("model.model.0.weight", _unet),
        ("net.0.weight", _pixel),
        ("model.0.weight", _patchgan),
    ):
        if first in weights:
            return build(weights, norm)
    raise UserError(f"The key {next(iter(weights))!r} belongs to no network known here: {_ADVICE}.")


def _shape(weights: dict[str, np.ndarray], name: str) -> tuple[int, ...]:
    if name not in weights or weights[name].ndim != 4 or not weights[name].size:
        raise UserError(f"The checkpoint has no convolution {name!r}: {_ADVICE}.")
    return weights[name].shape


def _resnet(weights: dict[str, np.ndarray], norm: str) -> tuple[keras.Model, Pairs, str]:
    numbers = [int(m[1]) for n in weights if (m := re.match(r"model\.(\d+)\.conv_block\.1\.weight$", n))]
    blocks, head = len(numbers), 10 + len(numbers) + 7
    filters, channels = _shape(weights, "model.1.weight")[:2]
    out_channels = _shape(weights, f"model.{head}.weight")[0]
    network = resnet_generator(channels, out_channels, filters=filters, blocks=blocks, norm=norm)
    # A dropout layer in the blocks moves what follows by one.
    second = 6 if "model.10.conv_block.6.weight" in weights and "model.10.conv_block.5.weight" not in weights else 5
    if second == 5 and weights.get("model.10.conv_block.5.weight", np.zeros(0)).ndim != 4:
        second = 6
    names = {"stem": "model.1", "down1": "model.4", "down2": "model.7"}
    names |= {"up1": f"model.{10 + blocks}", "up2": f"model.{13 + blocks}", "head": f"model.{head}"}
    layout = [(f"{ours}_conv", theirs) for ours, theirs in names.items()]
    layout += [(f"{ours}_norm", _following(theirs)) for ours, theirs in names.items() if ours != "head"]
    for i in range(1, blocks + 1):
        prefix = f"model.{9 + i}.conv_block."
        for j, index in ((1, 1), (2, second)):
            layout += [(f"block{i}_conv{j}", f"{prefix}{index}"), (f"block{i}_norm{j}", f"{prefix}{index + 1}")]
    return network, _pairs(network, layout), f"ResNet generator of {blocks} blocks with {norm} norm"


def _unet(weights: dict[str, np.ndarray], norm: str) -> tuple[keras.Model, Pairs, str]:
    levels, prefix = 1, "model.model.1."
    while f"{prefix}model.1.weight" in weights:
        levels, prefix = levels + 1, f"{prefix}model.3."
    filters, channels = _shape(weights, "model.model.0.weight")[:2]
    out_channels = _shape(weights, "model.model.3.weight")[1]
    if levels < 2:
        raise UserError(f"The checkpoint has no convolution 'model.model.1.model.1.weight': {_ADVICE}.")
    network = unet_generator(channels, out_channels, filters=filters, downsamplings=levels, norm=norm)
    layout = [("down1_conv", "model.model.0"), ("up1_conv", "model.model.3")]
    prefix = "model.model.1."
    for i in range(2, levels + 1):
        up = 3 if i == levels else 5
        layout += [(f"down{i}_conv", f"{prefix}model.1"), (f"down{i}_norm", f"{prefix}model.2")]
        layout += [(f"up{i}_conv", f"{prefix}model.{up}"), (f"up{i}_norm", f"{prefix}model.{up + 1}")]
        prefix = f"{prefix}model.3."
    return network, _pairs(network, layout), f"U-Net generator of {levels} levels with {norm} norm"


def _patchgan(weights: dict[str, np.ndarray], norm: str) -> tuple[keras.Model, Pairs, str]:
    convolutions = [
        int(m[1]) for n, w in weights.items() if (m := re.match(r"model\.(\d+)\.weight$", n)) and w.ndim == 4
    ]
    levels = len(convolutions) - 2
    filters, channels = _shape(weights, "model.0.weight")[:2]
    if levels < 1:
        raise UserError(f"The checkpoint has no convolution 'model.5.weight': {_ADVICE}.")
    network = patchgan(channels, filters=filters, downsamplings=levels, norm=norm)
    layout = [("conv1", "model.0"), (f"conv{levels + 2}", f"model.{3 * levels + 2}")]
    for i in range(2, levels + 2):
        layout += [(f"conv{i}", f"model.{3 * i - 4}"), (f"norm{i}", f"model.{3 * i - 3}")]
    return network, _pairs(network, layout), f"PatchGAN discriminator of {levels} layers with {norm} norm"


def _pixel(weights: dict[str, np.ndarray], norm: str) -> tuple[keras.Model, Pairs, str]:
    filters, channels = _shape(weights, "net.0.weight")[:2]
    network = pixel_discriminator(channels, filters=filters, norm=norm)
    layout = [("conv1", "net.0"), ("conv2", "net.2"), ("norm2", "net.3"), ("conv3", "net.5")]
    return network, _pairs(network, layout), f"pixel discriminator with {norm} norm"


def _following(name: str) -> str:
    prefix, _, number = name.rpartition(".")
    return f"{prefix}.{int(number) + 1}"


_LEAVES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _pairs(network: keras.Model, layout: list[tuple[str, str]]) -> Pairs:
    """PyTorch's name, our variable, and the axes' order, for every variable of the layers in `layout`."""
    known = {layer.name: layer for layer in network.layers}
    for ours, theirs in layout:
        for variable in known[ours].weights if ours in known else []:
            # Convolutions: out, in, h, w → h, w, in, out; transposed ones: in, out, h, w → h, w, out, in.
            axes = (2, 3, 1, 0) if len(variable.shape) == 4 else (0,)
            yield f"{theirs}.{_LEAVES[variable.name]}", variable, axes
