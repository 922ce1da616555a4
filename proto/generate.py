"""Writes the Python of `proto/` into `src/tidegate/wire`: `make proto`.

The packages of the protocol and of Python differ (`tidegate.card.v1` is `tidegate.wire.card.v1` here), which
protoc can't be told; so the imports among generated modules are rewritten.
"""

from __future__ import annotations

import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final

from grpc_tools import protoc

PROTO: Final = Path(__file__).parent
OUT: Final = PROTO.parent / "src" / "tidegate" / "wire"
PACKAGE: Final = re.compile(r"\btidegate(?=[./_](?:card|simulated)\b)")
"""In import lines: the package of the protocol, or its folder."""


def main(out: Path = OUT) -> int:
    """Generate into a folder, and return protoc's exit code."""
    sources = sorted(str(path.relative_to(PROTO)) for path in PROTO.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        outs = [f"--{kind}_out={folder}" for kind in ("python", "grpc_python", "mypy", "mypy_grpc")]
        common = files("grpc_tools") / "_proto"
        code = int(protoc.main(["protoc", f"-I{PROTO}", f"-I{common}", *outs, "--mypy_opt=quiet", *sources]))
        if code == 0:
            for made in sorted(Path(folder).rglob("*.py*")):
                target = out / made.relative_to(Path(folder) / "tidegate")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(_moved(made.read_text(encoding="utf-8")), encoding="utf-8")
    return code


def _moved(text: str) -> str:
    """Return generated text whose imports name the package it lies in; descriptors stay as they are."""
    lines = text.splitlines(keepends=True)
    return "".join(
        PACKAGE.sub("tidegate.wire", line) if line.startswith(("from tidegate", "import tidegate")) else line
        for line in lines
    )


if __name__ == "__main__":
    sys.exit(main())
