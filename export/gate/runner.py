"""Run one artifact with nothing but its own runtime, in a process that has neither Keras nor kerasgen.

    python -P runner.py FORMAT ARTIFACT THREADS

The artifact's operators are looked at before anything of it is run: the first line of the answer describes what it
holds, and a foreign operator ends the process there. The second describes the loaded artifact. Each line of the input
is then a request, a JSON object: `signature`, `inputs` (an .npz file), `outputs` (the .npz file to write, or null)
and `repeats`; its answer is the list of seconds that each run took.
"""

import importlib
import json
import sys
import time
import types
from pathlib import Path


def main(format_name: str, artifact: str, threads: str) -> None:
    # A package without kerasgen.export's __init__: the format loads, the rest doesn't.
    package = types.ModuleType("raw_export")
    package.__path__ = [str(Path(__file__).parents[1])]
    sys.modules["raw_export"] = package
    arrays = importlib.import_module("raw_export.gate.runtime")
    format_module = importlib.import_module(f"raw_export.formats.{format_name}")
    contents = format_module.contents(artifact)
    answer(vars(contents))
    if contents.foreign:
        return
    loaded = format_module.load(artifact, int(threads))
    description = {name: value for name, value in vars(loaded).items() if name != "run"}
    description["ours"] = [m for m in ("keras", "kerasgen") if sys.modules.get(m) is not None]
    answer(description)
    for line in sys.stdin:
        request = json.loads(line)
        inputs = arrays.load_arrays(request["inputs"])
        seconds = []
        for _ in range(request["repeats"]):
            start = time.perf_counter()
            outputs = loaded.run(request["signature"], inputs)
            seconds.append(time.perf_counter() - start)
        if request["outputs"]:
            arrays.save_arrays(request["outputs"], outputs)
        answer(seconds)


def answer(value: object) -> None:
    # A runtime may print to the standard output too: the mark tells our lines from its own.
    print("\x1e" + json.dumps(value), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
