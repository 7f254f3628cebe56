"""The bareattn command in hands that mean no good, or in a bad place: closed and full streams, a full disk, too little
memory, NaN, names that are not UTF-8. One sentence and exit status 1 or 2, never a signal, nothing half-written.
Run by ./x test cli with the other files here."""
import json
import os
import re
import resource
import signal
import subprocess
import time
import unicodedata

import pytest

from test_cli import BIN, HOSTILE, MODEL, SHORT, TOM, refused, run

SENTENCE = re.compile(rb"bareattn: [^\n]+\n")


def in_shell(line, **places):
    return subprocess.run(["bash", "-c", line], capture_output=True, timeout=600,
                          env={**os.environ, "B": str(BIN), "BAREATTN_MODEL": str(MODEL), **places})


def limited(limit, value, *arguments):
    return subprocess.run([BIN, *map(str, arguments)], capture_output=True, timeout=600, stdin=subprocess.DEVNULL,
                          env={**os.environ, "BAREATTN_MODEL": str(MODEL)},
                          preexec_fn=lambda: resource.setrlimit(limit, (value, value)))


@pytest.mark.parametrize("arguments", [("tokenize", "a"), ("look", SHORT), ("look", SHORT, "--json"), ("info",),
                                       ("completion", "bash"), ("--help",), ("look", "--help"), ("--version",)])
@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_standard_output_that_cannot_be_written(arguments, where):
    quoted = " ".join(f"'{a}'" for a in arguments)
    done = in_shell(f'"$B" {quoted} {where}')
    assert done.returncode == 1 and done.stderr == b"bareattn: standard output cannot be written\n"


@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_standard_error_that_cannot_be_written_keeps_the_status(where):
    assert in_shell(f'"$B" look "" {where}').returncode == 2
    assert in_shell(f'"$B" {where}').returncode == 2
    assert in_shell(f'"$B" look a --nonsense {where}').returncode == 2


def test_all_streams_closed_and_the_page_is_whole(tmp_path):
    """The page's file must not become standard output's number, or the summary would be written into it."""
    page = tmp_path / "page.html"
    done = in_shell(f'"$B" look "{SHORT}" -o "$PAGE" <&- >&- 2>&-', PAGE=str(page))
    assert done.returncode == 1  # the summary could not be printed
    text = page.read_text()
    assert text.lstrip().lower().startswith("<!doctype html>") and text.rstrip().endswith("</html>")
    assert "Heads to look at first" not in text[:200]
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_reader_that_goes_away_is_no_error_of_ours():
    done = in_shell(f'"$B" look "$TOM" --json | head -c 1 >/dev/null; echo ${{PIPESTATUS[0]}}', TOM=str(TOM))
    assert done.stderr == b"" and done.stdout.strip() in (b"141", b"1", b"0")


@pytest.mark.parametrize("arguments", [
    ("look", SHORT, "--budget", "nan", "-o", "PAGE"), ("look", SHORT, "-t", "nan"), ("look", SHORT, "--top", "nan"),
    ("generate", SHORT, "--temperature", "nan"), ("generate", SHORT, "--temperature", "-nan"),
    ("generate", SHORT, "--temperature", "inf"), ("look", SHORT, "-t", "99999999999999999999"),
    ("look", SHORT, "-t", "1e9"), ("look", SHORT, "--top", ""), ("generate", SHORT, "-n", "99999999999"),
    ("look", SHORT, "--exact", "99999999999999999999.1"), ("look", SHORT, "--exact", "1.+2"),
    ("page", "x", "-o", "PAGE", "--budget", "nan"),
])
def test_numbers_that_are_none(tmp_path, arguments):
    refused(run(*(tmp_path / a if a == "PAGE" else a for a in arguments)), 2)
    assert list(tmp_path.iterdir()) == []


