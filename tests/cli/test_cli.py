"""The bareattn command from outside, on the real model: exit statuses, one sentence on stderr, nothing half-written,
JSON against its schema, colour and width of the summary, Ctrl-C. Run by ./x test cli; BAREATTN_BIN and BAREATTN_MODEL
name another binary or model."""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unicodedata
from pathlib import Path

import jsonschema
import pytest

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(os.environ.get("BAREATTN_BIN", ROOT / "build/bareattn"))
MODEL = Path(os.environ.get("BAREATTN_MODEL", ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
TOM = ROOT / "tests/golden/text/tom-sawyer.txt"
SHORT = "The cat sat on the mat because it was tired. The cat slept."
HOSTILE = "start \x1b[31mred\x1b[0m \u202eevil\u202c \x07bell </script> \u200bend"


@pytest.fixture(scope="session", autouse=True)
def subjects():
    assert BIN.exists(), f"{BIN} is missing: ./x build"
    assert MODEL.exists(), f"{MODEL} is missing: ./x model"


def run(*arguments, stdin=None, env=None, model=MODEL, timeout=600):
    environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS", "BAREATTN_MODEL")}
    environment.update(env or {})
    if model is not None and "BAREATTN_MODEL" not in environment:
        environment["BAREATTN_MODEL"] = str(model)
    source = {"input": stdin} if stdin is not None else {"stdin": subprocess.DEVNULL}
    return subprocess.run([BIN, *map(str, arguments)], capture_output=True, env=environment, timeout=timeout, **source)


def refused(done, status, *parts):
    """One sentence on stderr that holds the parts, nothing on stdout, the exit status."""
    text = done.stderr.decode()
    assert done.returncode == status, text
    assert done.stdout == b""
    assert text.startswith("bareattn: ") and text.count("\n") == 1 and text.endswith("\n"), text
    for part in parts:
        assert part in text, text


def width(line):
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in line)


def on_terminal(*arguments, columns=80, env=None, interrupt_after=None):
    """Runs on a pseudo-terminal of that width: (exit status, all that came out)."""
    pid, fd = pty.fork()
    if pid == 0:
        environment = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "COLUMNS")}
        environment.update({"TERM": "xterm-256color", "BAREATTN_MODEL": str(MODEL), **(env or {})})
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(BIN, [str(BIN), *map(str, arguments)], environment)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    out, start, sent = b"", time.monotonic(), False
    while time.monotonic() - start < 120:
        if interrupt_after is not None and not sent and interrupt_after in out:
            os.write(fd, b"\x03")
            sent = True
        if select.select([fd], [], [], 0.05)[0]:
            try:
                part = os.read(fd, 65536)
            except OSError:
                break
            if not part:
                break
            out += part
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), out.decode("utf-8", "replace")


# --- usage ------------------------------------------------------------------------------------------------------------


def test_version_and_help():
    done = run("--version")
    assert done.returncode == 0 and re.fullmatch(rb"bareattn \d+\.\d+\.\d+\n", done.stdout)
    for command in ((), ("look",), ("generate",), ("tokenize",), ("perplexity",), ("info",), ("completion",)):
        done = run(*command, "--help")
        assert done.returncode == 0 and b"bareattn" in done.stdout and done.stderr == b""
        assert b"Example" in done.stdout or b"Begin with" in done.stdout


def test_nothing_at_all_teaches():
    done = run()
    assert done.returncode == 2 and done.stdout == b"" and b"Begin with" in done.stderr


@pytest.mark.parametrize("arguments, part", [
    (("lok",), "lok"),
    (("look", "--nonsense", SHORT), "--nonsense"),
    (("look", SHORT, "--top", "0"), "--top"),
    (("look", SHORT, "-t", "-1"), "--threads"),
    (("look", SHORT, "--precision", "f64"), "f64"),
    (("look", SHORT, "--exact", "30.0"), "30"),
    (("look", SHORT, "--exact", "5"), "LAYER.HEAD"),
    (("look", SHORT, "--exact", "1.2,,"), "LAYER.HEAD"),
    (("look", SHORT, "--text", "again"), "more than once"),
    (("look",), "empty"),
    (("look", "--text", ""), "empty"),
    (("look", "-"), "empty"),
    (("perplexity", "one"), "at least two"),
    (("look", "--file", "/nonexistent/text"), "/nonexistent/text"),
    (("look", "--file", "/"), "directory"),
    (("generate", SHORT, "-n", "9000"), "8192"),
    (("completion", "tcsh"), "tcsh"),
])
def test_usage_and_input_are_refused(arguments, part):
    refused(run(*arguments), 2, part)


