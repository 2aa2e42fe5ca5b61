"""What the comparisons with PyTorch share: pictures, and weights and gradients in the order of ours."""

import copy

import numpy as np
import torch

from kerasgen.commands.torch_import import import_torch

SIZE = 32


def photographs():
    """Crops of two photographs as the domains: [8, 32, 32, 3] in [-1, 1] each."""
    from sklearn.datasets import load_sample_images

    crops = [
        [photo[i : i + 4 * SIZE : 4, 3 * i : 3 * i + 4 * SIZE : 4] for i in range(0, 160, 20)]
        for photo in load_sample_images().images
    ]
    return [np.stack(domain).astype("float32") / 127.5 - 1 for domain in crops]


def to_torch(images):
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def weights_of(module, tmp_path, **options):
    torch.save(module.state_dict(), tmp_path / "state.pth")
    return [w.numpy() for w in import_torch(tmp_path / "state.pth", **options).network.trainable_variables]


def gradients_of(module, tmp_path, **options):
    holder = copy.deepcopy(module)
    for target, source in zip(holder.parameters(), module.parameters(), strict=True):
        target.data = source.grad.clone()
    return weights_of(holder, tmp_path, **options)


def record_gradients(optimizer, into):
    """Keep what the optimizer is given; eagerly, so that the values can be read."""
    apply = optimizer.apply

    def recording(gradients, variables):
        into.extend(g.numpy() for g in gradients)
        return apply(gradients, variables)

    optimizer.apply = recording
