"""Each variant of the trained presets' networks, on test pictures: the floors of the gate."""

import pytest
import variants

from kerasgen.export import available_formats
from kerasgen.runs import load_model

LEAST = {"float16": 60, "dynamic_int8": 33, "weight_int8": 33, "static_int8": 29}


@pytest.mark.slow
@pytest.mark.parametrize("preset", variants.PRESETS)
def test_every_variant_of_a_trained_preset_reaches_its_floor(preset, tmp_path):
    model = load_model(preset)
    # The benchmark measures them too, which says nothing of a floor: one preset shows that it runs.
    measured = preset == "vae_digits"
    rows = variants.measure(model, preset, tmp_path) if measured else variants.exported(model, preset, tmp_path)[1]
    print(*rows, sep="\n")
    assert len(rows) == sum(len(names) for names in available_formats().values())
    assert not [row["refused"] for row in rows if "refused" in row]
    for row in rows:
        if row["variant"] == "float32":
            assert row["max_difference"] <= 1e-4
        else:
            assert row["psnr"] >= LEAST[row["variant"]]
