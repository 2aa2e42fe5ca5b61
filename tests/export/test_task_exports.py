"""The tasks whose networks no other test exports after a training: each passes verify in each format.

Paired tasks are in tests/models/test_paired.py, registration in tests/models/test_registration.py, CycleGAN's in
tests/conformance.
"""

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from kerasgen.data import load
from kerasgen.export import available_formats, export_model, verify
from kerasgen.models import find

# The presets' own configurations, but for their size.
SMALL = {
    "label_to_image": {"image_shape": (32, 32, 3), "latent_dim": 8, "filters": (8, 16), "hidden_units": 16},
}


def pictures() -> tf.data.Dataset:
    """Real pictures with 40 attributes each, drawn at random."""
    attributes = np.random.default_rng(0).integers(0, 2, (4, 40)).astype("float32")
    dataset = load("pictures", image_size=32, batch_size=4, start_step=0)
    return dataset.map(lambda batch: {"image": batch["image"], "label": attributes})


def trained(task: str) -> tuple[Any, dict[str, Any]]:
    """The model after four steps, and a batch."""
    keras.utils.set_random_seed(0)
    model_class, preset = find(task)
    model, dataset = model_class(**{**preset.config, **SMALL[task]}), pictures()
    model.compile_for_recipe(4, 1)
    model.fit(dataset, steps_per_epoch=4, verbose=0)
    return model, next(iter(dataset))


@pytest.mark.slow
@pytest.mark.parametrize("task", SMALL)
def test_a_tasks_result_exports_and_passes_verify(task, tmp_path):
    model, batch = trained(task)
    inputs, networks = model.example_inputs(batch), model.networks_to_export()
    assert set(networks) <= set(inputs)
    for name, exported in networks.items():
        network = exported.network
        for format in available_formats():
            artifact = export_model(network, tmp_path / name / format, format=format, inputs=inputs[name])
            assert verify(artifact.path, network, inputs=inputs[name]).passed
