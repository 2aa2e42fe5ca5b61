"""Send a folder of pictures to a server, by gRPC or REST: TensorFlow Serving, or `kerasgen serve models/`.

python examples/serve/ask.py grpc://127.0.0.1:8500 MODEL FOLDER OUTPUT
python examples/serve/ask.py http://127.0.0.1:8501 MODEL FOLDER OUTPUT
"""

import sys

from kerasgen.serve.client import Client

url, model, folder, output = sys.argv[1:5]
with Client(url, model, label="stable") as client:
    for name, signature in client.signatures().items():
        print(f"{name}: from {', '.join(signature['inputs'])} to {', '.join(signature['outputs'])}")
    result = client.translate_folder(folder, output)
print(f"{len(result.written)} pictures are in {output}, {len(result.skipped)} were skipped.")
