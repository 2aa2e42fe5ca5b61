"""Train a CycleGAN on two folders of pictures, such as horses and zebras; no pair is needed.

    python examples/train_cyclegan.py FOLDER_A FOLDER_B [OUTPUT_FOLDER] [EPOCHS] [IMAGE_SIZE]

The paper's setting is 200 epochs at 256 pixels with 9 residual blocks; 6 blocks are its choice below that.
"""

import sys
from pathlib import Path

import keras

from kerasgen.commands.translate import translate_folder
from kerasgen.data import load_unpaired
from kerasgen.models import CycleGAN
from kerasgen.training.callbacks import ImageGrid, StopOnNaN

folder_a, folder_b = sys.argv[1:3]
folder = Path(sys.argv[3] if len(sys.argv) > 3 else "runs/cyclegan")
epochs = int(sys.argv[4]) if len(sys.argv) > 4 else 200
image_size = int(sys.argv[5]) if len(sys.argv) > 5 else 256

keras.utils.set_random_seed(0)
sources = (f"folder:{folder_a}", f"folder:{folder_b}")
training = load_unpaired(*sources, split="train", image_size=image_size)
validation = load_unpaired(*sources, split="test", image_size=image_size)

gan = CycleGAN.from_preset(
    "cyclegan_resnet_9" if image_size >= 256 else "cyclegan_resnet_6", load_weights=False, image_size=image_size
)
gan.compile_for_recipe(len(training), epochs)  # Adam, whose learning rate falls to 0 in the second half
pictures = ImageGrid(folder / "pictures", inputs=next(iter(validation)))
gan.fit(training, validation_data=validation, epochs=epochs, shuffle=False, callbacks=[pictures, StopOnNaN()])

gan.save(folder / "cyclegan.keras")
translate_folder(gan, folder_a, folder / "a2b", "a2b")
translate_folder(gan, folder_b, folder / "b2a", "b2a")
