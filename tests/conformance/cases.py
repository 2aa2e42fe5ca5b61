"""One tiny case for each model, preset and sampler, which the tests beside this file run over."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from kerasgen.models import (
    VAE,
    VQVAE,
    AutoencoderKL,
    CodePrior,
    CycleGAN,
    Distiller,
    GenerativeModel,
    PairedTranslator,
    RectifiedFlow,
    Registration,
)
from kerasgen.models.rectified_flow import Draws

_PLAIN = {"filters": 4, "norm": "none"}


def _pictures(side: int, channels: int, seed: int = 0) -> np.ndarray:
    """Eight pieces of a photograph: float32 [8, side, side, channels] in [0, 1]."""
    from sklearn.datasets import load_sample_image

    photo, random = load_sample_image("china.jpg"), np.random.default_rng(seed)
    corners = zip(random.integers(0, 300, 8), random.integers(0, 500, 8), strict=True)
    pieces = np.stack([photo[top : top + side, left : left + side] for top, left in corners]) / np.float32(255)
    return pieces if channels == 3 else pieces.mean(axis=-1, keepdims=True)


@dataclass(frozen=True)
class ModelCase:
    """A model that trains in seconds.

    Attributes:
        make: a new model; without normalization over a batch, which each replica does for itself.
        data: eight examples as it trains on them, by name.
        still: makes a model train without randomness, of which each replica draws its own.
        measured: what a training moves beside the trainable variables, and replicas must agree on.
    """

    make: Callable[[], GenerativeModel]
    data: Callable[[], Mapping[str, np.ndarray]]
    still: Callable[[GenerativeModel], None] = lambda model: None
    measured: Callable[[GenerativeModel], list[keras.Variable]] = lambda model: []


def _classes() -> dict[str, np.ndarray]:
    return {"image": _pictures(8, 1), "label": np.arange(8, dtype=np.int32) % 3}


def _domains(a: str, b: str) -> dict[str, np.ndarray]:
    return {a: _pictures(16, 3) * 2 - 1, b: _pictures(16, 3, seed=1) * 2 - 1}


def _at_means(model: VAE | AutoencoderKL) -> None:
    # tests/training/test_distribute.py compares what the replicas draw.
    model.sampling = lambda posterior: posterior[0]


def _vq_vae() -> VQVAE:
    """Return one of whose codes some die and begin anew, and whose blocks do something already."""
    options = {"filters": (8,), "patch": 2}
    return _moved(VQVAE(1, codes=16, code_dim=4, architecture_options=options, decay=0.5, restart_below=0.2))


def _map_autoencoder() -> AutoencoderKL:
    """Return one with a discriminator, whose blocks do something already."""
    model = AutoencoderKL(
        1,
        architecture_options={"filters": (8,), "patch": 2},
        kl_weight=1e-3,
        adversarial_weight=0.5,
        adversarial_start=1,
        discriminator_options={**_PLAIN, "downsamplings": 1},
    )
    return _moved(model)


def _moved(model: AutoencoderKL | VQVAE) -> AutoencoderKL | VQVAE:
    """Return a model without weights of 0, where gradients would be nothing but rounding."""
    random = np.random.default_rng(0)
    for network in (model.encoder, model.decoder):
        network.set_weights([weight + random.normal(0, 0.1, weight.shape) for weight in network.get_weights()])
    return model


def _flow() -> RectifiedFlow:
    return _noisy(RectifiedFlow((8, 8, 1), filters=(8, 8), hidden_units=8, num_classes=3, guidance=1.5, steps=2))


def _flow_in_latents() -> RectifiedFlow:
    """Return one whose latents aren't of variance 1 before they are scaled."""
    options = {"filters": (8,), "patch": 2}
    first_stage = _moved(AutoencoderKL(1, latent_channels=2, architecture_options=options))
    first_stage.latent_moments.assign([0.5, 4.25])
    model = RectifiedFlow((8, 8, 1), first_stage=first_stage, filters=(8,), hidden_units=8, num_classes=3, steps=2)
    return _noisy(model)


