"""Our artifacts beside those of Keras' own `model.export`, for one generator, in one interleaved run.

    python benchmarks/export.py

The network is the usual one: resnet generator, GroupNormalization(-1) and reflection padding, 0.5 M parameters,
128 x 128 pixels, batch 1, one thread. Ratios carry over to other machines, milliseconds don't.
"""

import os
import statistics
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
import numpy as np
import onnxruntime
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from kerasgen.export import export_model
from kerasgen.layers import InstanceNormalization
from kerasgen.networks import resnet_generator

SIZE, ROUNDS, RUNS = 128, 15, 5


def usual_generator() -> keras.Model:
    """The generator as a Keras user writes it."""

    def usual(layer: keras.Layer) -> keras.Layer:
        if isinstance(layer, InstanceNormalization):
            return layers.GroupNormalization(-1, epsilon=layer.epsilon, scale=False, center=False, name=layer.name)
        return layer

    image = keras.Input((SIZE, SIZE, 3), name="image")
    return keras.models.clone_model(resnet_generator(filters=16, blocks=6), image, clone_function=usual)


def main() -> None:
    keras.utils.set_random_seed(0)
    model = usual_generator()
    picture = np.random.default_rng(0).uniform(-1, 1, (1, SIZE, SIZE, 3)).astype("float32")
    model(picture)
    raw = sum(weight.numpy().nbytes for weight in model.weights)
    print(f"{model.count_params():,} parameters, {raw:,} bytes")
    with tempfile.TemporaryDirectory() as folder:
        ours, keras_own, seconds = {}, {}, {}
        for kind, own in (("saved_model", "tf_saved_model"), ("tflite", "litert"), ("onnx", "onnx")):
            start = time.perf_counter()
            ours[kind] = export_model(model, Path(folder, "ours"), format=kind, inputs=picture).path
            seconds[kind] = time.perf_counter() - start
            keras_own[kind] = Path(folder, f"keras.{kind}")
            model.export(str(keras_own[kind]), format=own, verbose=False)
        for kind in ours:
            sizes = [_bytes(paths[kind]) / raw for paths in (ours, keras_own)]
            times = (
                "" if kind == "saved_model" else _ratio(*(_runner(kind, p[kind], picture) for p in (ours, keras_own)))
            )
            print(f"{kind:12} bytes / weights: ours {sizes[0]:.2f}, Keras {sizes[1]:.2f}; ", end="")
            print(f"export with all checks {seconds[kind]:.1f} s{times}")


def _ratio(first: object, second: object) -> str:
    """Run both in turns, so that a busy moment of the machine falls on both, and compare their medians."""
    times = ([], [])
    for _ in range(ROUNDS):
        for run, taken in zip((first, second), times, strict=True):
            for _ in range(RUNS):
                start = time.perf_counter()
                run()
                taken.append(time.perf_counter() - start)
    a, b = (1000 * statistics.median(taken) for taken in times)
    return f"; ours {a:.2f} ms, Keras {b:.2f} ms, ratio {a / b:.2f}"


def _runner(kind: str, path: Path, picture: np.ndarray) -> object:
    if kind == "onnx":
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, {session.get_inputs()[0].name: picture})
    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], picture.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], picture)
    return interpreter.invoke


def _bytes(path: Path) -> int:
    return sum(f.stat().st_size for f in path.rglob("*") if f.is_file()) if path.is_dir() else path.stat().st_size


if __name__ == "__main__":
    main()
