"""Shared by all tests: quiet TensorFlow, real digits, a VAE small enough to train in a second."""

import os
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


@pytest.fixture(scope="session")
def digits() -> dict[str, np.ndarray]:
    """512 real handwritten digits: {"image": [512, 8, 8, 1] in [0, 1], "label": [512]}."""
    from sklearn.datasets import load_digits

    data = load_digits()
    images = (data.images[:512, :, :, None] / 16).astype("float32")
    return {"image": images, "label": data.target[:512].astype("int32")}


@pytest.fixture
def small_vae():
    """Makes a VAE of 8×8 digits; keyword arguments go to the constructor."""
    from kerasgen.models import VAE

    def make(**options) -> VAE:
        defaults = {"latent_dim": 4, "filters": (8, 8), "hidden_units": 16, "num_classes": 10}
        return VAE((8, 8, 1), **{**defaults, **options})

    return make


@pytest.fixture
def kerasgen(monkeypatch, capfd):
    """Runs a command as the installed one does; gives (exit code, standard output, standard error)."""
    from kerasgen import cli

    def run(*arguments) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["kerasgen", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        with warnings.catch_warnings():
            warnings.simplefilter("default")  # as in a user's Python; main() sets how they are shown
            with pytest.raises(SystemExit) as stopped:
                cli.main()
        return stopped.value.code, *capfd.readouterr()

    return run