def test_text_longer_than_the_context(tmp_path):
    long = tmp_path / "long.txt"
    long.write_text("cat " * 9000)
    refused(run("look", long, "-o", tmp_path / "page.html"), 2, "8192", "tokens long")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["long.txt"]


def test_no_model_named():
    refused(run("look", SHORT, model=None), 2, "no model", "-m")


@pytest.mark.parametrize("name, content", [
    ("empty", b""),
    ("byte", b"G"),
    ("text", b"This is no model.\n" * 100),
    ("zip", b"PK\x03\x04" + bytes(1000)),
    ("header", None),
    ("truncated", None),
])
def test_model_files_that_cannot_be_used(tmp_path, name, content):
    if content is None:
        with open(MODEL, "rb") as file:
            content = file.read(24 if name == "header" else 4_000_000)
    path = tmp_path / f"{name}\x1b[31m.gguf"
    path.write_bytes(content)
    page = tmp_path / "page.html"
    done = run("look", SHORT, "-m", path, "-o", page, model=None)
    refused(done, 2, f"{name}\\x1b[31m.gguf")  # spelled out, never raw
    assert not page.exists() and len(list(tmp_path.iterdir())) == 1


def test_missing_model():
    refused(run("look", SHORT, "-m", "/nonexistent/model.gguf", model=None), 2, "/nonexistent/model.gguf")
    refused(run("info", "/nonexistent/model.gguf", model=None), 2, "/nonexistent/model.gguf")


@pytest.mark.parametrize("option", ["-o={}", "--json={}"])
@pytest.mark.parametrize("place", ["missing/page.html", "."])
def test_unwritable_output_is_seen_before_the_run(tmp_path, option, place):
    # A model that does not exist would be the next complaint: the output is checked first.
    flag = option.format(tmp_path / place)
    arguments = ("-o", tmp_path / place) if flag.startswith("-o") else (flag,)
    refused(run("look", SHORT, "-m", "/nonexistent/model.gguf", *arguments), 1, str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_full_standard_output():
    with open("/dev/full", "wb") as full:
        done = subprocess.run([BIN, "look", "-m", MODEL, SHORT], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1 and done.stderr.startswith(b"bareattn: ")


# --- look -------------------------------------------------------------------------------------------------------------


def schema():
    return json.loads((ROOT / "docs/schema/look.schema.json").read_text())


@pytest.mark.parametrize("text", [SHORT, "Hi", HOSTILE, "naïve 😀 \U0001F9D1\u200D\U0001F680 你好世界 \ufffd"])
def test_json_follows_its_schema(text):
    done = run("look", "--text", text, "--json", "--top", "3")
    assert done.returncode == 0 and done.stderr == b"", done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, schema(), cls=jsonschema.Draft202012Validator)
    length = document["text"]["length"]
    assert "".join(document["text"]["tokens"]) == text
    assert len(document["text"]["ids"]) == length == len(document["text"]["tokens"])
    assert len(document["heads"]) == document["model"]["layers"] * document["model"]["heads"] == 270
    last = document["last_token"]
    assert last["position"] == length - 1
    assert sum(k["weight"] for k in last["keys"]) + last["rest"]["weight"] == pytest.approx(1, abs=1e-4)
    assert len(last["keys"]) + last["rest"]["tokens"] == length
    assert [k["weight"] for k in last["keys"]] == sorted((k["weight"] for k in last["keys"]), reverse=True)
    if length > 1:
        ids = {m["id"] for m in document["measures"]}
        assert all(set(h["means"]) == ids and None not in h["means"].values() for h in document["heads"])
    else:
        assert all(v is None for v in document["heads"][0]["means"].values())


def test_schema_can_refuse():
    document = json.loads(run("look", SHORT, "--json").stdout)
    document["heads"][3]["role"]["name"] = "dreaming"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema())


def test_same_bits_for_any_number_of_threads():
    one, two = (json.loads(run("look", TOM, "--json", "-t", n).stdout) for n in (1, 2))
    assert one["run"]["threads"] == 1 and two["run"]["threads"] == 2
    one["run"] = two["run"] = None
    assert one == two


