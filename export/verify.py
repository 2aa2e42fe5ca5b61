"""Check a published artifact against its Keras model again, on the user's own inputs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .contract.inputs import check_sizes, network_and_inputs
from .contract.spec import ImageSpec
from .formats.registry import find_format, format_of, signatures_of
from .gate.gate import SIGNATURE, Check, greatest_difference, inspect, psnr
from .publish import read_manifest


@dataclass(frozen=True)
class Comparison:
    """One output of an artifact beside Keras', example by example.

    Attributes:
        name: of the output.
        max_abs, mean_abs: the largest and the mean absolute difference of each example: [n], in levels if the output
            is uint8.
        psnr: of each example in dB: [n]; the peak is 255, or the range of Keras' output.
        ssim: of each picture: [n]; None if the output holds no pictures, or they are smaller than 11 pixels.
        keras, artifact: both outputs, NHWC.
    """

    name: str
    max_abs: np.ndarray
    mean_abs: np.ndarray
    psnr: np.ndarray
    ssim: np.ndarray | None
    keras: np.ndarray
    artifact: np.ndarray

    @property
    def worst(self) -> np.ndarray:
        """The examples, those with the lowest PSNR first."""
        return np.argsort(self.psnr)


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        path: the artifact.
        passed: whether every check passed.
        checks: the checks, each with what was found.
        max_difference: the largest absolute difference from Keras' outputs.
        comparisons: one for each output of `serving_default`; empty if it couldn't be run.
    """

    path: Path
    passed: bool
    checks: list[Check]
    max_difference: float
    comparisons: list[Comparison]


def verify(path: str | os.PathLike, model: Any, inputs: Any = None) -> Report:
    """Run an artifact in a fresh process and compare it with a Keras model.

    Args:
        path: an artifact that `export_model` published.
        model: the Keras model that it should equal.
        inputs: a batch of real inputs as the model takes them; pictures may be uint8 if the artifact takes those. By
            default seeded values.

    Raises:
        UserError: the path is not an artifact, its bytes are not those of its manifest, or an argument doesn't fit.
    """
    path = Path(path)
    format_name, manifest = format_of(path), read_manifest(path)
    image = spec_of(manifest)
    network, arrays = network_and_inputs(model, inputs, image)
    module = find_format(format_name, manifest["variant"], {})
    signatures = signatures_of(module, network, image, {}, manifest["layout"])
    sent = {name: signature.examples(arrays) for name, signature in signatures.items()}
    main = signatures[SIGNATURE]
    check_sizes(main, sent[SIGNATURE])
    inspection = inspect(format_name, manifest["variant"], path, signatures, sent, partly=True)
    expected = main.reference(sent[SIGNATURE])
    return Report(
        path,
        all(check.passed for check in inspection.checks),
        inspection.checks,
        inspection.max_difference,
        [
            _compared(name, main.as_network(value), main.as_network(expected[name]))
            for name, value in inspection.outputs.items()
            if value.shape == expected[name].shape
        ],
    )


def spec_of(manifest: dict) -> ImageSpec | None:
    """Return the `ImageSpec` that an artifact was exported with."""
    described = manifest["image"]
    if described is None:
        return None
    size = None if described["size"] == [None, None] else tuple(described["size"])
    return ImageSpec(size, tuple(described["value_range"]), described["multiple_of"])


def _compared(name: str, found: np.ndarray, expected: np.ndarray) -> Comparison:
    pairs = list(zip(found, expected, strict=True))
    return Comparison(
        name,
        max_abs=np.array([greatest_difference(f, e) for f, e in pairs]),
        mean_abs=np.array([np.abs(f.astype("float64") - e).mean() for f, e in pairs]),
        psnr=np.array([psnr(f, e) for f, e in pairs]),
        ssim=_ssim(found, expected),
        keras=expected,
        artifact=found,
    )


def _ssim(found: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
    import tensorflow as tf

    if expected.ndim != 4 or min(expected.shape[1:3]) < 11:  # SSIM's window
        return None
    peak = 255.0 if expected.dtype == np.uint8 else max(1.0, float(np.ptp(expected)))
    low = 0.0 if expected.dtype == np.uint8 else float(expected.min())
    return tf.image.ssim(found.astype("float32") - low, expected.astype("float32") - low, peak).numpy()
