"""An artifact's process, started anew or forked from one that has imported the runtime: both are the same."""

import contextvars
import os

import keras
import numpy as np
import pytest

from kerasgen.export import available_formats, export_model, imported_once
from kerasgen.export.gate.process import FreshProcess, RuntimeFailure


@pytest.fixture(scope="module")
def network():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, activation="tanh")])


@pytest.fixture(params=["started", "forked"])
def in_a_process(request):
    """Calls a function where its processes are started, or forked; the tests' own block is left for it."""

    def call(function):
        if request.param == "started":
            return function()
        with imported_once():
            return function()

    return lambda function: contextvars.Context().run(call, function)


@pytest.mark.parametrize("format", available_formats())
def test_it_describes_and_computes(in_a_process, network, format, tmp_path):
    path = export_model(network, tmp_path / "net", format).path
    batch = np.random.default_rng(0).standard_normal((1, 4)).astype("float32")

    def asked():
        with FreshProcess(format, path) as first, FreshProcess(format, path, threads=1) as second:
            assert first.description["ours"] == []
            name = next(iter(first.description["signatures"]["serving_default"]["inputs"]))
            given = {name: batch}
            assert len(second.time("serving_default", given, 3)) == 3
            return [next(iter(p.run("serving_default", given).values())) for p in (first, second)]

    for found in in_a_process(asked):
        np.testing.assert_allclose(found, network(batch), atol=1e-5)


def test_what_cannot_be_loaded_is_said(in_a_process, tmp_path):
    (tmp_path / "broken.onnx").write_bytes(b"no model")

    def asked():
        with FreshProcess("onnx", tmp_path / "broken.onnx"):
            pass

    with pytest.raises(RuntimeFailure, match=r"\(exit code 1\)$") as failure:
        in_a_process(asked)
    assert "Error" in str(failure.value)
    assert not failure.value.died


def test_a_crash_is_one_and_the_next_artifact_is_run_all_the_same(in_a_process, network, tmp_path):
    path = export_model(network, tmp_path / "net", "onnx").path

    def asked():
        with FreshProcess("onnx", path) as process:
            number = process._process.pid
            os.kill(number, 11)
            with pytest.raises(RuntimeFailure, match="SIGSEGV") as failure:
                process.run("serving_default", {})
        with FreshProcess("onnx", path) as process:
            return failure.value.died, number, process._process.pid

    died, first, second = in_a_process(asked)
    assert died
    assert first != second
    for number in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)
