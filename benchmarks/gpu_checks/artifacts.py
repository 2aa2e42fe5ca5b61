"""A SavedModel and an ONNX file run on the GPU, against Keras on the CPU."""

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import onnxruntime
import tensorflow as tf

from gpu_checks import models
from gpu_checks.sizes import Sizes
from gpu_checks.steps import require_gpu
from kerasgen.export import export_model

MOST_DIFFERENCE = 1e-3  # of pictures in [-1, 1]


def reference_artifacts(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Export CycleGAN's generator and write what Keras makes of a picture; runs where no GPU is visible."""
    network = models.made("cyclegan", sizes).generator_a2b
    picture = models.batch("cyclegan", sizes)["a"]
    np.savez(folder / "translated.npz", picture=picture, expected=network(picture).numpy())
    network.save(folder / "generator.keras")
    for form in ("saved_model", "onnx"):
        artifact = export_model(network, folder / "generator", form, inputs=picture)
        artifact.path.rename(folder / form)
        yield {form: {"bytes": artifact.bytes, "max_difference": artifact.parity["max_difference"]}}


def artifacts(sizes: Sizes, folder: Path) -> Iterator[dict[str, object]]:
    """Largest differences from Keras on the CPU; then the same export with the GPU in sight, through its gate.

    Passed if both artifacts and Keras itself are within 1e-3.
    """
    require_gpu(sizes)
    with np.load(folder / "translated.npz") as file:
        picture, expected = file["picture"], file["expected"]
    network = keras.models.load_model(folder / "generator.keras")
    served = tf.saved_model.load(str(folder / "saved_model")).signatures["serving_default"]
    [name] = served.structured_input_signature[1]
    [found] = served(**{name: tf.constant(picture)}).values()
    rows = {"keras": network(picture).numpy(), "saved_model": found.numpy()}
    differences = {form: float(np.abs(values - expected).max()) for form, values in rows.items()}
    yield {"differences": dict(differences)}
    found, provider = onnx_output(folder / "onnx", picture)
    differences["onnx"] = float(np.abs(found - expected).max())
    yield {"onnx difference": differences["onnx"], "onnx provider": provider}
    for form in ("saved_model", "onnx"):
        artifact = export_model(network, folder / "here", form, inputs=picture)
        yield {f"exported here, {form}": artifact.parity["max_difference"]}
    yield {"passed": all(difference <= MOST_DIFFERENCE for difference in differences.values())}


def onnx_output(path: Path, picture: np.ndarray) -> tuple[np.ndarray, str]:
    """What ONNX Runtime makes of a picture, and by which provider: CUDA's where there is one, without TF32."""
    wanted = [("CUDAExecutionProvider", {"use_tf32": 0}), ("CPUExecutionProvider", {})]
    present = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(path, providers=[known for known in wanted if known[0] in present])
    [output] = session.run(None, {session.get_inputs()[0].name: picture})
    return output, session.get_providers()[0]
