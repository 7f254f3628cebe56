"""What people type: paths that lead nowhere, texts without quotes, commands that are nearly right, transcripts with control
tokens, files in other encodings; model files that are odd and harmless; what a shell completes."""
import gzip
import json
import re
import shutil
import struct
import subprocess

import pytest
from test_cli import MODEL, SHORT, TOM, on_terminal, refused, run, subjects, width  # noqa: F401 (subjects is a fixture)


def tokens_of(done):
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def warnings(done):
    assert done.returncode == 0, done.stderr
    return done.stderr.decode()


@pytest.mark.parametrize("word", ["storry.txt", "folder/story", "/tmp/no-such-file", "run.safetensors", "model.gguf"])
def test_a_path_that_leads_nowhere_is_said(word):
    assert f"there is no file '{word}'" in warnings(run("tokenize", word))
    assert warnings(run("tokenize", "--text", word)) == ""


@pytest.mark.parametrize("text", ["Hello", "a/b is half", "The end.", "wait...", "3.14"])
def test_a_text_is_no_path(text):
    assert warnings(run("tokenize", text)) == ""


def test_what_is_no_text_is_named(tmp_path):
    refused(run("look", MODEL), 2, "is a model (a GGUF file), not a text", "-m")
    trace = tmp_path / "run.safetensors"
    assert run("trace", SHORT, "-o", trace).returncode == 0
    for command in ("look", "tokenize", "generate"):
        refused(run(command, trace), 2, "is a trace", "not a text")
    refused(run("diff", MODEL, tmp_path / "missing.gguf", SHORT), 2, "missing.gguf: cannot be opened", "No such file")


def test_encodings_are_said(tmp_path):
    path = tmp_path / "text.txt"

    def of(content):
        path.write_bytes(content)
        return run("tokenize", path, "--json")

    plain = tokens_of(of(SHORT.encode()))
    marked = of(b"\xef\xbb\xbf" + SHORT.encode())
    assert tokens_of(marked) == plain, "the mark is no token"
    assert "byte order mark was taken off the beginning of text.txt" in warnings(marked)
    assert "UTF-16" in warnings(of(SHORT.encode("utf-16")))
    assert "UTF-16" in warnings(of(SHORT.encode("utf-16-le")))
    assert "WINDOWS-1252" in warnings(of("Müller’s café".encode("windows-1252")))
    assert "gzip" in warnings(of(gzip.compress(SHORT.encode())))
    for fine in (SHORT, "Müller’s café \ufffd", "你好"):
        assert warnings(of(fine.encode())) == ""


TRANSCRIPT = "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"


def test_control_tokens_that_are_spelled_out(tmp_path):
    spelled = run("tokenize", TRANSCRIPT, "--json")
    assert "spells out 3 control tokens (<|im_start|>)" in warnings(spelled) and "--special" in warnings(spelled)
    meant = run("tokenize", TRANSCRIPT, "--json", "--special")
    assert warnings(meant) == "" and len(tokens_of(meant)) < len(tokens_of(spelled))
    ids = tokens_of(meant)
    document = json.loads(run("look", TRANSCRIPT, "--json", "--special").stdout)
    assert [t for t in document["text"]["tokens"]].count("<|im_start|>") == 2 and len(document["text"]["tokens"]) == len(ids)
    path = tmp_path / "run.safetensors"
    for command in (("trace", "-o", path), ("generate", "-n", "1"), ("perplexity",), ("stream",), ("measures",), ("agree",),
                    ("steer", "--boost", "Hi", "-n", "1")):
        done = run(*command, TRANSCRIPT)
        assert "spells out 3 control tokens" in warnings(done), command
        assert "spells out" not in warnings(run(*command, "--special", TRANSCRIPT)), command
    assert warnings(run("tokenize", "a < b |> c")) == ""


def test_a_given_span_keeps_its_name():
    def spans(*given):
        document = json.loads(run("look", "--chat", "Who wrote Hamlet?", "--json", *given).stdout)
        return {s["name"]: s["tokens"] for s in document["spans"]}

    automatic = spans()
    assert {"system", "question", "special"} <= set(automatic)
    given = spans("--span", "question=wrote", "--span", "system=0:2")
    assert given["question"] == 1 and given["system"] == 2
    assert given["chat question"] == automatic["question"] and given["chat system"] == automatic["system"]
    assert given["special"] == automatic["special"]


