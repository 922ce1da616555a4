"""What a reviewer would say every time, said by a test instead.

Each rule is a function from one `Source` to the problems in it; a message says what to do, not only what is
wrong. `BAD` holds, for every rule, something it must object to: a rule that cannot fail is not a rule.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
RATCHET = ROOT / "tests/style/ratchet.toml"

FUNCTION_LINES_MAX = 60
FILE_LINES_MAX = 400

Problem = tuple[int, str]
"""A line number and a sentence."""


@dataclass(frozen=True)
class Source:
    """One text file: its path from the root of the project, and what stands in it."""

    path: str
    text: str
    root: Path = field(default=ROOT, repr=False)

    @property
    def parts(self) -> tuple[str, ...]:
        """The path inside the package, empty outside: `src/tidegate/lab/replay.py` -> lab, replay."""
        below = PurePosixPath(self.path).with_suffix("").parts
        return below[2:] if below[:2] == ("src", "tidegate") else ()

    @property
    def is_python(self) -> bool:
        return self.path.endswith(".py")

    @property
    def is_markdown(self) -> bool:
        return self.path.endswith(".md")

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def prose(self) -> list[str]:
        """The lines of a markdown page, those of fenced code blanked."""
        fenced, lines = False, []
        for line in self.text.splitlines():
            fence = line.lstrip().startswith("```")
            lines.append("" if fenced or fence else line)
            fenced ^= fence
        return lines


# --- Banned calls: time, chance and output come in through the constructor -----------------------

CLOCK = "take a Clock (tidegate.ports) in the constructor"
STOPWATCH = "take a Stopwatch (tidegate.ports) in the constructor"
SEEDED = "take a numpy Generator, or a seed for np.random.default_rng(seed), in the constructor"
BANNED = {
    "time.time": CLOCK,
    "time.time_ns": CLOCK,
    "time.monotonic": CLOCK,
    "time.monotonic_ns": CLOCK,
    "time.perf_counter": STOPWATCH,
    "time.perf_counter_ns": STOPWATCH,
    "datetime.datetime.now": CLOCK,
    "datetime.datetime.utcnow": CLOCK,
    "datetime.datetime.today": CLOCK,
    "datetime.date.today": CLOCK,
    "time.sleep": "let the driver's Clock wait; a stage never does",
    "print": "return a record that cli/ shows, or log with structlog",
    "os.urandom": SEEDED,
    "uuid.uuid4": SEEDED,
}
MAY_DO_ANYTHING = ("drivers", "app", "cli", "examples", "guest")


def names_in(tree: ast.Module) -> Iterator[tuple[ast.expr, str]]:
    """Every name that is read, by the path it was imported from: `np.random.rand` is numpy.random.rand."""
    origin: dict[str, str] = {"print": "print"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.partition(".")[0]
                origin[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            origin |= {a.asname or a.name: f"{node.module}.{a.name}" for a in node.names}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute | ast.Name):
            continue
        tail: list[str] = []
        inner: ast.expr = node
        while isinstance(inner, ast.Attribute):
            tail.insert(0, inner.attr)
            inner = inner.value
        if isinstance(inner, ast.Name) and inner.id in origin:
            yield node, ".".join([origin[inner.id], *tail])


def banned_calls(source: Source) -> Iterator[Problem]:
    """Time, chance and output are the caller's, so that the same seed gives the same decisions."""
    if not source.is_python or not source.parts or source.parts[0] in MAY_DO_ANYTHING:
        return
    unseeded = {
        call.func for call in ast.walk(source.tree) if isinstance(call, ast.Call) and is_seedless(call)
    }
    measures = source.parts[0] == "lab" and source.parts[1:2] and source.parts[1].startswith("bench")
    for node, name in names_in(source.tree):
        module, _, last = name.rpartition(".")
        if measures and last.startswith("perf_counter"):
            continue
        chance = module in {"random", "numpy.random"} and last.islower() and last != "default_rng"
        if name in BANNED or chance:
            yield node.lineno, f"{name} makes two runs differ: {BANNED.get(name, SEEDED)}"
        elif node in unseeded and name in {"numpy.random.default_rng", "random.Random"}:
            yield node.lineno, f"{name} without a seed makes two runs differ: {SEEDED}"


