"""What an artifact would run is looked at before anything of it is run."""

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper

from kerasgen.export import export_model
from kerasgen.export.formats.saved_model import save
from kerasgen.export.formats.saved_model.operators import foreign_operators
from kerasgen.export.gate.process import ForeignOperators, FreshProcess

X = tf.TensorSpec((None,), tf.float32, name="x")


def saved(path, function) -> None:
    save(path, {"serving_default": tf.function(function, autograph=False).get_concrete_function(x=X)})


def writes(path):
    def served(x):
        with tf.control_dependencies([tf.io.write_file(str(path), "written")]):
            return {"y": tf.identity(x)}

    return served


def nested(path):
    inner = tf.function(writes(path), autograph=False)
    return lambda x: {"y": tf.cond(tf.reduce_any(x > 0), lambda: inner(x=x)["y"], lambda: x)}


def reads(x):
    return {"y": x + tf.strings.to_number(tf.strings.substr(tf.io.read_file("/etc/hostname"), 0, 0), tf.float32)}


def runs_python(x):
    return {"y": tf.ensure_shape(tf.py_function(lambda v: v, [x], tf.float32), (None,))}


def test_a_saved_model_that_writes_files_is_not_run(tmp_path):
    target = tmp_path / "written"
    for i, function in enumerate((writes(target), nested(target))):
        path = tmp_path / f"{i}.saved_model"
        saved(path, function)
        assert "WriteFile" in foreign_operators(path)
        with pytest.raises(ForeignOperators, match="WriteFile"), FreshProcess("saved_model", path) as process:
            process.run("serving_default", {"x": np.ones(1, "float32")})
    assert not target.exists()


@pytest.mark.parametrize(("function", "operator"), [(reads, "ReadFile"), (runs_python, "EagerPyFunc")])
def test_a_saved_model_that_reads_files_or_runs_python_is_named(function, operator, tmp_path):
    saved(tmp_path / "x.saved_model", function)
    assert operator in foreign_operators(tmp_path / "x.saved_model")


def test_a_table_that_is_read_from_an_asset_is_foreign(tmp_path):
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    module = tf.Module()
    initializer = tf.lookup.TextFileInitializer(str(tmp_path / "words.txt"), *_WHOLE_LINES)
    module.table = tf.lookup.StaticHashTable(initializer, -1)
    text = tf.TensorSpec((None,), tf.string, name="text")
    served = tf.function(lambda text: {"y": module.table.lookup(text)}).get_concrete_function(text)
    tf.saved_model.save(module, str(tmp_path / "table"), signatures={"serving_default": served})
    assert {"HashTableV2", "InitializeTableFromTextFileV2"} <= set(foreign_operators(tmp_path / "table"))


_WHOLE_LINES = (
    tf.string,
    tf.lookup.TextFileIndex.WHOLE_LINE,
    tf.int64,
    tf.lookup.TextFileIndex.LINE_NUMBER,
)


def test_another_file_that_a_loader_prefers_is_foreign(tmp_path):
    saved(tmp_path / "x.saved_model", lambda x: {"y": x + 1.0})
    assert foreign_operators(tmp_path / "x.saved_model") == []
    (tmp_path / "x.saved_model" / "saved_model.cpb").write_bytes(b"")
    assert foreign_operators(tmp_path / "x.saved_model") == ["saved_model.cpb"]


def test_our_own_saved_models_only_compute(tmp_path):
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="gelu")(image)
    x = keras.layers.LayerNormalization()(keras.layers.MultiHeadAttention(2, 4)(x, x))
    x = keras.layers.GaussianNoise(0.1)(keras.layers.Resizing(12, 12, antialias=True)(x))
    artifact = export_model(keras.Model(image, x), tmp_path / "net")
    assert foreign_operators(artifact.path) == []


def test_a_foreign_operator_inside_a_branch_of_an_onnx_file_is_found(tmp_path):
    def branch(domain: str) -> onnx.GraphProto:
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        x = helper.make_node("Constant", [], ["c"], value_float=1.0)
        return helper.make_graph([x, helper.make_node("Identity", ["c"], ["y"], domain=domain)], "branch", [], [y])

    chosen = helper.make_node("If", ["b"], ["y"], then_branch=branch("custom"), else_branch=branch(""))
    inputs = [helper.make_tensor_value_info("b", TensorProto.BOOL, [])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph([chosen], "graph", inputs, outputs)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("custom", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), tmp_path / "x.onnx")
    with pytest.raises(ForeignOperators, match="Identity"), FreshProcess("onnx", tmp_path / "x.onnx"):
        pass