def test_what_is_nearly_right():
    refused(run("lok", SHORT), 2, "no command 'lok'", "did you mean 'look'?")
    refused(run("tokenise", SHORT), 2, "did you mean 'tokenize'?")
    refused(run("xyzzy"), 2, "no command 'xyzzy'")
    assert "did you mean" not in run("xyzzy").stderr.decode()
    refused(run("look", SHORT, "--ouput", "x"), 2, "no option '--ouput'", "did you mean '--output'?")
    refused(run("look", "the", "cat", "sat"), 2, "'cat' 'sat'", "in quotes")
    refused(run("completion", "bash", "more"), 2, "'more'")
    assert run("help").stdout == run("--help").stdout != b""
    assert run("help", "look").stdout == run("look", "--help").stdout != b""
    assert run("version").stdout == run("--version").stdout != b""
    refused(run("help", "lok"), 2, "did you mean 'look'?")


def test_what_is_generated_is_piped_as_it_is():
    made = run("generate", "The capital of France is", "-n", "5").stdout
    seen = json.loads(run("look", "-", "--json", stdin=made).stdout)
    assert "".join(seen["text"]["tokens"]).encode() == made and not made.endswith(b"\n")


def test_counting_from_the_end(tmp_path):
    trace = tmp_path / "run.safetensors"
    assert run("trace", SHORT, "-o", trace).returncode == 0
    last = len(tokens_of(run("tokenize", SHORT, "--json"))) - 1
    assert run("row", trace, "5.3", "-1").stdout == run("row", trace, "5.3", str(last)).stdout != b""
    assert run("tile", trace, "5.3", "-3:", ":-1", "--csv").stdout == \
        run("tile", trace, "5.3", f"{last - 2}:", f":{last}", "--csv").stdout != b""
    refused(run("row", trace, "5.3", f"-{last + 2}"), 2, "no range", "-1 is the last")


def test_the_best_heads_of_a_measure(tmp_path):
    trace = tmp_path / "run.safetensors"
    assert run("trace", SHORT * 4, "-o", trace).returncode == 0
    lines = run("measures", trace, "--measures", "repeats", "--sort", "after", "--top", "5").stdout.decode().splitlines()
    heads = [line.split() for line in lines if re.match(r"\d+\.\d+ ", line)]
    assert len(heads) == 5 and lines[-1] == "and 265 other heads"
    after = [float(head[2]) for head in heads]
    assert after == sorted(after, reverse=True)
    everything = run("measures", trace, "--measures", "repeats").stdout.decode().splitlines()
    assert max(float(line.split()[2]) for line in everything if re.match(r"\d+\.\d+ ", line)) == after[0]
    refused(run("measures", trace, "--sort", "nothing"), 2, "no column 'nothing'", "after")


# --- model files ----------------------------------------------------------------------------------------------------


def keys(path):
    """Where each metadata value of a GGUF file stands: name, offset of its key, of its type, of its end."""
    data = path.read_bytes()
    at, all_of = 24, {}
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    for _ in range(struct.unpack_from("<Q", data, 16)[0]):
        start = at
        length, = struct.unpack_from("<Q", data, at)
        name = data[at + 8:at + 8 + length].decode()
        at += 8 + length
        kind, = struct.unpack_from("<I", data, at)
        value = at = at + 4
        if kind == 8:
            at += 8 + struct.unpack_from("<Q", data, at)[0]
        elif kind == 9:
            element, count = struct.unpack_from("<IQ", data, at)
            at += 12
            for _ in range(count if element == 8 else 0):
                at += 8 + struct.unpack_from("<Q", data, at)[0]
            at += sizes.get(element, 0) * count
        else:
            at += sizes[kind]
        all_of[name] = (start, value)
    return all_of


def changed(tmp_path, edit):
    path = tmp_path / "odd.gguf"
    shutil.copy(MODEL, path)
    places = keys(MODEL)
    with open(path, "r+b") as file:
        def put(name, old, new):
            file.seek(places[name][0])
            content = file.read(400)
            assert len(old) == len(new) and old in content
            file.seek(places[name][0] + content.index(old))
            file.write(new)
        edit(put)
    return path


