"""Publish two versions of a generator for TensorFlow Serving, look at them, and go back to the first.

    python examples/serve/publish.py RUN_OR_KERAS_FILE [MODELS_FOLDER]

RUN_OR_KERAS_FILE is what `kerasgen train cyclegan_…` wrote. The second version here is the same network again; in
practice it is the next training's.
"""

import sys
from pathlib import Path

from kerasgen.commands.ship import shipments
from kerasgen.export.serving import export_serving, list_versions, rollback

source = sys.argv[1]
models = Path(sys.argv[2] if len(sys.argv) > 2 else "models")

generator = shipments(source)[0]
for label in ("stable", "canary"):  # clients that ask for "stable" keep what they have
    served = export_serving(
        generator.network, models, generator.name, label=label, inputs=generator.inputs, image=generator.image
    )
    print(f"{served.path}: {served.warmup} warm-up requests, at most {served.max_difference:.0f} level from Keras")

rollback(models, generator.name)  # the new one is worse after all: unload it
for version in list_versions(models):
    print(version.model, version.number, version.labels or "not loaded", "default" if version.default else "")