def test_argument_file_and_standard_input_are_the_same(tmp_path):
    path = tmp_path / "cat.txt"
    path.write_text(SHORT)
    documents = [json.loads(run("look", *how, "--json", stdin=stdin).stdout) for how, stdin in (
        ((SHORT,), None), ((path,), None), (("--file", path), None), (("-",), SHORT.encode()),
        (("--file", "-"), SHORT.encode()))]
    assert [d["text"]["origin"] for d in documents] == [None, "cat.txt", "cat.txt", "standard input", "standard input"]
    for document in documents:
        document["run"] = document["text"]["origin"] = None
        assert document == documents[0]


def test_any_bytes_are_a_text():
    document = json.loads(run("look", "-", "--json", stdin=b"a\x80\x00b\xc3").stdout)
    assert "".join(document["text"]["tokens"]) == "a\ufffd\x00b\ufffd"
    assert run("look", "-", "--json", stdin=bytes(range(256))).returncode == 0


def test_json_file_and_page_are_written_beside_the_summary(tmp_path):
    page, data = tmp_path / "page.html", tmp_path / "look.json"
    page.write_text("old")
    done = run("look", SHORT, "-o", page, f"--json={data}", "--exact", "5.3,6.*", "--title", "<b>T</b>")
    assert done.returncode == 0, done.stderr
    assert b"Heads to look at first" in done.stdout and str(page).encode() in done.stdout
    document = json.loads(data.read_text())
    jsonschema.validate(document, schema())
    assert document["page"] == str(page)
    assert page.read_text().lstrip().lower().startswith("<!doctype html>")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["look.json", "page.html"]


def test_exact_chooses_the_heads_that_the_page_holds_exactly(tmp_path):
    page, held = tmp_path / "page.html", {}
    for exact in ("auto", "none", "5.3,6.*"):
        assert run("look", SHORT, "-o", page, "--exact", exact).returncode == 0
        data = re.search(r'<script[^>]* id="page-data"[^>]*>(.*?)</script>', page.read_text(), re.S)[1]
        held[exact] = sorted(json.loads(data)["exact"])
    assert held["none"] == []
    assert held["5.3,6.*"] == [5 * 9 + 3, *range(54, 63)]
    assert held["auto"] == list(range(270))


