"""The notebooks run from the first cell to the last, with tiny settings."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "examples" / "notebooks").glob("*.ipynb"))
# In place of the cell that is tagged "parameters".
TINY = {"4_export_and_verify": 'FORMATS = (("onnx", "float32"), ("tflite", "dynamic_int8"))'}


def code_of(path: Path) -> str:
    cells = [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
    assert sum("parameters" in cell["metadata"]["tags"] for cell in cells if "tags" in cell["metadata"]) == 1
    source = [
        TINY.get(path.stem, "EPOCHS = 1")
        if "parameters" in cell["metadata"].get("tags", ())
        else "".join(cell["source"])
        for cell in cells
    ]
    return "\n\n".join(source)


def test_there_are_five_without_outputs():
    assert len(NOTEBOOKS) == 5
    for path in NOTEBOOKS:
        for cell in json.loads(path.read_text())["cells"]:
            assert not cell.get("outputs"), f"{path.name} holds outputs: clear them before you commit"


@pytest.mark.slow
def test_they_run(tmp_path):
    """In one process, which imports TensorFlow once, each in a namespace of its own."""
    code = "\n".join(f"exec({code_of(path)!r}, {{'__name__': {path.stem!r}}})" for path in NOTEBOOKS)
    (tmp_path / "all.py").write_text(code)
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    result = subprocess.run([sys.executable, "all.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr[-2000:]
    for name in ("cyclegan.keras", "autoencoder.keras", "saved_models/digits.onnx"):
        assert (tmp_path / name).exists()
