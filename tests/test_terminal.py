"""What people see in a terminal: tables at 80 columns, help, suggestions, errors of others cut to what helps."""

import zipfile
from pathlib import Path

import keras
import pytest

from kerasgen import __version__
from kerasgen.errors import UserError
from kerasgen.untrusted import load_keras


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def measured(name: str):
    from kerasgen.export import Measurement

    return Measurement(Path(name), "tflite", "dynamic_int8", 140_000, 3.1415, 2.71, 1.41, 1.73, 1234, 1, 0.0123)


def test_benchmarks_fit_a_terminal(capsys):
    from kerasgen.tables import print_benchmark, print_measurements

    names = ["generator_a2b.dynamic_int8.tflite", "a_generator_with_a_very_long_name_indeed_a2b.static_int8.onnx"]
    print_benchmark([measured(name) for name in names])
    print_measurements([measured(names[0])])
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "…" not in said
    for text in (*names, "Load", "First", "Median", "1 thread", "1234 in 1", "1.2e-02", "0.14"):
        assert text in said
    assert said.count(names[0]) == 2


def test_evaluations_of_all_samplers_fit_a_terminal(capsys):
    from kerasgen.samplers import SAMPLERS
    from kerasgen.tables import print_report

    row = {"frechet": 12.34567, "conditional_accuracy": 0.98765}
    print_report({"pictures": dict.fromkeys(["real", *SAMPLERS], row)})
    said = capsys.readouterr().out
    assert all(len(line) <= 80 for line in said.splitlines())
    assert "…" not in said
    assert said.count("12.35") == 1 + len(SAMPLERS)


def test_one_epoch_is_one(capsys):
    from kerasgen.tables import print_last

    print_last({"loss": [1.0]})
    print_last({"loss": [1.0, 0.5]})
    said = capsys.readouterr().out
    assert "After 1 epoch " in said
    assert "After 2 epochs " in said


def test_version(kerasgen):
    assert kerasgen("--version") == (0, f"kerasgen {__version__}\n", "")


def test_switches_take_nothing(kerasgen):
    _, said, _ = kerasgen("train", "--help")
    assert "<bool>" not in said
    assert "<str>" not in said.partition("Options")[2]
    assert "--resume" in said


@pytest.mark.parametrize(
    ("source", "wanted"),
    [
        ("{}/drawings", "did you mean folder:{}/drawings?"),
        ("fodler:{}/drawings", "did you mean folder:{}/drawings?"),
        ("folder:{}/drawing", "did you mean {}/drawings?"),
    ],
)
def test_suggestions_fit(tmp_path, source, wanted):
    from kerasgen.data import load

    (tmp_path / "drawings").mkdir()
    with pytest.raises(UserError) as error:
        load(source.format(tmp_path))
    assert wanted.format(tmp_path) in str(error.value)


def own_layer() -> type[keras.layers.Layer]:
    """A layer that no registry knows."""

    class Doubling(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    return Doubling


@pytest.mark.parametrize(
    ("layer", "wanted"),
    [
        (lambda: own_layer()(), "'Doubling' is not registered here: import what defines it"),
        (lambda: keras.layers.Lambda(lambda x: x * 2), "its Lambda layer is code"),
    ],
)
def test_what_keras_says_at_length_is_a_clause(tmp_path, layer, wanted):
    inputs = keras.Input((4,))
    keras.Model(inputs, layer()(inputs)).save(tmp_path / "model.keras")
    with pytest.raises(UserError) as error:
        load_keras(tmp_path / "model.keras")
    assert wanted in str(error.value)
    assert "config" not in str(error.value)


def test_a_truncated_file_is_said_to_be_damaged(tmp_path):
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(tmp_path / "model.keras")
    content = (tmp_path / "model.keras").read_bytes()
    assert zipfile.is_zipfile(tmp_path / "model.keras")
    (tmp_path / "model.keras").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="damaged, or not all of it is there"):
        load_keras(tmp_path / "model.keras")


def test_export_goes_on_after_a_failure(tmp_path, kerasgen):
    """Weights that 16 bits can't hold: float16 is refused and named, float32 stands."""
    numbers = keras.Input((4,))
    large = keras.layers.Dense(4, kernel_initializer=keras.initializers.Constant(1e6), use_bias=False)(numbers)
    small = keras.layers.Dense(2, kernel_initializer=keras.initializers.Constant(1e-6), use_bias=False)(large)
    keras.Model(numbers, small).save(tmp_path / "model.keras")
    options = ["--output", tmp_path / "out", "--format", "onnx", "--variant", "float16,float32"]
    code, said, errors = kerasgen("export", tmp_path / "model.keras", *options)
    assert code == 1
    assert (tmp_path / "out" / "model.onnx").exists()
    assert not (tmp_path / "out" / "model.float16.onnx").exists()
    assert "model.onnx" in said
    assert "Error: model as onnx in float16 failed: " in errors
    assert "1 of 2 artifacts stand." in errors


@pytest.mark.slow
def test_next_steps(tmp_path, kerasgen):
    code, said, _ = kerasgen("train", "vae_digits", "--output", tmp_path / "my run", "--epochs", 1)
    assert code == 0
    assert "epoch 1/1" in said  # no terminal here: a line an epoch
    assert f"kerasgen generate '{tmp_path}/my run' --output" in said
    assert f"kerasgen export '{tmp_path}/my run' --output saved_models/'my run'" in said