def test_chat_applies_the_template():
    document = json.loads(run("look", "--chat", "Hello", "--json").stdout)
    text = "".join(document["text"]["tokens"])
    assert text.endswith("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
    assert len(document["text"]["ids"]) < 40  # control tokens are single tokens


def test_beginning_of_sequence():
    plain, bos = (json.loads(run("look", "Hi there", "--json", *o).stdout)["text"]["ids"] for o in ((), ("--bos",)))
    assert bos == [1, *plain]


# --- the summary ------------------------------------------------------------------------------------------------------


def test_summary_into_a_pipe_has_no_escape_and_says_what_it_must():
    done = run("look", TOM, env={"COLUMNS": "80"})
    text = done.stdout.decode()
    assert done.returncode == 0 and done.stderr == b"" and "\x1b" not in text and "\r" not in text
    for part in ("3,654 tokens", "Q4_1", "tokens/s", "threads", "What the 270 heads do", "previous-token",
                 "Heads to look at first", "Where the last token looks", "other tokens"):
        assert part in text
    assert re.search(r"f32|bf16", text)
    assert max(map(width, text.splitlines())) <= 80


@pytest.mark.parametrize("columns", [40, 80, 132])
@pytest.mark.parametrize("text", [SHORT, "你好世界，这是一个测试。" * 8, "word" * 200, HOSTILE])
def test_summary_fits_the_terminal(columns, text):
    status, out = on_terminal("look", "--text", text, columns=columns)
    assert status == 0, out
    shown = out[out.index("Text"):]
    for line in re.sub(r"\x1b\[[0-9;]*[mK]", "", shown).split("\r\n"):
        assert width(line.split("\r")[-1]) <= columns, line


def test_colour_is_for_terminals_that_want_it():
    background = "\x1b[48;5;"
    assert background in on_terminal("look", SHORT)[1]
    assert "\x1b[0m" not in on_terminal("look", SHORT, env={"NO_COLOR": "1"})[1]
    assert "\x1b" not in on_terminal("look", SHORT, env={"TERM": "dumb"})[1]
    assert "\x1b[0m" not in on_terminal("look", SHORT, "--color", "never")[1]
    assert background.encode() in run("look", SHORT, "--color", "always").stdout


def test_hostile_text_cannot_act_on_the_terminal():
    out = run("look", "--text", HOSTILE).stdout.decode()
    assert "\x1b" not in out and "\u202e" not in out and "\x07" not in out and "\u200b" not in out
    assert "\\x1b" in out
    coloured = run("look", "--text", HOSTILE, "--color", "always").stdout.decode()
    assert set(re.findall(r"\x1b\[[^m]*m", coloured)) == set(re.findall(r"\x1b\[[0-9;]*m", coloured))
    assert "\x1b[31m" not in coloured
    assert b"\x1b" not in run("tokenize", "--text", HOSTILE).stdout


def test_progress_bar_is_drawn_on_a_terminal_and_taken_away():
    status, out = on_terminal("look", TOM)
    assert status == 0
    assert re.search(r"Looking.*\d+ %.*of 3,654 tokens", out)
    before, _, _ = out.partition("Text")
    assert before.rstrip("\x1b[1m").endswith("\r\x1b[K")


# --- Ctrl-C -----------------------------------------------------------------------------------------------------------


def test_interrupt_leaves_nothing_behind(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TOM.read_text() + TOM.read_text())
    page, data = tmp_path / "page.html", tmp_path / "look.json"
    page.write_text("old")
    status, out = on_terminal("look", text, "-o", page, f"--json={data}", interrupt_after=b"of 7,")
    assert status == 130, out
    assert "stopped" in out and "What the 270 heads do" not in out
    assert page.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["page.html", "text.txt"]


def test_interrupt_by_signal_without_a_terminal(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text(TOM.read_text() + TOM.read_text())
    process = subprocess.Popen([BIN, "look", "-m", MODEL, text], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1.5)
    start = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and out == b"", err
    assert err == b"bareattn: stopped; nothing was written\n"
    assert time.monotonic() - start < 5


# --- the other commands -----------------------------------------------------------------------------------------------


def test_generate_is_greedy_repeatable_and_seeded():
    first, second = (run("generate", "The capital of France is", "-n", "12").stdout for _ in range(2))
    assert first == second and first.startswith(b"The capital of France is") and b"Paris" in first
    sampled = [run("generate", "Once", "-n", "12", "--temperature", "1", "--seed", s).stdout for s in (1, 1, 2)]
    assert sampled[0] == sampled[1] != sampled[2]
    chat = run("generate", "--chat", "Name three colours.", "-n", "40")
    assert chat.returncode == 0 and not chat.stdout.startswith(b"Name") and b"<|im_end|>" not in chat.stdout


def test_tokenize():
    lines = run("tokenize", "1,234 cats").stdout.decode().splitlines()
    assert len(lines) == 6 and lines[0].split()[0] == "0" and lines[-1].endswith(" cats")
    ids = [int(i) for i in run("tokenize", "1,234 cats", "--ids").stdout.split()]
    assert ids == json.loads(run("tokenize", "1,234 cats", "--json").stdout)
    assert [int(line.split()[1]) for line in lines] == ids
    assert json.loads(run("tokenize", "--special", "<|im_start|>", "--json").stdout) == [1]
    assert len(json.loads(run("tokenize", "<|im_start|>", "--json").stdout)) > 1


def test_perplexity():
    text = TOM.read_text()[:4000]
    done = run("perplexity", "--text", text)
    value = float(done.stdout.split()[0])
    assert done.returncode == 0 and 1 < value < 100
    shuffled = " ".join(sorted(text.split()))
    assert float(run("perplexity", "--text", shuffled).stdout.split()[0]) > 2 * value


def test_info():
    text = run("info", MODEL, model=None).stdout.decode()
    for part in ("llama", "134,515,008", "Q4_1", "30 of 9 query heads, 3 key-value heads", "8,192", "49,152", "smollm"):
        assert part in text


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, tmp_path):
    script = run("completion", shell, model=None).stdout.decode()
    for part in ("look", "generate", "perplexity", "--precision" if shell != "fish" else "-l precision"):
        assert part in script
    if shell == "bash":
        path = tmp_path / "completion.bash"
        path.write_text(script)
        asked = (f'source {path}; COMP_WORDS=(bareattn look --pre); COMP_CWORD=2; _bareattn; echo "${{COMPREPLY[@]}}"; '
                 'COMP_WORDS=(bareattn gen); COMP_CWORD=1; _bareattn; echo "${COMPREPLY[@]}"')
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
        assert done.stdout.split() == ["--precision", "generate"], done
