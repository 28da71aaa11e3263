"""The files of a repository in the order in which a reader would want them: what is imported before what imports it."""

from __future__ import annotations

import heapq
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Final

_README: Final = re.compile(r"(?:^|/)readme(?:\.\w+)?$", re.IGNORECASE)
_TEST: Final = re.compile(
    r"(?:^|/)(?:tests?|specs?|__tests__|examples?|benchmarks?)/|(?:^|/)test_|[._-](?:test|spec)s?\.\w+$"
)
_PYTHON: Final = re.compile(
    r"^[ \t]*(?:from[ \t]+([.\w]+)[ \t]+import[ \t]+([\w*, \t(]+)|import[ \t]+([\w., \t]+))", re.MULTILINE
)
_QUOTED: Final = re.compile(
    r"""(?:\bfrom\s+|\bimport\s+|\brequire\s*\(\s*|\bimport\s*\(\s*|^\s*(?:require|require_relative|load)\s+)["']([^"'\n]{1,200})["']""",
    re.MULTILINE,
)
_INCLUDE: Final = re.compile(r"""^[ \t]*#[ \t]*include[ \t]*[<"]([^>"\n]{1,200})[>"]""", re.MULTILINE)
_DOTTED: Final = re.compile(r"^[ \t]*(?:import|using|open)[ \t]+(?:static[ \t]+)?([A-Za-z_][\w.]{2,200})", re.MULTILINE)
_RUST: Final = re.compile(
    r"^[ \t]*(?:pub(?:\([a-z]+\))?[ \t]+)?(?:mod[ \t]+(\w+)[ \t]*;|use[ \t]+crate::([\w:]+))", re.MULTILINE
)
_SOURCED: Final = re.compile(r"^[ \t]*(?:source|\.)[ \t]+[\"']?(?:\$\{?\w+\}?/)?([\w./-]{1,200})", re.MULTILINE)
_SCRIPTS: Final = (".js", ".jsx", ".mjs", ".cjs", ".ts", ".tsx", ".vue", ".rb", ".php", ".lua", ".dart", ".proto")
_PACKAGED: Final = _SCRIPTS[:7]
"""Where a name without a dot is another package's."""
_DOTTED_SUFFIXES: Final = (".java", ".kt", ".scala", ".cs", ".hs", ".groovy", ".jl")
_C: Final = (".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".hh", ".cu", ".m", ".mm", ".S", ".s")


def repository_order(files: Mapping[str, str]) -> list[str]:
    """Paths of one repository, ordered for packing into one context: README, then dependencies before dependents, then tests.

    `files` is path → text. A topological sort of the imports that can be resolved inside of the repository, as DeepSeek-Coder
    (Guo et al. 2024, section 2.2) lays files out; among files that are free, and to break cycles, the one with the fewest
    unmet imports, then fewer folders deep, then by path. Every path occurs once; the result depends on `files` alone.
    """
    modules = _Modules(files)
    needs = {path: set(modules.imported(path, text)) - {path} for path, text in files.items()}
    needed_by: dict[str, list[str]] = defaultdict(list)
    for path, imported in needs.items():
        for one in imported:
            needed_by[one].append(path)
    unmet = {path: len(imported) for path, imported in needs.items()}
    heap = [(*_rank(path), unmet[path], path.count("/"), path) for path in files]
    heapq.heapify(heap)
    ordered: list[str] = []
    done: set[str] = set()
    while heap:
        *_, count, _, path = heapq.heappop(heap)
        if path in done or count != unmet[path]:
            continue
        done.add(path)
        ordered.append(path)
        for other in needed_by[path]:
            if other not in done:
                unmet[other] -= 1
                heapq.heappush(heap, (*_rank(other), unmet[other], other.count("/"), other))
    return ordered


def _rank(path: str) -> tuple[int]:
    return (0 if _README.search(path) and "/" not in path else 2 if _TEST.search(path) else 1,)


class _Modules:
    """What names inside of a repository mean: path → file, and the last parts of a path → the files that end in them."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files
        self._ends: dict[str, list[str]] = defaultdict(list)
        for path in sorted(files, key=lambda path: (path.count("/"), path)):
            stem = posixpath.splitext(path)[0]
            for name in {
                path,
                stem,
                stem.removesuffix("/__init__"),
                stem.removesuffix("/index"),
                stem.removesuffix("/mod"),
            }:
                parts = name.split("/")
                for start in range(max(0, len(parts) - 6), len(parts)):
                    self._ends["/".join(parts[start:])].append(path)

    def imported(self, path: str, text: str) -> Iterator[str]:
        """Files of the repository that `path` imports."""
        folder, suffix = posixpath.dirname(path), posixpath.splitext(path)[1]
        if suffix in (".py", ".pyi", ".pyx"):
            yield from self._python(folder, path, text)
            return
        elif suffix in _C:
            names = [posixpath.normpath(posixpath.join(folder, name)) for name in _INCLUDE.findall(text)]
            names += _INCLUDE.findall(text)
        elif suffix in _SCRIPTS:
            quoted = _QUOTED.findall(text)
            near = [posixpath.normpath(posixpath.join(folder, name)) for name in quoted if name.startswith(".")]
            # TypeScript imports a neighbour by the name that it is compiled to.
            names = [*near, *(posixpath.splitext(name)[0] for name in near)]
            names += [name for name in quoted if suffix not in _PACKAGED and not name.startswith(".")]
        elif suffix in _DOTTED_SUFFIXES:
            names = [name.replace(".", "/") for name in _DOTTED.findall(text)]
        elif suffix == ".rs":
            names = [inner or crate.replace("::", "/") for inner, crate in _RUST.findall(text)]
            names += [name.rsplit("/", 1)[0] for name in names if "/" in name]
        elif suffix in (".sh", ".bash", ".zsh", ""):
            names = [posixpath.normpath(posixpath.join(folder, name)) for name in _SOURCED.findall(text)]
        else:
            return
        for name in names:
            if found := self._resolve(name, path):
                yield found

    def _python(self, folder: str, path: str, text: str) -> Iterator[str]:
        """`from a import b` needs a/b.py where there is one, else a."""
        for module, members, plain in _PYTHON.findall(text):
            dots = len(module) - len(module.lstrip("."))
            base = module.lstrip(".").replace(".", "/")
            if dots:
                parts = folder.split("/") if folder else []
                base = "/".join([*parts[: len(parts) - dots + 1], *filter(None, [base])])
            for member in (plain or members).replace("(", " ").split(","):
                name = member.split(" as ")[0].strip().replace(".", "/")
                tried = [name] if plain else [f"{base}/{name}".strip("/"), base]
                if found := next((file for one in tried if one and (file := self._resolve(one, path))), None):
                    yield found

    def _resolve(self, name: str, importer: str) -> str | None:
        """The file that a name means: the exact path, else one that ends in it, nearest to the importer."""
        if name in self._files:
            return name
        found = [path for path in self._ends.get(name, ()) if path != importer]
        return max(found, key=lambda path: len(posixpath.commonprefix([path, importer]))) if found else None
