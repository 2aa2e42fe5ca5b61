"""Generators and discriminators from PyTorch: checkpoints of junyanz/pytorch-CycleGAN-and-pix2pix."""

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

import keras
import numpy as np

from kerasgen.commands.torch_checkpoint import read_torch
from kerasgen.errors import UserError, require_extra
from kerasgen.networks.patchgan import patchgan, pixel_discriminator
from kerasgen.networks.resnet import resnet_generator
from kerasgen.networks.unet import unet_generator
from kerasgen.untrusted import bounded_weights

_MOST_TENSORS = 1000  # of one network: a ResNet of 9 blocks has 48
_ADVICE = "only ResNet and U-Net generators and PatchGANs of pytorch-CycleGAN-and-pix2pix can be imported"


class ImportedNetwork(NamedTuple):
    """What `import_torch` returns.

    Attributes:
        network: ready for `save`, `kerasgen.export.export_model`, or as a part of a `CycleGAN`.
        description: what was recognized, for people.
    """

    network: keras.Model
    description: str


def import_torch(
    path: str | os.PathLike, network: str | None = None, batch_statistics: bool = False
) -> ImportedNetwork:
    """Read a `.pth` file of resnet_9blocks/6blocks, unet_128/256, n-layer or pixel discriminators.

    Instance norm (affine too) and batch norm, spectral norm (which is folded into the weights), old files with
    running statistics of instance norms, and weights that are nested in others or have a prefix (`state_dict`,
    `netG.module.`) are read. Pickled code is never run. Dropout holds no weights and is left out.

    Args:
        path: of the file.
        network: which one of several in the file: the beginning of its keys, such as "netG".
        batch_statistics: whether batch norms take each picture's own statistics at test too, as the project's test
            script does by default, instead of the averages of the training.

    Raises:
        UserError: PyTorch is missing, the file is none, it holds no such network or several, none has batch norm
            where its statistics are asked for, or a key doesn't fit; the sentence then names the first.
    """
    if network is not None and not isinstance(network, str):
        raise UserError(f"network is {network!r}: give the beginning of its keys, such as 'netG'.")
    weights = _chosen(_read(path), path, network)
    if len(weights) > _MOST_TENSORS:
        raise UserError(f"A network in {path} has {len(weights):,} tensors, more than {_MOST_TENSORS:,}: {_ADVICE}.")
    # Its shapes say how large the network is: no larger than its weights.
    with bounded_weights(sum(value.size for value in weights.values())):
        built, pairs, description = _recognize(weights, batch_statistics)
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
        unused = batch_statistics and torch_name.endswith((".running_mean", ".running_var"))
        if torch_name not in taken and not unused:
            raise UserError(f"{path} looks like a {description}, which has no {torch_name!r}: {_ADVICE}.")
    for variable, value in taken.values():
        variable.assign(value)
    return ImportedNetwork(built, description)


def averages_statistics(network: keras.Model) -> bool:
    """Tell whether a network has batch norms, which take the averages of a training at test."""
    return any(isinstance(layer, keras.layers.BatchNormalization) for layer in network.layers)


def _read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    require_extra("torch", "Reading .pth files", "torch")
    return _without_bookkeeping(_folded(read_torch(path)))


