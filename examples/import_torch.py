"""Turn a PyTorch CycleGAN checkpoint into a Keras file: `python import_torch.py net_G_A.pth out.keras`."""

import sys

from kerasgen.commands.torch_import import import_torch
from kerasgen.runs import save_model

checkpoint, output = sys.argv[1:3]
network, description = import_torch(checkpoint)
save_model(network, output)
print(f"{checkpoint} holds a {description}; {output} opens with keras.models.load_model.")
