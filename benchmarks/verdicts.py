"""Are the report's verdicts right? Eight trainings made to be sick and four healthy ones, small, each really trained.

python benchmarks/verdicts.py [NAME …]
"""

import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits, load_sample_image

from kerasgen.commands.report import Report
from kerasgen.data import load_registration
from kerasgen.data.sources.domains import Ink
from kerasgen.errors import UserError
from kerasgen.models import VAE, CycleGAN, GenerativeModel, PairedTranslator, Registration
from kerasgen.runs import Health, RunFolder
from kerasgen.training.callbacks import StopOnNaN

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """One training.

    Attributes:
        make: a new model.
        training: by the names that it trains on.
        validation: the same.
        learning_rate: of its recipe.
        epochs: of the whole.
        illness: a kind of reason that the verdict must give; "" for a healthy one.
        idle_discriminator: whether its discriminators' weights stay as they are.
    """

    make: Callable[[], GenerativeModel]
    training: Callable[[], Arrays]
    validation: Callable[[], Arrays]
    learning_rate: float
    epochs: int
    illness: str = ""
    idle_discriminator: bool = False


def _digits(first: int, last: int) -> dict[str, np.ndarray]:
    found = load_digits()
    images = (found.images[first:last, :, :, None] / 16).astype("float32")
    return {"image": images, "label": found.target[first:last].astype("int32")}


def _one(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: np.repeat(values[:1], len(values), axis=0) for name, values in arrays.items()}


def _shuffled(arrays: Arrays) -> dict[str, np.ndarray]:
    return {**arrays, "label": np.random.default_rng(0).permutation(arrays["label"])}


def _with_nan(arrays: Arrays) -> dict[str, np.ndarray]:
    images = arrays["image"].copy()
    images[500, 2, 2] = np.nan
    return {**arrays, "image": images}


def _domains(first: int, last: int) -> dict[str, np.ndarray]:
    """Unpaired digits, and other digits in light ink on dark paper; the truth is for validation."""
    white = np.repeat(_digits(first, last)["image"], 3, axis=-1)
    ink = Ink(ink=(0.95, 0.85, 0.4), paper=(0.1, 0.1, 0.3))(tf.constant(white)).numpy() * 2 - 1
    half = len(white) // 2
    return {"a": white[:half] * 2 - 1, "b": ink[half : 2 * half], "truth_b": ink[:half]}


def _training_domains() -> dict[str, np.ndarray]:
    return {name: values for name, values in _domains(0, 1400).items() if name != "truth_b"}


def _noisy(seed: int, count: int, sign: int = 1) -> dict[str, np.ndarray]:
    """Pieces of a photograph with noise, and without; sign -1 makes the targets negatives."""
    photo, random = load_sample_image("china.jpg").astype("float32") / 127.5 - 1, np.random.default_rng(seed)
    corners = zip(random.integers(0, 400, count), random.integers(0, 600, count), strict=True)
    clean = np.stack([photo[top : top + 16, left : left + 16] for top, left in corners])
    noise = 0.2 * random.standard_normal(clean.shape, dtype=np.float32)
    return {"a": np.clip(clean + noise, -1, 1), "b": sign * clean}


def _warped(split: str, batches: int) -> dict[str, np.ndarray]:
    found = list(load_registration("pictures", split=split, image_size=32, batch_size=32).take(batches))
    return {name: np.concatenate([batch[name] for batch in found]) for name in found[0]}


def _vae(beta: float = 0.2) -> VAE:
    return VAE((8, 8, 1), 6, filters=(16, 32), hidden_units=64, beta=beta, num_classes=10)


def _cyclegan(lambda_cycle: float = 10.0) -> CycleGAN:
    generator = {"filters": 8, "blocks": 1, "downsamplings": 0, "stem_kernel": 3, "norm": "none", "residual": True}
    return CycleGAN(
        8,
        generator_options=generator,
        discriminator_type="pixel",
        discriminator_options={"filters": 16, "norm": "none"},
        lambda_cycle=lambda_cycle,
        lambda_identity=0.0,
    )


