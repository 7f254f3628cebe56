"""Pictures of every view of the page for the documents: docs/images/views/VIEW-{desktop,phone}-{light,dark}.png.

page_pictures.py [VIEW...] runs a chapter of Alice with the model, as `look` and as two traces (the second one steered: a
passage boosted in all heads), serves a short sentence, takes the pictures (tests/browser/pictures.mjs) and
writes them with a palette of 192 colours, which is what keeps them small. Needs Pillow, and tests/browser set up. The
pictures are looked at by people; nothing compares them.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
BIN = os.environ.get("BAREATTN_BIN", str(ROOT / "build/bareattn"))
MODEL = os.environ.get("BAREATTN_MODEL", str(ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf"))
ALICE = ROOT / "examples/text/alice.txt"
SENTENCE = "The cat sat on the mat because it was tired, and the dog lay down beside it."
STEERING = {"format": "bareattn-steering", "version": 1, "interventions": [
    {"kind": "boost", "heads": ["*"], "keys": [[60, 84]], "value": 4},
    {"kind": "temperature", "heads": ["12.*"], "value": 2}]}


def run(*command):
    subprocess.run([BIN, *map(str, command)], check=True, stdout=subprocess.DEVNULL)


def main():
    out = ROOT / "docs/images/views"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        raw = folder / "raw"
        raw.mkdir()
        run("look", "-m", MODEL, ALICE, "-o", folder / "one.html")
        (folder / "steering.json").write_text(json.dumps(STEERING))
        start = ALICE.read_text(encoding="utf-8")[:900]
        run("trace", "-m", MODEL, "--text", start, "-o", folder / "a.safetensors", "--title", "Alice, as the model is")
        run("trace", "-m", MODEL, "--text", start, "--table", folder / "steering.json", "-o", folder / "b.safetensors",
            "--title", "Alice, a passage boosted")
        run("page", folder / "a.safetensors", "--against", folder / "b.safetensors", "-o", folder / "two.html")
        server = subprocess.Popen([BIN, "serve", "--json", "-m", MODEL, "--text", SENTENCE], stdout=subprocess.PIPE)
        try:
            url = json.loads(server.stdout.readline())["url"]
            subprocess.run(["node", ROOT / "tests/browser/pictures.mjs", raw, folder / "one.html", folder / "two.html", url,
                            *sys.argv[1:]], check=True)
        finally:
            server.terminate()
            server.wait()
        for picture in sorted(raw.iterdir()):
            with Image.open(picture) as image:
                few = image.convert("RGB").quantize(192, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
                few.save(out / picture.name, optimize=True)
    print(f"{sum(p.stat().st_size for p in out.iterdir()) / 1e6:.1f} MB in {out.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
