"""How a training runs: declared once, for Python and for the command line."""

from dataclasses import dataclass, field
from typing import Any


def _option(default: object, help: str) -> Any:
    """Return a field of a dataclass whose help the command line shows."""
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True)
class Options:
    """How a training runs and what it keeps; what it learns doesn't depend on it, but for rounding.

    `kerasgen train --help` says what each is for; `keep` counts checkpoints, and the best stays beside them.
    """

    strategy: str = _option("auto", "auto, one_device, mirrored or multi_worker (TF_CONFIG).")
    precision: str = _option("float32", "float32, mixed_bfloat16, or mixed_float16 (GPU).")
    jit: bool = _option(False, "Compile the whole step with XLA, on one device or on GPUs.")
    checkpoint_steps: int | None = _option(None, "A checkpoint after so many steps too.")
    keep: int = _option(3, "How many of the newest checkpoints stay.")
    monitor: str | None = _option(None, "Keep the best by it too, such as val_loss; the model's own by default.")
    measure_every: int = _option(1, "Epochs between measurements of an unpaired translation (val_kernel).")
    tensorboard: bool = _option(False, "Write logs for TensorBoard too.")
