"""Shared by all tests: quiet TensorFlow, real digits, a VAE small enough to train in a second."""

import gc
import os
import subprocess
import sys
import warnings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def determinism_is_left_as_it_was():
    """`train` makes TensorFlow deterministic; the next test of the process must not depend on that."""
    yield
    config = sys.modules.get("tensorflow.python.framework.config")
    if config is not None and config.is_op_determinism_enabled():
        config.disable_op_determinism()


@pytest.fixture(scope="session", autouse=True)
def runtimes_are_imported_once():
    """As in one command that exports much; `gate/test_process.py` has the other way."""
    from kerasgen.export.gate.forks import imported_once

    with imported_once():
        yield


@pytest.fixture(scope="module", autouse=True)
def garbage_is_looked_for_among_what_is_new():
    """What was imported or kept before isn't walked through again: each conversion to TFLite collects garbage."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def ink_run(tmp_path_factory):
    """The folder of a cyclegan_digits_ink that was trained for an epoch; tests read it."""
    from kerasgen.commands.train import train

    return train("cyclegan_digits_ink", tmp_path_factory.mktemp("runs") / "ink", epochs=1, seed=0).folder


@pytest.fixture(scope="session")
def warm():
    """A `WarmPython`: what `python` runs, without waiting for TensorFlow's import each time."""
    from .warm import warm_python

    with warm_python() as python:
        yield python


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


EARLY = """
import sys
from kerasgen.cli import main
for line in sys.stdin.read().splitlines():
    sys.argv = ["kerasgen", *line.split()]
    try:
        main()
    except SystemExit as stopped:
        assert stopped.code == 2, line
assert "tensorflow" not in sys.modules
"""


@pytest.fixture
def said_early(tmp_path):
    """Runs wrong command lines in a new process; gives what they print. TensorFlow must not be imported for it."""

    def run(lines: list[str]) -> str:
        given = {"input": "\n".join(lines), "capture_output": True, "text": True, "cwd": tmp_path}
        done = subprocess.run([sys.executable, "-c", EARLY], **given)
        assert done.returncode == 0, done.stderr
        return done.stderr

    return run


PEAK = """
import re

def peak_memory():
    # Not getrusage's: that one begins with the peak of the process that started this one.
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1])
"""


@pytest.fixture
def memory_taken():
    """Runs code in a new process; gives the bytes by which its last part raises the process's peak. Linux only."""

    def run(before: str, measured: str, *arguments: str) -> int:
        code = f"{PEAK}\n{before}\nstart = peak_memory()\n{measured}\nprint(peak_memory() - start)"
        command = [sys.executable, "-c", code, *arguments]
        # The code may print too.
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])

    return run
