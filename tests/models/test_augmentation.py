"""Differentiable augmentation against PyTorch's published form, its gradient too, and in each adversarial model."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import torch

from kerasgen.errors import UserError
from kerasgen.models import CycleGAN, PairedTranslator
from kerasgen.models.augmentation import augmented, colored, cut_out, translated

from .parity import photographs, to_torch

KINDS = ("color", "translation", "cutout")


def torch_color(x, draws):
    """The authors' rand_brightness, rand_saturation and rand_contrast; `draws` stand for their torch.rand."""
    x = x + (draws[:, 0].view(-1, 1, 1, 1) - 0.5)
    x_mean = x.mean(dim=1, keepdim=True)
    x = (x - x_mean) * (draws[:, 1].view(-1, 1, 1, 1) * 2) + x_mean
    x_mean = x.mean(dim=[1, 2, 3], keepdim=True)
    return (x - x_mean) * (draws[:, 2].view(-1, 1, 1, 1) + 0.5) + x_mean


def grid(x, rows, columns):
    return torch.meshgrid(torch.arange(len(x)), torch.arange(rows), torch.arange(columns), indexing="ij")


def torch_translation(x, draws, ratio=0.125):
    """Their rand_translation; randint(low, high) is low + floor(draw * (high - low))."""
    shift = [int(size * ratio + 0.5) for size in x.shape[2:]]
    moved = [(-s + torch.floor(draws[:, i] * (2 * s + 1))).long().view(-1, 1, 1) for i, s in enumerate(shift)]
    batch, rows, columns = grid(x, x.size(2), x.size(3))
    rows = torch.clamp(rows + moved[0] + 1, 0, x.size(2) + 1)
    columns = torch.clamp(columns + moved[1] + 1, 0, x.size(3) + 1)
    padded = torch.nn.functional.pad(x, [1, 1, 1, 1, 0, 0, 0, 0])
    return padded.permute(0, 2, 3, 1).contiguous()[batch, rows, columns].permute(0, 3, 1, 2).contiguous()


def torch_cutout(x, draws, ratio=0.5):
    """Their rand_cutout."""
    hole = [int(size * ratio + 0.5) for size in x.shape[2:]]
    counts = [size + (1 - h % 2) for size, h in zip(x.shape[2:], hole, strict=True)]
    offset = [torch.floor(draws[:, i] * count).long().view(-1, 1, 1) for i, count in enumerate(counts)]
    batch, rows, columns = grid(x, *hole)
    rows = torch.clamp(rows + offset[0] - hole[0] // 2, min=0, max=x.size(2) - 1)
    columns = torch.clamp(columns + offset[1] - hole[1] // 2, min=0, max=x.size(3) - 1)
    mask = torch.ones(len(x), x.size(2), x.size(3))
    mask[batch, rows, columns] = 0
    return x * mask.unsqueeze(1)


@pytest.mark.parametrize(
    ("ours", "theirs", "count"),
    [(colored, torch_color, 3), (translated, torch_translation, 2), (cut_out, torch_cutout, 2)],
)
@pytest.mark.parametrize("rows", [32, 27])
def test_each_kind_and_its_gradient_equal_pytorchs(ours, theirs, count, rows):
    random = np.random.default_rng(0)
    images, weights = photographs()[0][:, :rows], random.normal(size=(8, rows, 32, 3)).astype("float32")
    draws = random.uniform(size=(8, count)).astype("float32")
    draws[0], draws[1] = 0.0, np.nextafter(np.float32(1), np.float32(0))
    there = to_torch(images).requires_grad_()
    expected = theirs(there, torch.from_numpy(draws))
    (expected * to_torch(weights)).sum().backward()

    here = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(here)
        found = ours(here, tf.constant(draws))
        total = tf.reduce_sum(found * weights)
    np.testing.assert_allclose(found, expected.detach().numpy().transpose(0, 2, 3, 1), atol=1e-5)
    np.testing.assert_allclose(tape.gradient(total, here), there.grad.numpy().transpose(0, 2, 3, 1), atol=1e-4)


def test_a_condition_moves_with_its_picture():
    images = photographs()[0]
    both = augmented(images, ("translation", "cutout"), [1, 2], condition=images)
    np.testing.assert_array_equal(both[..., :3], both[..., 3:])
    assert np.abs(both[..., 3:] - images).max() > 0
    assert augmented(images, (), [1, 2]) is images


SMALL = {"filters": 4, "norm": "none"}
MODELS = {
    "cyclegan": lambda **options: CycleGAN(
        32, generator_options={**SMALL, "blocks": 1}, discriminator_options={**SMALL, "downsamplings": 2}, **options
    ),
    "pix2pix": lambda **options: PairedTranslator(
        "restorer",
        generator_options={"filters": 4, "blocks": 1},
        discriminator_options={**SMALL, "downsamplings": 2},
        lambda_adversarial=1.0,
        **options,
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_discriminator_is_trained_on_it_and_validated_without(name, tmp_path):
    a, b = (images[:2] for images in photographs())

    def losses(**options):
        keras.utils.set_random_seed(0)
        model = MODELS[name](**options)
        model.compile()
        tested = {n: float(v) for n, v in model.test_step({"a": a, "b": b}).items()}
        model.reset_metrics()
        return model, tested, {n: float(v) for n, v in model.train_step({"a": a, "b": b}).items()}

    (_, plain_test, plain), (_, again_test, again) = losses(), losses(differentiable_augmentation=[])
    assert (plain_test, plain) == (again_test, again)
    model, tested, trained = losses(differentiable_augmentation=list(KINDS), seed=3)
    assert tested == plain_test
    assert trained["discriminator_loss"] != plain["discriminator_loss"]
    assert np.isfinite(list(trained.values())).all()
    again = type(model).from_config(model.get_config())
    assert again.differentiable_augmentation == KINDS


def test_an_unknown_kind_is_said():
    with pytest.raises(UserError, match=r"is \['blur'\]: give a list of some of color, translation, cutout"):
        MODELS["pix2pix"](differentiable_augmentation=["blur"])
    with pytest.raises(UserError, match="is 'color': give a list"):
        MODELS["cyclegan"](differentiable_augmentation="color")
