"""A running `bareattn serve` for the tests, and requests to it byte by byte, so that malformed ones can be sent too."""
import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import time

from test_cli import BIN, MODEL


class Reply:
    def __init__(self, raw):
        self.raw = raw
        head, self.split, self.body = raw.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        self.status = int(lines[0].split(" ")[1]) if raw else None  # None: closed without an answer
        self.fields = [line.split(": ", 1) for line in lines[1:]] if raw else []
        self.headers = {name.lower(): value for name, value in self.fields}

    def json(self):
        return json.loads(self.body)


class Served:
    def __init__(self, process, said):
        self.process, self.port, self.token, self.url = process, said["port"], said["token"], said["url"]
        self.host = f"127.0.0.1:{self.port}"

    def connect(self, timeout=20):
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def raw(self, data, timeout=20):
        """Sends bytes, reads until the server closes."""
        with self.connect(timeout) as s:
            out = b""
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                s.sendall(data)
            with contextlib.suppress(ConnectionResetError):
                while part := s.recv(1 << 16):
                    out += part
            return Reply(out)

    def ask(self, target, method="GET", host=None, token=True, body=b"", headers=(), timeout=20):
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"Host: {h}" for h in ([host if host is not None else self.host])]
        if token:
            lines.append(f"Authorization: Bearer {self.token if token is True else token}")
        lines += [f"{name}: {value}" for name, value in headers]
        if body or method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        return self.raw("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body, timeout)

    def status(self):
        return self.ask("/api/status").json()

    def run(self, body):
        """Asks for a run in live mode."""
        return self.ask("/api/run", "POST", headers=[("Content-Type", "application/json")], body=json.dumps(body).encode())

    def wait_for(self, *states, seconds=60):
        """Until the run in live mode is in one of these states, which is returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = self.ask("/api/run").json()
            if state["state"] in states:
                return state
            time.sleep(0.05)
        raise AssertionError(f"still {state}")

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)


@contextlib.contextmanager
def serving(*arguments, model=False, env=None, descriptors=None):
    """Starts the command, waits for its address, and ends it. It may open only so many `descriptors`."""
    environment = {k: v for k, v in os.environ.items() if k != "BAREATTN_MODEL"}
    if model:
        environment["BAREATTN_MODEL"] = str(MODEL)
    environment.update(env or {})

    def limit():
        if descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    process = subprocess.Popen([BIN, "serve", "--json", *map(str, arguments)], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env=environment, preexec_fn=limit)
    line = process.stdout.readline()
    if not line:
        raise AssertionError(f"no address: {process.stderr.read().decode()}")
    try:
        yield Served(process, json.loads(line))
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        process.stdout.close()
        process.stderr.close()


def tile_cells(z):
    """Cells a side of a tile."""
    return 128 if z == 3 else 256
