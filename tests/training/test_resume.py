"""A training that is killed and resumed, again and again, ends to the bit as an undisturbed one."""

import functools
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from kerasgen.export.gate.forks import Fork

# argv: preset, folder, replicas, "resume" or "". One strategy a process; two logical CPUs stand for two devices.
TRAINING = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import tensorflow as tf
preset, folder, replicas, resume = sys.argv[1:]
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * int(replicas))
from kerasgen.commands.train import Options, train
options = Options(strategy="mirrored" if replicas == "2" else "one_device", checkpoint_steps=7, keep=2)
train(preset, folder, epochs=2, batch_size=64, seed=3, resume=bool(resume), options=options)
"""


def start(warm, preset: str, folder: Path, replicas: int, resume: bool = False, warn: bool = False) -> Fork:
    """A training in a process of its own; `said` gives what it printed as errors."""
    command = ["-W", "default" if warn else "ignore", "-c", TRAINING, preset, folder, replicas, "yes" * resume]
    with open(folder.with_suffix(".errors"), "wb") as errors:
        return warm.start(*command, errors=errors, silent=True)


def said(folder: Path) -> str:
    return folder.with_suffix(".errors").read_text()


def finish(process: Fork, folder: Path) -> None:
    assert process.wait() == 0, said(folder)[-3000:]


@pytest.fixture(scope="module")
def undisturbed(warm, tmp_path_factory):
    """Gives the folder of a training that nothing disturbed."""

    @functools.cache
    def trained(preset: str, replicas: int) -> Path:
        folder = tmp_path_factory.mktemp("undisturbed") / preset
        finish(start(warm, preset, folder, replicas), folder)
        return folder

    return trained


def newest(folder: Path) -> int:
    steps = [int(path.stem.removeprefix("step_")) for path in (folder / "checkpoints").glob("step_*.npz")]
    return max(steps, default=0)


def wait_for(process: Fork, folder: Path, step: int) -> None:
    """Return as soon as a checkpoint of `step` or later stands."""
    while newest(folder) < step:
        assert Path(f"/proc/{process.pid}").exists(), said(folder)[-3000:]
        time.sleep(0.005)


def kill_after(process: Fork, folder: Path, step: int, delay: float) -> None:
    """SIGKILL as soon as a checkpoint of `step` or later stands, and `delay` seconds more have passed."""
    wait_for(process, folder, step)
    time.sleep(delay)
    process.kill()
    assert process.wait() == -signal.SIGKILL, said(folder)[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize(("preset", "replicas"), [("vae_digits", 1), ("cyclegan_digits_ink", 2)])
def test_killed_three_times_and_resumed_it_ends_to_the_bit(preset, replicas, warm, undisturbed, tmp_path):
    undisturbed, killed = undisturbed(preset, replicas), tmp_path / "killed"
    total = newest(undisturbed)
    chance = random.Random(f"{preset} {replicas}")
    # Three places in the order in which they come.
    places = sorted(chance.sample(range(1, total - 7), 3))
    for i, place in enumerate(places):
        process = start(warm, preset, killed, replicas, resume=i > 0)
        kill_after(process, killed, place, chance.uniform(0, 0.05))
        assert newest(killed) < total
    finish(start(warm, preset, killed, replicas, resume=True), killed)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (killed, undisturbed)]
    for config in configs:
        del config["git_commit"]  # somebody may edit the clone meanwhile
    assert configs[0] == configs[1]
    assert (killed / "log.csv").read_bytes() == (undisturbed / "log.csv").read_bytes()
    names = sorted(path.name for path in (undisturbed / "checkpoints").iterdir())
    assert sorted(path.name for path in (killed / "checkpoints").iterdir()) == names
    with np.load(undisturbed / "checkpoints" / names[-1]) as a, np.load(killed / "checkpoints" / names[-1]) as b:
        assert a.files == b.files
        # Weights, both optimizers, the pool, the seeds, the metrics; and the header with logs and place.
        for name in a.files:
            np.testing.assert_array_equal(b[name], a[name], err_msg=name)


SMALL = [f"--set={text}" for text in ("latent_dim=2", "filters=[4]", "hidden_units=8", "image_size=8")]
SMALL += ["--batch-size=25", "--checkpoint-steps=5"]  # 60 steps an epoch


@pytest.mark.slow
def test_sigterm_leaves_a_checkpoint_and_meanwhile_nobody_else_trains_there(kerasgen, tmp_path):
    folder = tmp_path / "run"
    command = ["train", "vae_digits", "--output", folder, *SMALL]
    first = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "kerasgen.cli", *command, "--epochs=5"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not newest(folder):
        assert first.poll() is None, first.stderr.read()[-3000:]
        time.sleep(0.005)
    # The first one stands still, so that whatever changes in the folder is the second one's doing.
    first.send_signal(signal.SIGSTOP)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, _, said = kerasgen(*command, "--resume")
    assert code == 2
    assert [line for line in said.splitlines() if line.startswith("Error: ")] == [
        f"Error: {folder} is trained by another process now: wait until it ends, or choose another folder."
    ]
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before

    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGCONT)
    _, said = first.communicate()
    assert first.returncode == 128 + signal.SIGTERM, said[-3000:]
    [sentence] = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert "asked to end (SIGTERM)" in sentence
    assert "go on with the same command and --resume" in sentence
    place = re.search(r"after (?:batch (\d+) of epoch (\d+)|epoch (\d+))", sentence)
    batch, epoch, whole = (int(number or 0) for number in place.groups())
    assert newest(folder) == (60 * whole if whole else 60 * (epoch - 1) + batch) < 5 * 60
    code, _, said = kerasgen(*command, "--resume")
    assert code == 0, said
    assert newest(folder) == 5 * 60
    assert len((folder / "log.csv").read_text().splitlines()) == 1 + 5


FULL_DISK = """
mount -t tmpfs -o size={size} tmpfs {disk}
{python} -m kerasgen.cli train vae_digits --output {disk}/run --epochs 2 --checkpoint-steps 5
code=$?
ls -A {disk}/run/checkpoints
mount -o remount,size=64m {disk}
{python} -m kerasgen.cli train vae_digits --output {disk}/run --epochs 2 --checkpoint-steps 5 --resume || exit 1
ls {disk}/run
exit $code
"""


@pytest.mark.slow
def test_after_a_full_disk_the_training_goes_on(tmp_path):
    """On a real small disk, in a mount namespace of its own."""
    (tmp_path / "disk").mkdir()
    script = FULL_DISK.format(size="3m", disk=tmp_path / "disk", python=f"{sys.executable} -W ignore")
    result = subprocess.run(["unshare", "-rm", "bash", "-c", script], capture_output=True, text=True)
    assert result.returncode == 2, result.stderr[-3000:]
    [sentence] = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert "can't be written (No space left on device)" in sentence
    # Nothing half-written stayed, and the checkpoints from before did.
    lines = result.stdout.splitlines()
    assert not [line for line in lines if ".tmp" in line]
    assert "step_00000005.npz" in lines
    assert "model.keras" in lines


@pytest.mark.slow
def test_a_run_folder_that_is_removed_meanwhile_is_written_anew(warm, undisturbed, tmp_path):
    removed, undisturbed = tmp_path / "removed", undisturbed("vae_digits", 1)
    process = start(warm, "vae_digits", removed, 1, warn=True)
    wait_for(process, removed, 14)
    removed.rename(tmp_path / "gone")  # at once: a checkpoint may be written meanwhile
    shutil.rmtree(tmp_path / "gone")
    finish(process, removed)
    assert f"{removed} was removed during the training" in said(removed)
    for name in (
        "config.json",
        "log.csv",
        "model.keras",
        "curves.png",
        f"checkpoints/step_{newest(undisturbed):08d}.npz",
    ):
        assert (removed / name).is_file()
    # Nothing of what was learned is lost, the logs of the epochs before included.
    assert (removed / "log.csv").read_bytes() == (undisturbed / "log.csv").read_bytes()
