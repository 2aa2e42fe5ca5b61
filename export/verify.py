"""Check a published artifact against its Keras model again."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._formats import format_of
from ._gate import Check, inspect
from ._publish import read_manifest
from ._signature import network_and_inputs


@dataclass(frozen=True)
class Report:
    """What `verify` found.

    Attributes:
        path: the artifact.
        passed: whether every check passed.
        checks: the checks, each with what was found.
        max_difference: the largest absolute difference from Keras' outputs.
    """

    path: Path
    passed: bool
    checks: list[Check]
    max_difference: float


def verify(path: str | os.PathLike, model: Any, inputs: Any = None) -> Report:
    """Run an artifact in a fresh process and compare it with a Keras model.

    Args:
        path: an artifact that `export_model` published.
        model: the Keras model that it should equal.
        inputs: a batch of real inputs; by default seeded values.

    Raises:
        UserError: the path is no artifact, its bytes are not those of its manifest, or an argument doesn't fit.
    """
    path = Path(path)
    format_name = format_of(path)
    variant = read_manifest(path)["variant"]
    network, arrays = network_and_inputs(model, inputs)
    inspection = inspect(format_name, variant, path, network, arrays)
    passed = all(check.passed for check in inspection.checks)
    return Report(path, passed, inspection.checks, inspection.max_difference)
