"""Each variant of the presets' networks after a short training, on test pictures: the floors of the gate."""

import pytest
import variants

from kerasgen.commands.train import train
from kerasgen.export import available_formats

LEAST = {"float16": 60, "dynamic_int8": 33, "weight_int8": 33, "static_int8": 29}
# As long as fits a test; `benchmarks/variants.py` trains them in full.
EPOCHS = {"vae_digits": 5, "cyclegan_digits_ink": 2, "cyclegan_photo_dusk": 2}


@pytest.mark.slow
@pytest.mark.parametrize("preset", variants.PRESETS)
def test_every_variant_of_a_trained_preset_reaches_its_floor(preset, tmp_path):
    model = train(preset, tmp_path / "run", epochs=EPOCHS[preset]).model
    rows = variants.measure(model, preset, tmp_path)
    print(*rows, sep="\n")
    assert len(rows) == sum(len(names) for names in available_formats().values())
    assert not [row["refused"] for row in rows if "refused" in row]
    for row in rows:
        if row["variant"] == "float32":
            assert row["max_difference"] <= 1e-4
        else:
            assert row["psnr"] >= LEAST[row["variant"]]
