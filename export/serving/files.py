"""What stands beside the versions: how TensorFlow Serving is started on them, and how each model is asked."""

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kerasgen.files import atomic_write

from ..gate.runtime import Arrays
from .protos import as_text, batching_parameters, monitoring_config, service_descriptors
from .versions import MODELS_IN_CONTAINER

BATCH_SIZES = (1, 2, 4, 8, 16)  # TensorFlow Serving fills a batch up to one of these
GRPC_PORT, REST_PORT = 8500, 8501
_METRICS = "/monitoring/prometheus/metrics"
_MOST_NUMBERS = 200  # of an example that a person still wants to read
_FILES = (
    "`photo.png` is any PNG or JPEG file. TensorFlow Serving takes its pixels as they lie in it: it neither turns a\n"
    "phone's picture by its EXIF data nor lays a transparent one on white. `kerasgen serve` and `kerasgen client`\n"
    "do both, as `kerasgen translate` does.\n"
)
_FLAGS = (
    f"--port={GRPC_PORT}",
    f"--rest_api_port={REST_PORT}",
    f"--model_config_file={MODELS_IN_CONTAINER}/models.config",
    "--model_config_file_poll_wait_seconds=10",
    "--allow_version_labels_for_unavailable_models=true",
    f"--monitoring_config_file={MODELS_IN_CONTAINER}/monitoring.config",
)
_BATCHING_FLAGS = ("--enable_batching=true", f"--batching_parameters_file={MODELS_IN_CONTAINER}/batching.config")


def write_server_files(base: Path, batching: bool) -> None:
    """Write how to start the official image on a folder; `batching` says whether every signature has a batch axis."""
    parameters = batching_parameters(
        max_batch_size=BATCH_SIZES[-1],
        batch_timeout_micros=2000,
        max_enqueued_batches=64,
        num_batch_threads=4,
        allowed_batch_sizes=list(BATCH_SIZES),
    )
    flags = [*_FLAGS, *(_BATCHING_FLAGS if batching else ())]
    texts = {
        "batching.config": as_text(parameters),
        "monitoring.config": as_text(monitoring_config(_METRICS)),
        "compose.yaml": _compose(flags),
        "kubernetes.yaml": _kubernetes(flags),
        "run.sh": _run_script(flags),
        "README.md": _server_page(batching),
    }
    for name, text in texts.items():
        with atomic_write(base / name) as temporary:
            temporary.write_text(text)
    with atomic_write(base / "serving.protoset") as temporary:
        temporary.write_bytes(service_descriptors())


def write_model_page(folder: Path, name: str, signatures: dict[str, dict], sent: Mapping[str, Arrays]) -> None:
    """Write README.md into a model's folder: its signatures, and lines for curl and grpcurl that work as they are.

    Args:
        folder: the model's.
        name: on the server.
        signatures: shapes and dtypes, by name.
        sent: by signature, a batch of real inputs, whose first example is shown.
    """
    url = f"http://127.0.0.1:{REST_PORT}/v1/models/{name}"
    parts = [
        f"# {name}\n",
        _table(signatures),
        "Its state, and its signatures:\n",
        _shell(f"curl -s {url}", f"curl -s {url}/metadata"),
        "Of each pair of lines the first speaks REST, the other gRPC. Run them in the folder above, where\n"
        f"`serving.protoset` is. `models/{name}/versions/1:predict` asks one version, and\n"
        f"`models/{name}/labels/stable:predict` what has a label.\n",
    ]
    for signature, tensors in signatures.items():
        parts += [f"## {signature}\n", *_calls(name, url, signature, tensors, sent[signature])]
    with atomic_write(folder / "README.md") as temporary:
        temporary.write_text("\n".join(parts))