def test_info_and_tokenize_of_a_model_that_is_not_run(tmp_path):
    assert run("info", "-m", MODEL, model=None).stdout == run("info", MODEL, model=None).stdout != b""
    foreign = changed(tmp_path, lambda put: put("general.architecture", b"llama", b"mamba"))
    text = run("info", foreign, model=None).stdout.decode()
    assert "mamba" in text and "134,515,008" in text and "Not run" in text and "49,152 tokens" in text
    assert run("tokenize", SHORT, "-m", foreign).stdout == run("tokenize", SHORT).stdout != b""
    refused(run("look", SHORT, "-m", foreign), 2, "'mamba'")
    empty = changed(tmp_path, lambda put: put("tokenizer.ggml.pre", b"tokenizer.ggml.pre", b"tokenizer.ggml.prE"))
    assert "does not name its pre-tokenizer" in warnings(run("tokenize", SHORT, "-m", empty))


def test_odd_and_harmless_model_files(tmp_path):
    path = tmp_path / "longer.gguf"
    shutil.copy(MODEL, path)
    with open(path, "ab") as file:
        file.write(b"x" * 100_000)
    done = run("tokenize", SHORT, "-m", path)
    assert done.stdout == run("tokenize", SHORT).stdout and "100000 more bytes; they are not read" in warnings(done)


# --- the summary ----------------------------------------------------------------------------------------------------


def test_narrow_terminals_break_no_words():
    text = "The telegraph operator misunderstood everything that the stationmaster had transmitted yesterday."
    out = on_terminal("look", "--text", text, "--color", "never", columns=40)[1]
    lines = out[out.index("Text"):].replace("\r", "").split("\n")
    assert max(map(width, lines)) <= 40
    together = " ".join(line.strip() for line in lines)
    for words in ("rest on the first token: nothing to add", "look at the token just before", "of the text"):
        assert words in together or words == "of the text", together


def test_what_can_be_tested_is_said_until_it_was(tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    said = run("look", SHORT, env=env).stdout.decode()
    assert "bareattn roles" in said and "induction" in said and "retrieval" in said
    assert run("roles", "-n", "4", "--draws", "0", env=env).returncode == 0
    assert "tests it, once a model" not in run("look", SHORT, env=env).stdout.decode()


def exact_of(page):
    heads = 9  # a layer of the test's model
    return [divmod(h, heads) for h in json.loads(re.search(r'"exact":(\[[\d,]*\])', page.read_text())[1])]


def test_exact_heads_are_those_of_known_roles_first(tmp_path):
    env = {"XDG_CACHE_HOME": str(tmp_path)}
    found = json.loads(run("roles", "-n", "4", "--draws", "0", "--json", env=env).stdout)
    text, page = TOM.read_text()[:9000], tmp_path / "page.html"
    assert run("look", "--text", text, "-o", page, "--budget", "6", env=env).returncode == 0
    heads = {f"{layer}.{head}" for layer, head in exact_of(page)}
    best = max(found["heads"], key=lambda h: h["scores"]["induction"][0])
    assert 0 < len(heads) < 60 and f"{best['layer']}.{best['head']}" in heads


# --- the shell ------------------------------------------------------------------------------------------------------


def test_bash_completes_files_and_values(tmp_path):
    script = tmp_path / "completion.bash"
    script.write_bytes(run("completion", "bash", model=None).stdout)

    def completed(*words):
        line = " ".join(f"'{w}'" for w in words)
        asked = f'source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _bareattn; echo "${{COMPREPLY[@]}}"'
        done = subprocess.run(["bash", "-c", asked], capture_output=True, text=True)
        assert done.stderr == ""
        return done.stdout.split()

    assert completed("bareattn", "look", "-m", "") == []  # then bash completes files
    assert completed("bareattn", "look", "--file", "st") == []
    assert completed("bareattn", "look", "") == []
    assert completed("bareattn", "look", "--precision", "") == ["f32", "bf16"]
    assert completed("bareattn", "look", "--beyond", "e") == ["extrapolate"]
    assert completed("bareattn", "trace", "--store", "b") == ["bf16"]
    assert "repeats" in completed("bareattn", "measures", "--measures", "")
    assert completed("bareattn", "completion", "") == ["bash", "zsh", "fish"] or \
        set(completed("bareattn", "completion", "z")) == {"zsh"}
    assert completed("bareattn", "hel") == ["help"] and "look" in completed("bareattn", "help", "")
    assert "(f32 bf16)" in run("completion", "zsh", model=None).stdout.decode()
    assert "-x -a 'f32 bf16'" in run("completion", "fish", model=None).stdout.decode()