def _noisy(model: RectifiedFlow) -> RectifiedFlow:
    """Return a flow whose weights aren't 0 anywhere, where gradients would be nothing but rounding."""
    for network in (model.network, model.averaged):
        random = np.random.default_rng(0)
        network.set_weights([random.normal(0, 0.2, weight.shape) for weight in network.get_weights()])
    return model


def _flow_halfway_from_nothing(model: RectifiedFlow) -> None:
    def draws(inputs: dict[str, tf.Tensor]) -> Draws:
        ends = model._places(inputs["image"])
        return Draws(tf.zeros_like(ends), ends, tf.fill([tf.shape(ends)[0], 1], 0.5), {"label": inputs["label"]})

    model.draws = draws


def _distiller() -> Distiller:
    """Return one whose teacher does something: as it is made, it would leave pictures untouched."""
    options = {"filters": 4, "blocks": 1}
    teacher = PairedTranslator("restorer", generator_options=options).generator_a2b
    random = np.random.default_rng(0)
    teacher.set_weights([random.normal(0, 0.1, weight.shape) for weight in teacher.get_weights()])
    return Distiller(
        teacher,
        generator_options={**options, "separable": True},
        discriminator_options={**_PLAIN, "downsamplings": 1},
        features=("block1_add",),
        lambda_adversarial=0.1,
    )


MODELS: dict[type[GenerativeModel], ModelCase] = {
    VAE: ModelCase(lambda: VAE((8, 8, 1), 2, filters=(4,), hidden_units=8, num_classes=3), _classes, _at_means),
    CycleGAN: ModelCase(
        lambda: CycleGAN(
            16,
            generator_options={**_PLAIN, "blocks": 1, "downsamplings": 0, "stem_kernel": 3},
            discriminator_options={**_PLAIN, "downsamplings": 1},
            pool_size=4,
        ),
        lambda: _domains("a", "b"),
    ),
    PairedTranslator: ModelCase(
        lambda: PairedTranslator(
            "restorer",
            generator_options={"filters": 4, "blocks": 1},
            discriminator_options={**_PLAIN, "downsamplings": 1},
            lambda_adversarial=0.1,
        ),
        lambda: _domains("a", "b"),
    ),
    Distiller: ModelCase(_distiller, lambda: _domains("a", "b")),
    RectifiedFlow: ModelCase(_flow, _classes, _flow_halfway_from_nothing),
    AutoencoderKL: ModelCase(_map_autoencoder, _classes, _at_means, lambda model: [model.latent_moments]),
    CodePrior: ModelCase(
        lambda: CodePrior(_vq_vae(), (8, 8, 1), filters=4, blocks=1, kernel=3, num_classes=3, top_k=4), _classes
    ),
    VQVAE: ModelCase(_vq_vae, _classes, measured=lambda model: model.quantizer.variables),
    Registration: ModelCase(lambda: Registration(filters=(4, 4)), lambda: _domains("moving", "fixed")),
}

# A model's other ways to be made, beside its case.
WAYS: dict[str, ModelCase] = {
    "RectifiedFlow in latents": ModelCase(_flow_in_latents, _classes, _flow_halfway_from_nothing),
}
CASES = {model.__name__: case for model, case in MODELS.items()} | WAYS


@dataclass(frozen=True)
class PresetCase:
    """A preset made small.

    Attributes:
        settings: what is set about it; its architecture stays.
        sources: where its data comes from; "PICTURES" and "OTHERS" are folders of 18 pictures. None takes its own.
        extractor: whether the source has a classifier of its own, whose features pictures are compared in.
        exported: whether its first network goes through each format; one preset of each architecture does.
        teacher: the generator of the `PairedTranslator` that a student's preset learns from instead of its own.
        first_stage: a new autoencoder in whose latents the preset works instead of its own.
    """

    settings: Mapping[str, object]
    sources: tuple[str, ...] | None = None
    extractor: bool = False
    exported: bool = True
    teacher: tuple[str, Mapping[str, object]] | None = None
    first_stage: Callable[[], GenerativeModel] | None = None


