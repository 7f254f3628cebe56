"""Where the command, the model and the texts of the tests are. What is missing is a failure, in words."""

import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("BAREATTN_BIN", ROOT / "build/bareattn")).resolve()
MODEL = pathlib.Path(os.environ.get("BAREATTN_MODEL", ROOT / "models/SmolLM2-135M-Instruct.Q4_1.gguf")).resolve()
TOM = ROOT / "tests/golden/text/tom-sawyer.txt"
assert BIN.exists() and MODEL.exists(), f"{BIN}, {MODEL}: ./x build, ./x model"