def test_disk_full_leaves_the_old_page(tmp_path):
    """The largest file a process may write stands for a full disk; ENOSPC takes the same path as EFBIG."""
    page = tmp_path / "page.html"
    page.write_text("old")
    done = limited(resource.RLIMIT_FSIZE, 20_000, "look", SHORT, "-o", page)
    assert done.returncode in (1, -signal.SIGXFSZ), done.stderr
    assert done.returncode == 1 and SENTENCE.fullmatch(done.stderr) and str(page).encode() in done.stderr
    assert page.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_two_outputs_are_written_or_none(tmp_path):
    """There is room for the page, which is written first, and none for the larger JSON."""
    outputs = page, json = tmp_path / "page.html", tmp_path / "look.json"
    arguments = ("look", "Tom is a cat.", "-o", page, f"--json={json}", "--exact", "none", "--lesson", "",
                 "--measures", "all,coverage,scores,repeats,offsets")
    assert run(*arguments).returncode == 0
    sizes = [file.stat().st_size for file in outputs]
    for file in outputs:
        file.write_text("old")
    done = limited(resource.RLIMIT_FSIZE, sum(sizes) // 2, *arguments)
    assert sizes[0] < sizes[1] and done.returncode == 1 and SENTENCE.fullmatch(done.stderr), (sizes, done.stderr)
    assert [file.read_text() for file in outputs] == ["old", "old"] and len(list(tmp_path.iterdir())) == 2


def test_json_holds_nothing_that_acts_on_a_terminal(tmp_path):
    """Bidi overrides, zero-width characters and C1 controls are there, but as JSON escapes."""
    text, trace = f"a{HOSTILE}\x9b\ufeff\U000e0041é", tmp_path / "run.safetensors"
    assert run("trace", "--text", text, "-o", trace, "--title", text).returncode == 0
    pieces = []
    for arguments in (("look", "--text", text, "--json"), ("row", trace, "0.0", "20", "--top", "30", "--json"),
                      ("tile", trace, "0.0", "0:9", "0:9", "--json"), ("diff", MODEL, MODEL, "--text", text, "--json"),
                      ("measures", trace, "--json"), ("diagnose", "--text", text * 3, "--json", "--fast")):
        done = run(*arguments)
        assert done.returncode in (0, 1) and done.stdout, (arguments, done.stderr)
        acting = {c for c in done.stdout.decode() if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"}
        assert not acting, (arguments, acting)
        pieces.append(json.dumps(json.loads(done.stdout), ensure_ascii=False))
    assert "\u202e" in pieces[0] and "é" in pieces[0]  # nothing is lost


def test_a_default_tour_that_the_model_cannot_take_is_left_out(tmp_path):
    content = MODEL.read_bytes()
    at = content.index(b"llama.context_length") + len(b"llama.context_length")
    assert content[at:at + 4] == b"\x04\0\0\0"  # u32
    small, page = tmp_path / "small.gguf", tmp_path / "page.html"
    small.write_bytes(content[:at + 4] + (8).to_bytes(4, "little") + content[at + 8:])
    done = run("look", "-m", small, "Tom is a cat.", "-o", page, model=None)
    assert done.returncode == 0 and b"warning: the page has no tour" in done.stderr, done.stderr
    assert '"lesson"' not in page.read_text()
    page.unlink()
    refused(run("look", "-m", small, "Tom is a cat.", "-o", page, "--lesson", "The cat sat on the mat because it was tired.",
                model=None), 2, "--lesson", "context holds")
    refused(run("look", "-m", small, "-", "-o", page, model=None, stdin=b"word " * 1_000_000), 2, "more than 8 tokens", "context holds 8")
    assert [p.name for p in tmp_path.iterdir()] == ["small.gguf"]


def test_a_text_after_the_groups_is_the_text(tmp_path):
    for arguments in (("trace", "--measures", "rows", "A text.", "-o", tmp_path / "run"),
                      ("look", "--measures", "rows", "A text."), ("measures", "--measures", "coverage", "A text.")):
        done = run(*arguments)
        assert done.returncode == 0, (arguments, done.stderr)


@pytest.mark.parametrize("megabytes", [60, 150, 300, 420, 500])
def test_too_little_memory_is_a_sentence(tmp_path, megabytes):
    page = tmp_path / "page.html"
    done = limited(resource.RLIMIT_AS, megabytes << 20, "look", TOM, "-o", page, "-t", "1")
    if done.returncode == 127 or b"error while loading shared libraries" in done.stderr:
        pytest.skip("the program itself does not fit")
    assert done.returncode in (1, 2) and SENTENCE.fullmatch(done.stderr), (done.returncode, done.stderr)
    assert list(tmp_path.iterdir()) == []


def test_interrupt_while_the_page_is_written(tmp_path):
    """At any moment, the last ones included: stopped with nothing new, or done with a whole page."""
    page = tmp_path / "page.html"
    whole = subprocess.run([BIN, "look", "-m", MODEL, SHORT, "-o", page], capture_output=True)
    assert whole.returncode == 0
    start = time.monotonic()
    subprocess.run([BIN, "look", "-m", MODEL, SHORT, "-o", page], capture_output=True)
    length, seen = time.monotonic() - start, set()
    for moment in (0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99):
        page.write_text("old")
        process = subprocess.Popen([BIN, "look", "-m", MODEL, SHORT, "-o", page], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(moment * length)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        seen.add(process.returncode)
        content = page.read_text()
        if process.returncode == 130:
            assert err == b"bareattn: stopped; nothing was written\n" and content == "old"
        elif process.returncode == -signal.SIGINT:  # before or after our handler stands
            assert content == "old" or content.rstrip().endswith("</html>")
        else:
            assert process.returncode == 0 and content.rstrip().endswith("</html>")
        assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert 130 in seen


def test_ctrl_c_stops_what_prints_at_the_end(tmp_path):
    """While it runs, the last of its runs included: nothing is printed as if it had been finished, nothing saved."""
    text, saved = tmp_path / "text.txt", tmp_path / "steering.json"
    text.write_text(TOM.read_text()[:2600])
    longer = tmp_path / "longer.txt"
    longer.write_text(TOM.read_text()[:9000])
    for arguments in (("perplexity", longer), ("steer", "--boost", "TOM", "-n", "1", "--save", saved, text)):
        command = [BIN, arguments[0], "-m", MODEL, *arguments[1:]]
        start = time.monotonic()
        assert subprocess.run(command, capture_output=True).returncode == 0
        length, late = time.monotonic() - start, 0
        for moment in (0.3, 0.6, 0.8):
            saved.unlink(missing_ok=True)
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            time.sleep(moment * length)
            if process.poll() is not None:  # it was quicker this time
                process.communicate()
                continue
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
            if process.returncode == 0:  # it was printing already
                late += 1
                continue
            assert (process.returncode, out, err) == (130, b"", b"bareattn: stopped; nothing was written\n"), moment
            assert not saved.exists()
        assert late <= 1, arguments


def until(condition, process):
    while not condition():
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


def test_a_terminal_that_closes_leaves_nothing(tmp_path):
    """SIGHUP, more than once; and under nohup the run goes on."""
    def start(ignored):
        how = signal.SIG_IGN if ignored else signal.SIG_DFL
        return subprocess.Popen([BIN, "trace", "-m", MODEL, TOM, "-o", tmp_path / "run"], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, how))
    process = start(False)
    until(lambda: list(tmp_path.iterdir()), process)  # the file that grows beside the output
    for _ in range(3):
        process.send_signal(signal.SIGHUP)
        time.sleep(0.01)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (129, b"bareattn: stopped; nothing was written\n")
    assert list(tmp_path.iterdir()) == []
    process = start(True)
    until(lambda: list(tmp_path.iterdir()), process)
    process.send_signal(signal.SIGHUP)
    assert process.wait(120) == 0 and [p.name for p in tmp_path.iterdir()] == ["run"]
    process.communicate()


def test_what_was_written_before_ctrl_c_is_not_denied(tmp_path):
    pages = ("--fault", "peripheral", "--fault", "noise", "--restore", "--pages", tmp_path)
    process = subprocess.Popen([BIN, "break", "-m", MODEL, "--first", "128", *pages, TOM], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    until((tmp_path / "peripheral-broken.html").exists, process)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"bareattn: stopped\n")


def test_an_output_never_replaces_what_the_command_reads(tmp_path):
    text, link = tmp_path / "text.txt", tmp_path / "link.txt"
    text.write_text(SHORT)
    link.symlink_to(text)
    for arguments in ((text, "-o", text), (text, "-o", link), ("--file", link, f"--json={text}"),
                      (SHORT, "-o", tmp_path / "new", f"--json={tmp_path}/./new"), (SHORT, "-o", MODEL)):
        refused(run("look", *arguments), 2, "would replace")
    assert text.read_text() == SHORT and sorted(p.name for p in tmp_path.iterdir()) == ["link.txt", "text.txt"]


def test_no_command_replaces_what_it_reads(tmp_path):
    text, trace = tmp_path / "text.txt", tmp_path / "run.safetensors"
    text.write_text(SHORT)
    assert run("trace", text, "-o", trace).returncode == 0
    before = trace.read_bytes()
    refused(run("trace", text, "-o", text), 2, "would replace")
    refused(run("page", trace, "-o", trace), 2, "would replace")
    refused(run("tile", trace, "5.3", ":", ":", "-o", trace), 2, "would replace")
    refused(run("steer", text, "--boost", "cat", "-n", "1", "--save", text), 2, "would replace")
    other, folder = tmp_path / "other.safetensors", tmp_path / "noise-broken.html"
    other.write_bytes(before)
    folder.write_text(SHORT)
    for option in ("--save", "--sarif"):
        refused(run("diagnose", trace, option, trace), 2, "would replace")
        refused(run("diagnose", trace, "--against", other, option, other), 2, "would replace")
        refused(run("diagnose", text, option, text), 2, "would replace")
        refused(run("diagnose", text, option, MODEL), 2, "would replace")
    refused(run("diagnose", trace, "--save", tmp_path / "new", "--sarif", tmp_path / "new"), 2, "would replace")
    refused(run("break", "--fault", "noise", "--trace", MODEL, text), 2, "would replace")
    refused(run("break", "--fault", "noise", "--trace", text, text), 2, "would replace")
    refused(run("break", "--fault", "noise", "--pages", tmp_path, folder), 2, "would replace")
    refused(run("break", "--fault", "noise:3", "--pages", tmp_path, "--trace", folder, text), 2, "would replace")
    assert text.read_text() == folder.read_text() == SHORT and trace.read_bytes() == other.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 4


def test_signals_while_a_pipe_is_waited_for(tmp_path):
    """Ctrl-C stops a wait for text; a signal that asks for nothing lets it go on."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def start():
        process = subprocess.Popen([BIN, "tokenize", "-m", MODEL, "--file", fifo], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        time.sleep(0.5)  # it waits for somebody to open the other end
        return process

    process = start()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"bareattn: stopped; nothing was written\n")
    process = start()
    with open(fifo, "w") as writer:
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGCONT)
        writer.write("The cat")
        writer.flush()
        time.sleep(0.2)
        process.send_signal(signal.SIGWINCH)
        writer.write(" sat")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and out == run("tokenize", "--text", "The cat sat").stdout


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsencode(tmp_path) + b"/te\xff\nxt\x1b[31m.txt"
    with open(name, "wb") as file:
        file.write(SHORT.encode())
    page = os.fsencode(tmp_path) + b"/pa\xff\nge.html"
    done = subprocess.run([BIN, "look", "-m", MODEL, name, b"-o" + page, "--json"], capture_output=True)
    assert done.returncode == 0 and done.stderr == b""
    json.loads(done.stdout.decode("utf-8"))  # valid UTF-8 and valid JSON, whatever the names
    with open(page, "rb") as file:
        file.read().decode("utf-8")
    summary = subprocess.run([BIN, "look", "-m", MODEL, name], capture_output=True).stdout
    summary.decode("utf-8")
    assert b"\x1b" not in summary
    done = subprocess.run([BIN, "look", "-m", MODEL, name + b"x/y", b"--file", name + b"zz"], capture_output=True)
    assert done.returncode == 2 and SENTENCE.fullmatch(done.stderr) and b"\x1b" not in done.stderr


def test_memory_of_observing_grows_with_the_length_not_its_square(tmp_path):
    """Peak memory at 1,024, 2,048, 4,096 tokens: each doubling adds at most 2.5 times what the one before added. What is
    N x N would add 4 times: at 4,096 tokens one f32 map of all heads is 18 GB."""
    peaks = []
    for tokens in (1024, 2048, 4096):
        text = tmp_path / f"{tokens}.txt"
        text.write_text(" cat" * tokens)
        process = subprocess.Popen([BIN, "look", "-m", MODEL, text, "--json", "-t", "2"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        peaks.append(usage.ru_maxrss / 1024)
    first, second = peaks[1] - peaks[0], peaks[2] - peaks[1]
    print(f"peak memory: {peaks} MB")
    assert second <= 2.5 * max(first, 20), peaks
    assert peaks[2] < 1200, peaks