_VAE = {"image_size": 32, "latent_dim": 4, "filters": [4, 8], "hidden_units": 8, "data.batch_size": 4}
_PAIRS = {"data.image_size": 32, "data.batch_size": 4}
_FOLDER = ("folder:PICTURES",)
_FOLDERS = ("folder:PICTURES", "folder:OTHERS")
_RESNET = {"filters": 4, "blocks": 1}
_TINY = {"image_size": 32, "data.batch_size": 4, "discriminator_options": {"filters": 4}}


def _resnet(blocks: int) -> dict[str, object]:
    return {**_TINY, "generator_options": {"filters": 4, "blocks": blocks}}


def _unet(downsamplings: int) -> dict[str, object]:
    return {**_TINY, "generator_options": {"filters": 4, "downsamplings": downsamplings, "norm": "instance"}}


def _with_known_truth(downsamplings: int, **options: object) -> dict[str, object]:
    generator = {**_PLAIN, "blocks": 1, "downsamplings": 0, "stem_kernel": 3, **options}
    discriminator = {**_PLAIN, "downsamplings": downsamplings}
    return {"generator_options": generator, "discriminator_options": discriminator, "data.batch_size": 125}


PRESETS: dict[str, PresetCase] = {
    "vae_digits": PresetCase(
        {"latent_dim": 4, "filters": [4, 8], "hidden_units": 8, "data.batch_size": 250}, extractor=True
    ),
    "flow_digits": PresetCase(
        {"filters": [8, 8], "hidden_units": 8, "steps": 2, "solver": "euler", "data.batch_size": 250}, extractor=True
    ),
    "flow_emoji_64": PresetCase(
        {
            "image_size": 32,
            "filters": [8, 8],
            "hidden_units": 8,
            "num_attributes": 2,
            "steps": 2,
            "solver": "euler",
            "data.batch_size": 32,
        },
        ("faces_with_attributes",),
        first_stage=lambda: AutoencoderKL(3, architecture_options={"filters": (8, 8), "patch": 2}),
    ),
    "vq_digits": PresetCase(
        {"codes": 16, "code_dim": 4, "architecture_options": {"filters": [8, 8], "patch": 1}, "data.batch_size": 250},
        exported=False,
    ),
    "prior_digits": PresetCase(
        {"filters": 4, "blocks": 1, "kernel": 3, "data.batch_size": 250},
        extractor=True,
        first_stage=lambda: VQVAE(1, codes=4, code_dim=2, architecture_options={"filters": (8, 8), "patch": 2}),
    ),
    "kl_emoji_64": PresetCase({**_PAIRS, "architecture_options": {"filters": [8, 8], "patch": 2}}, _FOLDER),
    "kl_emoji_64_augmented": PresetCase(
        {**_PAIRS, "architecture_options": {"filters": [8, 8], "patch": 2}}, _FOLDER, exported=False
    ),
    "vq_emoji_64": PresetCase(
        {**_PAIRS, "codes": 16, "code_dim": 4, "architecture_options": {"filters": [8], "patch": 2}}, _FOLDER
    ),
    "kl_tiny": PresetCase(
        # TAESD's networks, which no preset has.
        {**_PAIRS, "architecture": "tiny", "architecture_options": {"filters": [4, 4], "blocks": 1}},
        _FOLDER,
        exported=False,
    ),
    "vae_64": PresetCase(_VAE, _FOLDER),
    "label_to_image": PresetCase({**_VAE, "num_attributes": 2}, ("faces_with_attributes",), exported=False),
    "cyclegan_resnet_9": PresetCase(_resnet(3), _FOLDERS, exported=False),
    "cyclegan_resnet_6": PresetCase(_resnet(2), _FOLDERS),
    "cyclegan_unet_256": PresetCase(_unet(4), _FOLDERS, exported=False),
    "cyclegan_unet_128": PresetCase(_unet(3), _FOLDERS),
    "style_transfer": PresetCase({**_resnet(1), "data.batch_size": 32}, ("photos", "photo_dusk"), exported=False),
    "cyclegan_digits_ink": PresetCase(_with_known_truth(2), extractor=True),
    "cyclegan_photo_dusk": PresetCase(_with_known_truth(1, residual=True)),
    "cyclegan_lines_emoji": PresetCase(_unet(4), _FOLDERS, exported=False),
    "super_resolution_x2": PresetCase(
        {**_PAIRS, "generator_options": {"scale": 2, "filters": 4, "blocks": 1}}, _FOLDER
    ),
    "super_resolution_x4": PresetCase(
        {**_PAIRS, "generator_options": {"scale": 4, "filters": 4, "blocks": 1}}, _FOLDER
    ),
    "face_super_resolution": PresetCase(
        {"generator_options": {"scale": 2, "filters": 4, "blocks": 1}}, exported=False
    ),
    "denoising": PresetCase({**_PAIRS, "generator_options": {"filters": 4, "blocks": 1}}, _FOLDER),
    "enhancement": PresetCase({**_PAIRS, "generator_options": {"filters": 4, "blocks": 1, "curve": True}}, _FOLDER),
    "inpainting": PresetCase({**_PAIRS, "generator_options": {"filters": [4, 4]}}, _FOLDER),
    "pix2pix_256": PresetCase(  # a picture is its own answer
        {
            **_PAIRS,
            "data.image_size": 64,
            "generator_options": {"downsamplings": 6, "filters": 4, "norm": "batch_of_one", "dropout": 0.5},
            "discriminator_options": {"norm": "batch_of_one", "filters": 4, "downsamplings": 1},
        },
        ("left:PICTURES", "right:PICTURES"),
    ),
    "sketch_to_emoji": PresetCase(  # without a condition, which a folder has no words for
        {
            **_PAIRS,
            "generator_options": {"filters": [4, 4], "channels": 3},
            "data.condition": [],
            "data.unknown": 0.0,
        },
        ("left:PICTURES", "right:PICTURES"),
    ),
    "sketch_to_emoji_mobile": PresetCase(
        {
            **_PAIRS,
            "generator_options": {"filters": [4, 64], "channels": 3, "separable": True},
            "data.condition": [],
            "data.unknown": 0.0,
        },
        ("left:PICTURES", "right:PICTURES"),
        teacher=("colorizer", {"filters": [4, 4]}),
    ),
    "cyclegan_lines_emoji_mobile": PresetCase(
        {**_PAIRS, "generator_options": {"filters": [4, 64], "separable": True}},
        ("left:PICTURES", "right:PICTURES"),
        exported=False,
        teacher=("unet", {"filters": 4, "downsamplings": 3, "norm": "instance"}),
    ),
    "super_resolution_x2_mobile": PresetCase(
        {**_PAIRS, "generator_options": {"scale": 2, "filters": 4, "blocks": 1, "separable": True}},
        _FOLDER,
        exported=False,
        teacher=("super_resolver", {"scale": 2, "filters": 4, "blocks": 1}),
    ),
    "denoising_mobile": PresetCase(
        {**_PAIRS, "generator_options": {"filters": 4, "blocks": 1, "separable": True}},
        _FOLDER,
        exported=False,
        teacher=("restorer", {"filters": 4, "blocks": 1}),
    ),
    "registration": PresetCase({"filters": [4, 4], "data.image_size": 16, "data.batch_size": 4}, _FOLDER),
    "registration_ncc": PresetCase(
        {"filters": [4, 4], "data.image_size": 16, "data.batch_size": 4}, _FOLDER, exported=False
    ),
}


@dataclass(frozen=True)
class SamplerCase:
    """A sampler made quick: its constructor's arguments."""

    options: Mapping[str, object] = field(default_factory=dict)


SAMPLERS: dict[str, SamplerCase] = {
    "prior": SamplerCase(),
    "posterior": SamplerCase(),
    "class_gaussian": SamplerCase(),
    "gaussian_mixture": SamplerCase(),
    "decision_tree": SamplerCase(),
    "two_stage": SamplerCase({"hidden_units": 8, "epochs": 1, "bound_samples": 4}),
}


def classifier() -> keras.Model:
    """A small classifier of 32×32 color pictures with random weights: its features are compared in."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(8, 3, 2, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((32, 32, 3)), *layers, keras.layers.Dense(2)])
