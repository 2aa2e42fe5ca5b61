"""The user's keras.json: its backend is kept, and a layout that these networks don't have is refused."""

import json
import os
import subprocess
import sys

import pytest

PRINT_BACKEND = "import kerasgen, kerasgen.networks, keras; print(keras.backend.backend())"


def run(folder, config, code):
    (folder / "keras.json").write_text(json.dumps(config))
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    options = {"capture_output": True, "text": True, "check": True}
    return subprocess.run(command, env={**environment, "KERAS_HOME": str(folder)}, **options).stdout.strip()


@pytest.mark.parametrize(("config", "backend"), [({"backend": "torch"}, "torch"), ({}, "tensorflow")])
def test_the_backend_is_the_users(config, backend, tmp_path):
    assert run(tmp_path, config, PRINT_BACKEND) == backend


@pytest.mark.slow
def test_another_layout_is_refused_by_every_network(tmp_path):
    code = """
from kerasgen.errors import UserError
from kerasgen.networks import *
from kerasgen.networks.inpainting import inpainter
from kerasgen.networks.registration import registration_network
from kerasgen.networks.restoration import restorer, super_resolver
conv = (lambda: conv_encoder((8, 8, 1), 2), lambda: conv_decoder(2, (8, 8, 1)))
others = (patchgan, pixel_discriminator, resnet_generator, unet_generator, inpainter, registration_network)
for build in (*conv, *others, restorer, super_resolver):
    try:
        build()
    except UserError as error:
        assert "image_data_format is 'channels_first'" in str(error)
        print("refused")
"""
    config = {"image_data_format": "channels_first", "backend": "torch"}
    assert run(tmp_path, config, code).split() == ["refused"] * 10
