"""From a trained generator to the folder that a phone app bundles: two TFLite files, a test picture, the contract.

    python examples/export_to_phone.py RUN_OR_KERAS_FILE [OUTPUT_FOLDER] [SIZE]

RUN_OR_KERAS_FILE is what `kerasgen train cyclegan_…` wrote. examples/phone/README.md says what the app does with it.
"""

import sys
from pathlib import Path

from kerasgen.commands.ship import shipments
from kerasgen.export import benchmark, export_model

source = sys.argv[1]
folder = Path(sys.argv[2] if len(sys.argv) > 2 else "saved_models/phone")
size = int(sys.argv[3]) if len(sys.argv) > 3 else None

# uint8 pictures in and out: the normalization is inside the file, and the app has none to get wrong.
generator = shipments(source, size=size)[0]
paths = [
    export_model(
        generator.network,
        folder / generator.name,
        format="tflite",
        variant=variant,
        inputs=generator.inputs,
        image=generator.image,
    ).path
    for variant in ("float32", "dynamic_int8")  # the GPU runs the first, the CPU is fastest with the second
]
for row in benchmark(paths, generator.network, generator.inputs):
    print(f"{row.path}: {row.bytes / 1e6:.2f} MB, {row.median_ms:.1f} ms here, {row.partitions} XNNPACK partition(s)")
print(f"The contract is in {paths[0]}.manifest.json; `unzip -p {paths[0]} metadata.json` prints it from the file.")
