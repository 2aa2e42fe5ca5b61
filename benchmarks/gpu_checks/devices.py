"""Which devices, versions and CUDA libraries there are."""

import ctypes
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from gpu_checks.sizes import Sizes

_PACKAGES = ("tensorflow", "keras", "numpy", "torch", "onnx", "onnxruntime", "onnxruntime-gpu")
# What TensorFlow 2.21 opens; without one of the first eight it sees no GPU.
LIBRARIES = (
    "libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcudnn.so.9", "libcufft.so.11", "libcusolver.so.11",
    "libcusparse.so.12", "libcupti.so.12", "libnccl.so.2",
)  # fmt: skip


def devices(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """What the driver says, which libraries open, and what TensorFlow sees; passed if it sees a GPU where it must."""
    yield {"driver": _driver(), "versions": {"python": sys.version.split()[0], **_versions()}}
    import tensorflow as tf

    seen = tf.config.list_physical_devices("GPU")
    details = [dict(tf.config.experimental.get_device_details(device)) for device in seen]
    # After TensorFlow, which also finds those that are installed as packages beside it.
    yield {"libraries": {name: _opened(name) for name in LIBRARIES}}
    build = tf.sysconfig.get_build_info()
    yield {
        "gpus": [
            {"name": device.name, **{k: str(v) for k, v in more.items()}}
            for device, more in zip(seen, details, strict=True)
        ],
        "built for": {name: build.get(name) for name in ("cuda_version", "cudnn_version")},
        "passed": bool(seen) or not sizes.needs_gpu,
    }


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=20).stdout.strip()
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"nvidia-smi can't be run: {error}"


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _opened(name: str) -> str:
    try:
        ctypes.CDLL(name)
    except OSError as error:
        return str(error)
    return "opens"