def example_request(tensors: dict, sent: Arrays) -> Arrays | None:
    """Return the first example of what is sent to a signature; None if it is too much to be written down."""

    def first(value: np.ndarray, info: dict) -> np.ndarray:
        if not value.ndim:
            return np.ones_like(value)  # a count of pictures, or a seed: 1 is the least that makes one
        value = value[:1] if info["shape"][0] is None else value
        return np.round(value, 3) if value.dtype.kind == "f" else value

    example = {name: first(np.asarray(sent[name]), info) for name, info in tensors.items()}
    too_much = sum(value.size for value in example.values()) > _MOST_NUMBERS
    return None if too_much or any(value.dtype.kind in "SO" for value in example.values()) else example


def _calls(name: str, url: str, signature: str, tensors: dict, sent: Arrays) -> list[str]:
    inputs = tensors["inputs"]
    predict = "tensorflow.serving.PredictionService/Predict"
    grpc = f"grpcurl -plaintext -protoset serving.protoset -d @ 127.0.0.1:{GRPC_PORT} {predict}"
    if [info["dtype"] for info in inputs.values()] == ["string"]:
        (key,), file = inputs, '"$(base64 -w0 photo.png)"'
        rest = json.dumps({"signature_name": signature, "instances": [{"b64": "%s"}]})
        picked = 'json.load(sys.stdin)["predictions"][0]["b64"]'
        save = (
            f"python3 -c 'import base64, json, sys; sys.stdout.buffer.write(base64.b64decode({picked}))' > answer.png"
        )
        tensor = {"dtype": "DT_STRING", "tensor_shape": {"dim": [{"size": 1}]}, "string_val": ["%s"]}
        asked = json.dumps({"model_spec": {"name": name, "signature_name": signature}, "inputs": {key: tensor}})
        lines = (
            f"printf '{rest}' {file} | curl -s -d @- {url}:predict | {save}",
            f"printf '{asked}' {file} | {grpc}",
        )
        return [_FILES, _shell(*lines)]
    example = example_request(inputs, sent)
    if example is None:
        return ["Too large for a line: `kerasgen.serve.client`, or a program that sends a TensorProto by gRPC.\n"]
    listed = {key: np.round(value.tolist(), 3).tolist() for key, value in example.items()}  # 0.1 in any precision
    rest = json.dumps({"signature_name": signature, "inputs": listed})
    asked = json.dumps(_grpc_json(name, signature, example))
    return [_shell(f"curl -s -d '{rest}' {url}:predict", f"echo '{asked}' | {grpc}")]


def _grpc_json(name: str, signature: str, example: dict[str, np.ndarray]) -> dict:
    import tensorflow as tf
    from google.protobuf import json_format
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = name
    request.model_spec.signature_name = signature
    for key, value in example.items():
        request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
    return json_format.MessageToDict(request, preserving_proto_field_name=True)


def _table(signatures: dict[str, dict]) -> str:
    rows = ["| signature | takes | gives |", "|---|---|---|"]
    for name, tensors in signatures.items():
        takes, gives = (", ".join(_tensor(*item) for item in tensors[side].items()) for side in ("inputs", "outputs"))
        rows.append(f"| `{name}` | {takes} | {gives} |")
    return "\n".join([*rows, ""])


def _tensor(name: str, info: dict) -> str:
    sizes = "×".join("any" if size is None else str(size) for size in info["shape"])
    return f"`{name}` {info['dtype']} {sizes or 'scalar'}"


def _shell(*lines: str) -> str:
    return "\n".join(["```sh", *lines, "```", ""])


def _image() -> str:
    return f"tensorflow/serving:{importlib.metadata.version('tensorflow-serving-api')}"


def _run_script(flags: list[str]) -> str:
    ports = f"-p 127.0.0.1:{GRPC_PORT}:{GRPC_PORT} -p 127.0.0.1:{REST_PORT}:{REST_PORT}"
    return (
        "#!/bin/sh\n# TensorFlow Serving on this folder; Ctrl-C ends it.\n"
        'cd "$(dirname "$0")" || exit 1\n'
        f"exec docker run --rm {ports} \\\n"
        f'  -v "$PWD:{MODELS_IN_CONTAINER}:ro" --entrypoint tensorflow_model_server \\\n'
        f"  {_image()} \\\n  " + " \\\n  ".join(flags) + "\n"
    )


