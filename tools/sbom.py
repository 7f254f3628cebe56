#!/usr/bin/env python3
"""What is inside: writes the bill of materials (CycloneDX JSON) and the notices of all that is compiled in.

CMake calls it when the library is built, with what it found: --component NAME=VERSION=LICENSE[=FILE], FILE being the text of
the licence. The page's packages are read from viewer/package-lock.json; what is there for development only is not inside.
A package without the text of its licence is an error, for its notice must go along. Standard library only.
"""
import argparse
import hashlib
import json
import sys
from pathlib import Path


def page_packages(viewer):
    """(name, version, licence, text) of what the page is bundled from."""
    lock = json.loads((viewer / "package-lock.json").read_text())
    for path, package in sorted(lock["packages"].items()):
        if not path or package.get("dev") or package.get("optional"):
            continue
        folder = viewer / path
        texts = [file for file in sorted(folder.glob("*")) if file.name.upper().startswith(("LICENSE", "LICENCE", "COPYING"))]
        if not texts:
            raise SystemExit(f"sbom: {folder} has no licence text; its notice must go along with the page")
        about = json.loads((folder / "package.json").read_text())
        yield path.split("node_modules/")[-1], package["version"], about["license"], texts[0].read_text().strip()


def component(name, version, licence, source):
    return {"type": "library", "name": name, "version": version, "bom-ref": f"{source}/{name}@{version}",
            "licenses": [{"expression" if " " in licence else "license": licence if " " in licence else {"id": licence}}],
            **({"purl": f"pkg:npm/{name.replace('@', '%40')}@{version}"} if source == "npm" else {})}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--viewer", type=Path)
    parser.add_argument("--component", action="append", default=[])
    choice = parser.parse_args()
    inside, notices = [], []
    if choice.viewer:
        for name, version, licence, text in page_packages(choice.viewer):
            inside.append(component(name, version, licence, "npm"))
            notices.append((f"{name} {version} ({licence}), in the page", text))
    for given in choice.component:
        name, version, licence, *file = given.split("=")
        inside.append(component(name, version, licence, "build"))
        if file and file[0]:
            notices.append((f"{name} {version} ({licence})", Path(file[0]).read_text(errors="replace").strip()))
    bill = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "metadata": {"component": {"type": "library", "name": "bareattn", "version": choice.version, "bom-ref": "bareattn",
                                   "licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": inside,
        "dependencies": [{"ref": "bareattn", "dependsOn": [each["bom-ref"] for each in inside]}],
    }
    # The same inputs give the same bytes, the serial number included.
    digest = hashlib.sha256(json.dumps(bill, sort_keys=True).encode()).hexdigest()
    bill["serialNumber"] = f"urn:uuid:{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    choice.out.mkdir(parents=True, exist_ok=True)
    (choice.out / "bareattn.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    rule = "\n\n" + "-" * 100 + "\n\n"
    head = "Bare Attention is licensed under the Apache License 2.0. It contains the following, under their own licences."
    (choice.out / "THIRD_PARTY_NOTICES.txt").write_text(
        rule.join([head, *(f"{title}\n\n{text}" for title, text in notices)]) + "\n")


if __name__ == "__main__":
    sys.exit(main())