def _folded(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Divide each weight with a spectral norm by the norm that a PyTorch network at test divides it by."""
    folded = dict(weights)
    for original, left, right in (
        ("weight_orig", "weight_u", "weight_v"),
        ("parametrizations.weight.original", "parametrizations.weight.0._u", "parametrizations.weight.0._v"),
    ):
        for name in [name for name in weights if name.endswith(f".{original}")]:
            stem = name.removesuffix(original)
            if not {stem + left, stem + right} <= weights.keys():
                continue  # whose key is then named as unknown
            norm = _spectral_norm(weights[name], weights[stem + left], weights[stem + right])
            for leaf in (original, left, right):
                del folded[stem + leaf]
            folded[f"{stem}weight"] = weights[name] / np.float32(norm)
    return folded


def _spectral_norm(weight: np.ndarray, left: np.ndarray, right: np.ndarray) -> float:
    """Return the weight as a matrix times the two vectors that approximate its largest singular value."""
    # A convolution's rows are its outputs, axis 0; a transposed one's are axis 1. Where both have one length, the
    # vectors fit the matrix that they were made for, and no other: its product is the larger.
    norms = [0.0]
    for axis in range(min(2, weight.ndim)):
        matrix = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype("float64")
        if matrix.shape == (left.size, right.size):
            norms.append(float(left.ravel() @ matrix @ right.ravel()))
    if not max(norms) > 0:
        raise UserError(f"A spectral norm of the checkpoint doesn't fit its weight {weight.shape}: {_ADVICE}.")
    return max(norms)


def _without_bookkeeping(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Drop step counters, and running statistics of norms without weights: old instance norms, which ignore them."""
    kept = {}
    for name, value in weights.items():
        stem, _, leaf = name.rpartition(".")
        old = leaf in ("running_mean", "running_var") and f"{stem}.weight" not in weights
        if not old and leaf != "num_batches_tracked":
            kept[name] = value
    return kept


def _chosen(weights: dict[str, np.ndarray], path: str | os.PathLike, network: str | None) -> dict[str, np.ndarray]:
    """Return the weights of one network of the file, without what stands before their names."""
    found = dict.fromkeys(prefix for name in weights if (prefix := _prefix(name, weights)) is not None)
    exact = [prefix for prefix in found if network is not None and prefix.rstrip(".") == network.rstrip(".")]
    wanted = exact or [prefix for prefix in found if network is None or prefix.startswith(network)]
    if len(wanted) == 1:
        (prefix,) = wanted
        # Without a prefix, all that is in the file belongs to the network.
        return {name[len(prefix) :]: value for name, value in weights.items() if name.startswith(prefix)}
    if network is not None or len(wanted) > 1:
        names = ", ".join(repr(prefix.rstrip(".")) for prefix in found) or "none"
        raise UserError(f"{path} holds the networks {names}: choose one by the beginning of its name (--network).")
    raise UserError(f"The key {next(iter(weights))!r} belongs to no network known here: {_ADVICE}.")


def _prefix(name: str, weights: dict[str, np.ndarray]) -> str | None:
    """Return what stands before a name that is the first of a network's; None for any other name."""
    for first, *_ in _KINDS:
        if name == first or name.endswith(f".{first}"):
            prefix = name.removesuffix(first)
            # A PatchGAN called "model" begins as a U-Net does, and has no second level within the first.
            if first != _UNET or f"{prefix}model.model.1.model.1.weight" in weights:
                return prefix
    return None


Pairs = Iterator[tuple[str, keras.Variable, tuple[int, ...]]]


def _recognize(weights: dict[str, np.ndarray], batch_statistics: bool) -> tuple[keras.Model, Pairs, str]:
    build, norms = next((build, norms) for first, build, norms in _KINDS if first in weights)
    return build(weights, _norm(weights, norms, batch_statistics))


def _norm(weights: dict[str, np.ndarray], places: tuple[str, ...], batch_statistics: bool) -> str:
    if any(name.endswith("running_mean") for name in weights):
        return "batch_of_one" if batch_statistics else "batch"
    if batch_statistics:
        raise UserError("The network has no batch norm: leave --batch-statistics out.")
    return "affine_instance" if any(f"{place}.weight" in weights for place in places) else "instance"


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


_UNET = "model.model.0.weight"
# By the first key of each, with where the first norm can be; a U-Net's first key ends like a PatchGAN's.
_KINDS = (
    ("model.10.conv_block.1.weight", _resnet, ("model.2",)),
    (_UNET, _unet, ("model.model.1.model.2", "model.model.1.model.4")),
    ("net.0.weight", _pixel, ("net.3",)),
    ("model.0.weight", _patchgan, ("model.3",)),
)


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