def _compose(flags: list[str]) -> str:
    listed = "\n".join(f"      - {json.dumps(flag)}" for flag in flags)
    return f"""# docker compose up, in this folder
services:
  serving:
    image: {_image()}
    entrypoint: ["tensorflow_model_server"]
    command:
{listed}
    ports:
      - "127.0.0.1:{GRPC_PORT}:{GRPC_PORT}"
      - "127.0.0.1:{REST_PORT}:{REST_PORT}"
    volumes:
      - "./:{MODELS_IN_CONTAINER}:ro"
    restart: unless-stopped
"""


def _kubernetes(flags: list[str]) -> str:
    listed = "\n".join(f"            - {json.dumps(flag)}" for flag in flags)
    return f"""# kubectl apply -f kubernetes.yaml; this folder is what the claim "models" holds.
apiVersion: apps/v1
kind: Deployment
metadata:
  name: kerasgen-serving
spec:
  replicas: 2
  selector:
    matchLabels: {{app: kerasgen-serving}}
  strategy:
    rollingUpdate: {{maxUnavailable: 0, maxSurge: 1}}
  template:
    metadata:
      labels: {{app: kerasgen-serving}}
      annotations:
        prometheus.io/scrape: "true"
        prometheus.io/port: "{REST_PORT}"
        prometheus.io/path: {_METRICS}
    spec:
      containers:
        - name: serving
          image: {_image()}
          command: ["tensorflow_model_server"]
          args:
{listed}
          ports:
            - {{name: grpc, containerPort: {GRPC_PORT}}}
            - {{name: rest, containerPort: {REST_PORT}}}
          readinessProbe:
            tcpSocket: {{port: {GRPC_PORT}}}
            periodSeconds: 5
          resources:
            requests: {{cpu: "2", memory: 2Gi}}
            limits: {{memory: 4Gi}}
          volumeMounts:
            - {{name: models, mountPath: {MODELS_IN_CONTAINER}, readOnly: true}}
      volumes:
        - name: models
          persistentVolumeClaim: {{claimName: models, readOnly: true}}
---
apiVersion: v1
kind: Service
metadata:
  name: kerasgen-serving
spec:
  selector: {{app: kerasgen-serving}}
  ports:
    - {{name: grpc, port: {GRPC_PORT}, targetPort: grpc}}
    - {{name: rest, port: {REST_PORT}, targetPort: rest}}
"""


def _server_page(batching: bool) -> str:
    said = (
        "Concurrent requests are put into batches, as `batching.config` says."
        if batching
        else "Batching is off: a signature here takes scalars (a seed, a count), which TensorFlow Serving refuses\n"
        f"in its batching mode. On a server of other models alone, add\n`{' '.join(_BATCHING_FLAGS)}`."
    )
    return f"""# Models for TensorFlow Serving

Written by kerasgen; each folder with numbers in it is a model, and its README.md says how it is asked.

In production this folder is served by TensorFlow Serving: `sh run.sh`, `docker compose up`, or `kubernetes.yaml`.
{said}
For development, `kerasgen serve .` speaks the same protocols on 127.0.0.1.

**Not run where this was written:** the TensorFlow Serving binary, Docker, Kubernetes. What was: each version in a
fresh TensorFlow V1 session, which is how TensorFlow Serving loads it, with its warm-up requests.

- `models.config`: what has a label is loaded; a request without a version or a label gets the highest version loaded.
  The server reads this file anew every 10 seconds.
- `kerasgen serving list .` shows the versions; `kerasgen serving rollback . NAME` serves the previous one again;
  `kerasgen serving label . NAME LABEL N` moves a label.
- `monitoring.config`: Prometheus metrics at `http://127.0.0.1:{REST_PORT}{_METRICS}`.
- `serving.protoset`: the services' descriptors, for grpcurl.
"""