def is_seedless(call: ast.Call) -> bool:
    """No argument, or None."""
    given = [*call.args, *(word.value for word in call.keywords)]
    return all(isinstance(value, ast.Constant) and value.value is None for value in given)


# --- Size, with a ratchet ------------------------------------------------------------------------


@cache
def ratchet() -> dict[str, dict[str, int]]:
    """What is over a limit today, by kind (`functions`, `files`) and by name."""
    return tomllib.loads(RATCHET.read_text("utf-8"))


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, int, int]]:
    """Qualified name, first line and length, its docstring not counted, of every function."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = prefix + node.name
            if not isinstance(node, ast.ClassDef):
                doc = node.body[0] if ast.get_docstring(node, clean=False) is not None else None
                doc_lines = (doc.end_lineno or 0) - doc.lineno + 1 if doc else 0
                yield name, node.lineno, (node.end_lineno or 0) - node.lineno + 1 - doc_lines
            yield from functions(node, name + ".")
        else:
            yield from functions(node, prefix)


def sizes(source: Source) -> Iterator[tuple[str, str, int, int, int]]:
    """Kind, name, line, size and limit of everything that has one."""
    yield "files", source.path, 1, len(source.text.splitlines()), FILE_LINES_MAX
    for name, line, length in functions(source.tree):
        yield "functions", f"{source.path}:{name}", line, length, FUNCTION_LINES_MAX


def too_long(source: Source, listed: dict[str, dict[str, int]] | None = None) -> Iterator[Problem]:
    """A function fits a screen and a file a sitting; what does not yet is listed and may only shrink."""
    if not source.is_python:
        return
    listed = ratchet() if listed is None else listed
    for kind, name, line, size, limit in sizes(source):
        known = listed.get(kind, {}).get(name)
        if size > limit and known is None:
            yield line, f"{name} has {size} lines, {limit} at most: name a part of it and move that out"
        elif known is not None and size > known:
            yield (
                line,
                f"{name} grew from {known} to {size} lines: it is listed in ratchet.toml and may only shrink",
            )
        elif known is not None and size <= limit:
            yield line, f"{name} is within its limit ({size} lines): take it off ratchet.toml"
        elif known is not None and size < known:
            yield line, f"{name} shrank to {size} lines: write {size} in ratchet.toml so that it stays so"


# --- Names and words -----------------------------------------------------------------------------

NAMES_THAT_SAY_NOTHING = {"util", "utils", "common", "helper", "helpers", "manager", "base", "misc"}


def empty_names(source: Source) -> Iterator[Problem]:
    """A package or module is named for its idea."""
    for part in source.parts:
        if part.strip("_") in NAMES_THAT_SAY_NOTHING:
            yield 1, f"'{part}' says nothing about what is inside: name the idea (units, windows, leases)"


LATER = "TO" + "DO"  # in halves, like the words below: this file does not contain what it forbids


def undated_work(source: Source) -> Iterator[Problem]:
    """Work left for later has an issue, where it can be found and closed."""
    for number, line in enumerate(source.text.splitlines(), 1):
        if re.search(rf"\b({LATER}|FIX{'ME'})\b(?!\(#\d+\))", line):
            yield number, f"work left for later needs its issue, as in {LATER}(#12): open one, or do it now"


def undocumented(source: Source) -> Iterator[Problem]:
    """Whoever opens a public module learns first what it is for."""
    name = source.parts[-1] if source.is_python and source.parts else "_"
    is_public = not name.startswith("_") or name == "__init__"
    if is_public and ast.get_docstring(source.tree) is None:
        yield 1, "a public module starts with a docstring: its purpose, and its place in the flow"


FOLDERS = ("wo" + "rk", "op" + "t", "ro" + "ot")
HOSTS = tuple(name + ".org" for name in ("pypi", "pythonhosted", "npmjs", "debian"))
ELSEWHERE = re.compile(rf"(?<![\w.-])/(?:{'|'.join(FOLDERS)})(?![\w-])|{'|'.join(map(re.escape, HOSTS))}")


def elsewhere(source: Source) -> Iterator[Problem]:
    """The tree works anywhere: it names no package registry and no folder of the machine it was made on."""
    for number, line in enumerate(source.text.splitlines(), 1):
        for match in ELSEWHERE.finditer(line):
            yield number, f"'{match[0]}' holds on one machine only: use a path in the project, a package name"


# --- Pages ---------------------------------------------------------------------------------------


def one_title(source: Source) -> Iterator[Problem]:
    """A page is about one thing."""
    titles = [number for number, line in enumerate(source.prose, 1) if line.startswith("# ")]
    if source.is_markdown and len(titles) != 1:
        yield (
            titles[1] if titles else 1,
            f"{len(titles)} titles: a page has exactly one '# ' line, then '## '",
        )


def anchors(page: Source) -> set[str]:
    """What `#...` may follow a link to the page, as forges make it from its headings."""
    headings = (line.lstrip("#").strip().lower() for line in page.prose if re.match(r"#+ ", line))
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in headings}


def broken_links(source: Source) -> Iterator[Problem]:
    """A reader who follows a link arrives."""
    if not source.is_markdown:
        return
    for number, line in enumerate(source.prose, 1):
        for link in re.findall(r"\]\(<?([^)\s>]+)", re.sub(r"`[^`]*`", "", line)):
            if re.match(r"[a-z][a-z+.-]*:", link):
                continue
            path, _, anchor = link.partition("#")
            target = source.root / PurePosixPath(source.path).parent / path
            if path and not target.exists():
                yield number, f"link to '{link}': there is no such file; paths start at this page's folder"
            elif anchor and (not path or target.suffix == ".md"):
                page = Source(link, target.read_text("utf-8")) if path else source
                if anchor not in anchors(page):
                    yield number, f"link to '{link}': that page has no such heading"


# --- The tree keeps the rules --------------------------------------------------------------------

Rule = Callable[[Source], Iterator[Problem]]
RULES: tuple[Rule, ...] = (
    banned_calls, too_long, empty_names, undated_work, undocumented, elsewhere, one_title, broken_links,
)  # fmt: skip
NOT_OURS = {"build", "dist", "node_modules", "LICENSE", "__pycache__"}
BYTES_READ_MAX = 2_000_000


def is_ours(path: Path) -> bool:
    """Not a cache, not a product, not generated."""
    hidden = path.name.startswith(".") and path.name not in {".ci", ".gitignore", ".gitattributes"}
    return not hidden and path.name not in NOT_OURS and not re.search(r"_pb2(_grpc)?\.pyi?$", path.name)


def files_below(folder: Path) -> Iterator[Path]:
    """Every file of the project, in a fixed order."""
    for path in sorted(folder.iterdir()):
        if is_ours(path) and not path.is_symlink():
            yield from files_below(path) if path.is_dir() else [path]


@cache
def sources() -> tuple[Source, ...]:
    """Every text file of the project."""
    found = []
    for path in files_below(ROOT):
        data = path.read_bytes() if path.stat().st_size <= BYTES_READ_MAX else b"\0"
        if b"\0" not in data:
            found.append(Source(path.relative_to(ROOT).as_posix(), data.decode("utf-8")))
    return tuple(found)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_tree_keeps(rule: Rule) -> None:
    problems = [f"{source.path}:{line}: {said}" for source in sources() for line, said in rule(source)]
    assert not problems, f"{rule.__doc__}\n" + "\n".join(problems)


def test_the_ratchet_lists_only_what_exists() -> None:
    sized = {(kind, name) for source in sources() if source.is_python for kind, name, *_ in sizes(source)}
    gone = {(kind, name) for kind, names in ratchet().items() for name in names} - sized
    assert not gone, f"take these off ratchet.toml, they are gone: {sorted(gone)}"


# --- Every rule can fail -------------------------------------------------------------------------

STAGE = "src/tidegate/plan/x.py"
PAGE = "docs/x.md"
LONG = "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX
BAD: tuple[tuple[Rule, str, str, str], ...] = (
    (banned_calls, STAGE, "import time\nnow = time.time()", "take a Clock"),
    (banned_calls, STAGE, "from time import monotonic as m\nclock = m", "take a Clock"),
    (banned_calls, STAGE, "import time\ntime.perf_counter()", "take a Stopwatch"),
    (banned_calls, "src/tidegate/lab/bench/x.py", "import time\ntime.sleep(1)", "Clock wait"),
    (banned_calls, STAGE, "import datetime as d\nd.datetime.now()", "take a Clock"),
    (banned_calls, STAGE, "from datetime import datetime\ndatetime.utcnow()", "take a Clock"),
    (banned_calls, STAGE, "import random\nrandom.shuffle(x)", "Generator"),
    (banned_calls, STAGE, "import random\nrandom.Random()", "without a seed"),
    (banned_calls, STAGE, "import numpy as np\nnp.random.rand(3)", "Generator"),
    (banned_calls, STAGE, "import numpy.random\nnumpy.random.seed(3)", "Generator"),
    (banned_calls, STAGE, "from numpy.random import default_rng\ndefault_rng(None)", "without a seed"),
    (banned_calls, STAGE, "print('x')", "structlog"),
    (too_long, STAGE, LONG, "f has 61 lines"),
    (too_long, STAGE, "class A:\n " + LONG.replace("    ", "      "), "A.f has 61 lines"),
    (too_long, STAGE, "\n" * (FILE_LINES_MAX + 1), "move that out"),
    (empty_names, "src/tidegate/plan/utils.py", "", "name the idea"),
    (empty_names, "src/tidegate/common/x.py", "", "name the idea"),
    (undated_work, "Makefile", f"# {LATER}: later", "needs its issue"),
    (undocumented, STAGE, "x = 1", "starts with a docstring"),
    (undocumented, "src/tidegate/plan/__init__.py", "", "starts with a docstring"),
    (elsewhere, "Makefile", f"cp x /{FOLDERS[0]}/main", "one machine only"),
    (elsewhere, "x.txt", f"--find-links /{FOLDERS[1]}/wheels", "one machine only"),
    (elsewhere, "x.txt", f"--index-url https://{HOSTS[0]}/simple", "one machine only"),
    (one_title, PAGE, "# A\n# B", "2 titles"),
    (one_title, PAGE, "```\n# a comment\n```", "0 titles"),
    (broken_links, PAGE, "see [it](nowhere.md)", "no such file"),
    (broken_links, PAGE, "# A\nsee [it](#b)", "no such heading"),
)  # fmt: skip
GOOD: tuple[tuple[Rule, str, str], ...] = (
    (banned_calls, "src/tidegate/drivers/x.py", "import time\ntime.time()"),
    (banned_calls, "src/tidegate/lab/benchmark.py", "import time\ntime.perf_counter()"),
    (banned_calls, STAGE, "import numpy as np\ndef f(g: np.random.Generator): np.random.default_rng(7)"),
    (banned_calls, STAGE, "self.clock.time(); random.shuffle(x); time = 3"),
    (banned_calls, "tests/x.py", "print('x')"),
    (too_long, STAGE, LONG.replace("pass\n", "'''\n" + "\n" * 9 + "'''\n", 1)),
    (undated_work, STAGE, f"# {LATER}(#12): later"),
    (undocumented, "src/tidegate/plan/_x.py", "x = 1"),
    (elsewhere, PAGE, f"a/{FOLDERS[0]}/b, {FOLDERS[0]}/ and net{FOLDERS[0]}/"),
    (one_title, PAGE, "# A\n```\n# a comment\n```\n## B"),
    (broken_links, PAGE, "# A b!\n[up](../LICENSE) [a](#a-b) [b](https://example.org/x) `[c](d)`"),
)  # fmt: skip


@pytest.mark.parametrize(("rule", "path", "text", "said"), BAD)
def test_objects_to(rule: Rule, path: str, text: str, said: str) -> None:
    assert any(said in problem for _, problem in rule(Source(path, text)))


@pytest.mark.parametrize(("rule", "path", "text"), GOOD)
def test_accepts(rule: Rule, path: str, text: str) -> None:
    assert list(rule(Source(path, text))) == []


def test_every_rule_can_fail() -> None:
    assert {rule for rule, *_ in BAD} == set(RULES)


@pytest.mark.parametrize(
    ("listed", "said"),
    [(70, "take it off"), (62, "so that it stays so"), (60, "may only shrink"), (61, None)],
)
def test_the_ratchet_turns_one_way(listed: int, said: str | None) -> None:
    lines = 50 if said == "take it off" else 61
    source = Source(STAGE, "def f():\n" + "    pass\n" * (lines - 1))
    problems = [problem for _, problem in too_long(source, {"functions": {f"{STAGE}:f": listed}})]
    assert problems == [] if said is None else said in problems[0]
