"""`kerasgen serve` in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path


class Process:
    """`kerasgen serve` as a user starts it."""

    def __init__(self, base, *options):
        command = [Path(sys.executable).with_name("kerasgen"), "serve", base, "--grpc-port", "0", "--rest-port", "0"]
        command += options
        environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
        self.said = []
        for line in self.process.stdout:
            self.said.append(line)
            if "Ctrl-C" in line:
                break
        match = re.search(r"gRPC: 127\.0\.0\.1:(\d+); REST: http://127\.0\.0\.1:(\d+)", "".join(self.said))
        assert match, self.said
        self.grpc, self.rest = map(int, match.groups())
        # Otherwise the pipe fills up, and the server waits.
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stdout))
        self.reader.start()
        self.at_start = self.memory()

    def memory(self):
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak(self):
        """The most resident bytes so far."""
        return 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def seconds(self):
        """What it took of the processor so far."""
        numbers = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.reader.join()
        self.process.stdout.close()
