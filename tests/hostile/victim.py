"""The process that hostile input is tried on: it imports TensorFlow once, then takes one attack a line.

A line is JSON: {"argv": [...]} runs the command line as the installed command does, {"code": "..."} runs Python,
where a `UserError` is the only good answer. What comes back says how it ended, what it said, and what memory it took.
"""

import contextlib
import io
import json
import os
import re
import sys
import traceback
import warnings
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow  # noqa: F401
import torch  # noqa: F401

from kerasgen import cli
from kerasgen.errors import UserError


def memory(name: str) -> int:
    return 1024 * int(re.search(rf"{name}:\s*(\d+)", Path("/proc/self/status").read_text())[1])


def run(attack: dict) -> int:
    try:
        if "argv" in attack:
            sys.argv = ["kerasgen", *attack["argv"]]
            cli.main()
        else:
            exec(attack["code"], {"__name__": "attack"})
        return 0
    except SystemExit as ended:
        return ended.code or 0
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except BaseException:
        traceback.print_exc()
        return 1


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ["COLUMNS"] = "200"
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        # The peak begins anew; what TensorFlow keeps of the attacks before doesn't count.
        Path("/proc/self/clear_refs").write_text("5")
        before, said = memory("VmRSS"), io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("default")
            warnings.simplefilter("ignore", DeprecationWarning)  # as Python does where it isn't told otherwise
            code = run(json.loads(line))
        answer = {"code": code, "said": said.getvalue(), "memory": memory("VmHWM") - before}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
