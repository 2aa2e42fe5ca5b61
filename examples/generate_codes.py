"""Make pictures with an exported code prior, without Keras: a loop over the places of a map, in ONNX Runtime.

    kerasgen export runs/prior --output codes --format onnx
    python generate_codes.py codes pictures 8x8 16 7

The arguments are the exports' folder, the folder for pictures, the size of the map of codes, how many pictures, and
the class of all of them (leave it out for a prior that knows none). The noise is that of `prior.generate(n, label)`
with the seed 0, temperature 1 and all codes, and so are the pictures.
"""

import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import onnxruntime
from PIL import Image

exports, output, size, count = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
height, width = map(int, size.split("x"))
row_step, place_step, decoder = (
    onnxruntime.InferenceSession(exports / f"{name}.onnx") for name in ("row", "place", "decoder")
)
shapes = {given.name: given.shape for step in (row_step, place_step) for given in step.get_inputs()}
told = {}
if "label" in shapes:
    told["label"] = np.tile(np.eye(shapes["label"][1], dtype=np.float32)[int(sys.argv[5])], (count, 1))

z = np.random.default_rng(0).standard_normal((count, height * width), dtype=np.float32)
quantiles = np.vectorize(NormalDist().cdf)(z).reshape(count, height, width)
codes = np.zeros((count, height, width), np.int32)
# Above and to the left of a map there is nothing: the code -1, and zeros in what is kept of earlier steps.
above, rows = np.full((count, width), -1, np.int32), np.zeros((count, *shapes["rows"][1:]), np.float32)
for row in range(height):
    context, rows = row_step.run(["context", "rows_next"], {"above": above, "rows": rows, **told})
    left, places = np.full((count, 1), -1, np.int32), np.zeros((count, *shapes["places"][1:]), np.float32)
    for column in range(width):
        here = {"left": left, "context": context[:, :, column : column + 1], "places": places, **told}
        logits, places = place_step.run(["logits", "places_next"], here)
        shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
        below = np.cumsum(shares / shares.sum(axis=1, keepdims=True), axis=1)
        codes[:, row, column] = (below[:, :-1] <= quantiles[:, row, column, None]).sum(axis=1)
        left = codes[:, row, column : column + 1]
    above = codes[:, row]

(pictures,) = decoder.run(["image"], {"codes": codes})
output.mkdir(parents=True, exist_ok=True)
for i, picture in enumerate(pictures):
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(output / f"{i:04d}.png")
