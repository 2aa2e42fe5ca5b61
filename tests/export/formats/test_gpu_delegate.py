"""The whole graph on a GPU delegate, by a Vulkan driver in software: SwiftShader, which comes with Chromium."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from kerasgen.export import export_model
from kerasgen.networks import resnet_generator

CHROMIUM = Path("/usr/lib/chromium")
DRIVER, LOADER = CHROMIUM / "vk_swiftshader_icd.json", CHROMIUM / "libvulkan.so.1"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (DRIVER.exists() and LOADER.exists()),
        reason=f"no Vulkan driver in software at {CHROMIUM}: install the Debian package chromium",
    ),
]


def fully_on_gpu(file, folder):
    """Whether LiteRT's GPU accelerator takes every operator; the CPU may take none."""
    (folder / LOADER.name).unlink(missing_ok=True)
    (folder / LOADER.name).symlink_to(LOADER)  # Chromium's folder itself holds libraries that LiteRT must not load
    result = folder / "result.json"
    result.unlink(missing_ok=True)
    options = ["--use_gpu", "--no_cpu", "--require_full_delegation", "--num_runs", "1", "--warmup_runs", "0"]
    environment = {**os.environ, "VK_ICD_FILENAMES": str(DRIVER), "LD_LIBRARY_PATH": str(folder)}
    options += ["--model", file, "--result_json", result]
    ran = subprocess.run(
        [sys.executable, "-m", "ai_edge_litert.tools.benchmark_litert_model", *options],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    answer = json.loads(result.read_text()) if result.exists() else {"fully_accelerated": False, "accelerators": []}
    print(ran.stderr[-2000:])
    return answer["fully_accelerated"] and answer["accelerators"] == ["GPU"]


def test_the_gpu_takes_the_resnet_generator_whole(tmp_path):
    model = resnet_generator(filters=8, blocks=2)
    pictures = np.random.default_rng(0).uniform(-1, 1, (2, 64, 64, 3)).astype("float32")
    for variant in ("float32", "float16"):
        artifact = export_model(model, tmp_path / "net", "tflite", variant, inputs=pictures)
        assert fully_on_gpu(artifact.path, tmp_path), variant


def test_the_usual_form_is_not_taken_whole(tmp_path):
    """What the rewrite is for, and proof that the test above can fail."""
    image = keras.Input((64, 64, 3), batch_size=1)
    x = layers.Conv2D(8, 3, padding="same")(image)
    model = keras.Model(image, layers.Conv2D(3, 3)(layers.GroupNormalization(-1)(x)))
    model.export(str(tmp_path / "usual"), verbose=False)
    converted = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path / "usual")).convert()
    (tmp_path / "usual.tflite").write_bytes(converted)
    assert not fully_on_gpu(tmp_path / "usual.tflite", tmp_path)
    assert fully_on_gpu(export_model(model, tmp_path / "ours", "tflite").path, tmp_path)