def _denoiser() -> PairedTranslator:
    return PairedTranslator("restorer", generator_options={"filters": 16, "blocks": 1})


def _vae_case(illness: str = "", rate: float = 4e-3, beta: float = 0.2, change: Callable = dict) -> Case:
    return Case(lambda: _vae(beta), lambda: change(_digits(0, 1280)), lambda: _digits(1400, 1700), rate, 20, illness)


def _cyclegan_case(illness: str = "", lambda_cycle: float = 10.0, idle: bool = False) -> Case:
    make, validation = lambda: _cyclegan(lambda_cycle), lambda: _domains(1400, 1700)
    return Case(make, _training_domains, validation, 2e-3, 15, illness, idle)


def _denoising_case(illness: str = "", sign: int = 1) -> Case:
    return Case(_denoiser, lambda: _noisy(0, 512, sign), lambda: _noisy(1, 128), 2e-3, 5, illness)


CASES: dict[str, Case] = {
    "learning rate 100 ×": _vae_case("nothing learned", rate=0.4),
    "lambda_cycle 0": _cyclegan_case("a missing loss", lambda_cycle=0.0),
    "beta 50": _vae_case("posterior collapse", beta=50.0),
    "no discriminator step": _cyclegan_case("a discriminator that doesn't learn", idle=True),
    "one training picture": _vae_case("overfitting", change=_one),
    "labels shuffled": _vae_case("labels that say nothing", change=_shuffled),
    "inverted target": _denoising_case("inversion", sign=-1),
    "NaN input": _vae_case("the training has stopped", change=_with_nan),
    "healthy VAE": _vae_case(),
    "healthy CycleGAN": _cyclegan_case(),
    "healthy denoising": _denoising_case(),
    "healthy registration": Case(
        lambda: Registration(filters=(16, 32)), lambda: _warped("train", 24), lambda: _warped("test", 4), 4e-3, 8
    ),
}


def trained(case: Case, folder: Path) -> Health:
    """Train, and return the verdict that the report gave at the end."""
    keras.utils.set_random_seed(0)
    model, arrays = case.make(), dict(case.training())
    training = tf.data.Dataset.from_tensor_slices(arrays).shuffle(2048, seed=0).batch(32)
    validation = tf.data.Dataset.from_tensor_slices(dict(case.validation())).batch(64)
    model.compile_for_recipe(len(training), case.epochs, learning_rate=case.learning_rate)
    if case.idle_discriminator:
        assert isinstance(model, CycleGAN)  # the only one whose discriminators stand still
        model.compile(model.generator_optimizer, keras.optimizers.SGD(0.0))
    report = Report(folder, validation)
    try:
        with report.following():
            options = {"epochs": case.epochs, "callbacks": [StopOnNaN(), report], "verbose": 0}
            model.fit(training, validation_data=validation, **options)
    except UserError:
        assert case.illness  # a healthy one doesn't stop
    health = RunFolder(folder).health()
    assert health is not None  # or the report wasn't written
    return health


def right(case: Case, health: Health) -> bool:
    """Return whether the verdict is the one that the training was made for, for the right reason."""
    if not case.illness:
        return health["state"] == "healthy"
    return health["state"] == "sick" and case.illness in [reason["kind"] for reason in health["reasons"]]


def main() -> None:
    """Train all that are named, or all, and print what the report says of each."""
    names = sys.argv[1:] or list(CASES)
    correct = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            health = trained(CASES[name], Path(folder))
        correct += right(CASES[name], health)
        print(f"{'right' if right(CASES[name], health) else 'WRONG'}  {name}: {health['summary']}", flush=True)
        for reason in health["reasons"]:
            print(f"           {reason['kind']}: {reason['text']}", flush=True)
    print(f"{correct} of {len(names)} verdicts are right.")


if __name__ == "__main__":
    main()
