"""Train a VAE of digits with two workers on this machine: each a process, talking over 127.0.0.1.

    python examples/multi_worker.py [OUTPUT_FOLDER] [EPOCHS]

On several machines, start the command below on each, with TF_CONFIG naming all hosts and the machine's own index, and
an output folder that all of them see. The batch is shared by the workers: the result is that of one device.
"""

import json
import os
import socket
import subprocess
import sys

output = sys.argv[1] if len(sys.argv) > 1 else "runs/two_workers"
epochs = sys.argv[2] if len(sys.argv) > 2 else "10"
command = ["kerasgen", "train", "vae_digits", "--strategy", "multi_worker", "--output", output, "--epochs", epochs]

with socket.socket() as first, socket.socket() as second:
    for free in (first, second):
        free.bind(("127.0.0.1", 0))  # any free port
    hosts = [f"127.0.0.1:{free.getsockname()[1]}" for free in (first, second)]

workers = []
for index in range(2):
    config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": index}}
    workers.append(subprocess.Popen(command, env={**os.environ, "TF_CONFIG": json.dumps(config)}))
sys.exit(max(worker.wait() for worker in workers))
