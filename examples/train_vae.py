"""Train a conditional VAE on real handwritten digits, look at it, and export its decoder.

    python examples/train_vae.py [OUTPUT_FOLDER] [EPOCHS]

To train on your own pictures, use load("folder:PATH", image_size=64) and
VAE.from_preset("vae_64", load_weights=False).
"""

import sys
from pathlib import Path

import keras

from kerasgen.data import load
from kerasgen.drawing import grid, save_png
from kerasgen.export import export_model
from kerasgen.models import VAE
from kerasgen.training.callbacks import ImageGrid, StopOnNaN

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/digits")
epochs = int(sys.argv[2]) if len(sys.argv) > 2 else 50

keras.utils.set_random_seed(0)
training = load("digits", split="train", batch_size=64)
validation = load("digits", split="test", batch_size=64)

vae = VAE.from_preset("vae_digits", load_weights=False)
decay = keras.optimizers.schedules.CosineDecay(2e-3, epochs * len(training))
vae.compile(optimizer=keras.optimizers.Adam(decay))
vae.fit(
    training,
    validation_data=validation,
    epochs=epochs,
    callbacks=[ImageGrid(folder / "pictures"), StopOnNaN()],
)

print(vae.evaluate(validation, return_dict=True))
save_png(folder / "sevens.png", grid(vae.generate(25, labels=7, seed=1)))
vae.save(folder / "vae.keras")
print(export_model(vae.decoder, folder / "decoder", format="tflite"))
