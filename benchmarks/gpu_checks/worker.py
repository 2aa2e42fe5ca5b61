"""Run checks one after the other in this process: `python -m gpu_checks.worker FOLDER small|large CHECK ...`.

A check is [module, function, arguments] in JSON. What each finds goes out as marked lines of JSON; a check that
raises says why, and the next one comes.
"""

import importlib
import json
import os
import sys
from pathlib import Path

from gpu_checks.sizes import LARGE, SMALL


def main(folder: str, size: str, *checks: str) -> None:
    for check in checks:
        module, function, arguments = json.loads(check)
        try:
            work = getattr(importlib.import_module(module), function)
            for found in work(SMALL if size == "small" else LARGE, Path(folder), *arguments):
                say(found)
        except Exception as error:  # whatever it is, the other checks go on
            say({"failed": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"})
        say({"done": True})


def say(found: dict[str, object]) -> None:
    print("\x1e" + json.dumps(found, default=float), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # unloading the libraries would take seconds
