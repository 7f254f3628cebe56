"""A system that gives nothing: no thread, no memory, a call that never comes back, a process that is killed. The command
runs with tests/faults/failing.c loaded before it. A sentence and a status, never a hang or an abort, nothing left behind."""
import json
import os
import re
import resource
import signal
import subprocess
import time

import pytest

import tiny
from serving import serving
from test_cli import BIN

FAILING = BIN.parent / "tests" / "libfailing.so"
SENTENCES = re.compile(rb"(bareattn: [^\n]+\n)+")
FEWER = re.compile(rb"bareattn: warning: the system gave \d+ of \d+ more threads \([^\n]+ulimit -u[^\n]+\n")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return tiny.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


def faulty(*arguments, how, **more):
    return subprocess.run([BIN, *map(str, arguments)], capture_output=True, timeout=600, stdin=subprocess.DEVNULL,
                          env={**os.environ, "LD_PRELOAD": str(FAILING), **how}, **more)


def test_the_library_that_fails_is_there():
    assert FAILING.exists(), f"{FAILING} is built with the tests"


# --- threads ----------------------------------------------------------------------------------------------------------


def figures(done):
    look = json.loads(done.stdout)
    for volatile in ("seconds", "run", "engine"):
        look.pop(volatile, None)
    return look


@pytest.mark.parametrize("given", [0, 1, 2, 5])
def test_fewer_threads_and_a_warning(model, given):
    arguments = ("look", "-m", model, "Some text.", "-t", "4", "--json")
    healthy, done = faulty(*arguments, how={}), faulty(*arguments, how={"BAREATTN_FAIL_THREAD": str(given)})
    assert done.returncode == 0 and FEWER.fullmatch(done.stderr), done.stderr
    assert healthy.stderr == b"" and figures(done) == figures(healthy)


def test_a_server_without_a_thread_says_so(model, tmp_path):
    run = tmp_path / "run.safetensors"
    assert faulty("trace", "-m", model, "Some text.", "-o", run, how={}).returncode == 0
    done = faulty("serve", run, how={"BAREATTN_FAIL_THREAD": "0"})
    assert done.returncode == 1 and b"no thread can be started" in done.stderr, done.stderr
    assert SENTENCES.fullmatch(done.stderr)


def test_the_limit_of_the_system_itself(model):
    """The number of processes of a user: another one where we are root, whom no limit holds."""
    def limit():
        resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(54321)
            os.setuid(54321)
    model.parent.chmod(0o755)
    for folder in (*model.parents, *BIN.parents):
        if os.geteuid() == 0 and not folder.stat().st_mode & 0o001:
            folder.chmod(folder.stat().st_mode | 0o001)
    done = subprocess.run([BIN, "look", "-m", model, "Some text.", "-t", "4"], capture_output=True, timeout=600,
                          preexec_fn=limit, cwd="/", env={"PATH": os.environ["PATH"]})
    assert done.returncode == 0 and FEWER.fullmatch(done.stderr), done.stderr


def test_threads_whose_stacks_do_not_fit(model):
    done = subprocess.run([BIN, "look", "-m", model, "Some text.", "-t", "500"], capture_output=True, timeout=600,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20)))
    assert done.returncode in (0, 1) and SENTENCES.fullmatch(done.stderr), (done.returncode, done.stderr)


# --- memory -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [False, True])
def test_any_request_for_memory_may_fail(model, tmp_path, gone):
    """Set-up, loading, looking, writing: a sample of all requests, the first ones densely."""
    page, count = tmp_path / "page.html", tmp_path / "count"
    arguments = ("look", "-m", model, "Some text.", "-t", "2", "--lesson", "", "-o", page)
    assert faulty(*arguments, how={"BAREATTN_FAIL_COUNT": str(count)}).returncode == 0
    all_of_them = int(count.read_text())
    count.unlink()
    assert all_of_them > 1000
    failed = 0
    for at in [*range(0, 400, 8), *range(400, all_of_them, all_of_them // 150)]:
        page.unlink(missing_ok=True)
        done = faulty(*arguments, how={"BAREATTN_FAIL_MEMORY": str(at), **({"BAREATTN_FAIL_GONE": "1"} if gone else {})})
        if done.returncode == 0:  # somebody could do without
            continue
        failed += 1
        assert done.returncode == 1 and SENTENCES.fullmatch(done.stderr), (at, done.returncode, done.stderr)
        assert list(tmp_path.iterdir()) in ([], [page]), at
        assert not page.exists() or page.read_text().rstrip().endswith("</html>"), at
    assert failed > 100


# --- signals ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def hanging(model, tmp_path):
    """Starts the command and waits until it is in a call that does not come back."""
    started = []

    def start(call, *arguments):
        mark = tmp_path / f"mark-{len(started)}"
        process = subprocess.Popen([BIN, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   env={**os.environ, "LD_PRELOAD": str(FAILING), "BAREATTN_MODEL": str(model),
                                        "BAREATTN_HANG": call, "BAREATTN_HANG_FILE": str(mark)})
        started.append(process)
        while not mark.exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("number,status", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
@pytest.mark.parametrize("call", ["pread", "fsync"])
def test_a_step_that_does_not_end_is_not_waited_for(hanging, tmp_path, call, number, status):
    """While a model is loaded and while a page is written; without the timer these would hang until the test is ended."""
    folder = tmp_path / "out"
    folder.mkdir()
    page = folder / "page.html"
    page.write_text("old")
    process = hanging(call, "look", "Some text.", "--lesson", "", "-o", page)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (status, b"", b"bareattn: stopped; nothing was written\n")
    assert page.read_text() == "old" and [p.name for p in folder.iterdir()] == ["page.html"]


def test_what_a_killed_run_left_the_next_one_removes(hanging, model, tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    killed = hanging("fsync", "look", "Some text.", "--lesson", "", "-o", folder / "a.html")
    killed.kill()
    killed.communicate()
    left = {p.name for p in folder.iterdir()}
    assert len(left) == 1 and left.pop().startswith(".bareattn-")
    hanging("fsync", "look", "Some text.", "--lesson", "", "-o", folder / "b.html")
    now = {p.name for p in folder.iterdir()}
    assert len(now) == 1, "what was left is gone, what is being written is there"
    strangers = [".bareattn-notes.tmp", ".bareattn-1-2.tmp.txt", "bareattn-1-2.tmp"]
    for name in strangers:
        (folder / name).write_text("mine")
    (folder / ".bareattn-1-2.tmp").symlink_to(folder / "bareattn-1-2.tmp")
    assert faulty("look", "-m", model, "Some text.", "--lesson", "", "-o", folder / "c.html", how={}).returncode == 0
    assert {p.name for p in folder.iterdir()} == {*now, *strangers, ".bareattn-1-2.tmp", "c.html"}


def test_a_server_ends_with_the_signal_that_ended_it(model, tmp_path):
    run = tmp_path / "run.safetensors"
    assert faulty("trace", "-m", model, "Some text.", "-o", run, how={}).returncode == 0
    for number, status in ((signal.SIGINT, 0), (signal.SIGTERM, 143)):
        with serving(run) as served:
            served.process.send_signal(number)
            assert served.process.wait(60) == status
