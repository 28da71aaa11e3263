"""Source files to documents: text as written, its language, the licence that its own header names."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from expedition.data.decode.charset import readable_text
from expedition.data.decode.piece import Piece, Refused
from expedition.data.decode.reasons import Reason
from expedition.data.decode.rules import Limits
from expedition.data.decode.sniff import CODE_LANGUAGES

_SPDX = re.compile(r"SPDX-License-Identifier:[ \t]{0,4}([A-Za-z0-9.+()\- ]{2,200})")
_SHEBANG = re.compile(r"\A#!\s*(?:\S*/)?(?:env\s+(?:-\S+\s+)*)?([A-Za-z]+)[\d.]*(?:\s|\Z)")
_NAMES = {
    "makefile": "make", "gnumakefile": "make", "makefile.am": "make", "dockerfile": "dockerfile", "containerfile": "dockerfile",
    "cmakelists.txt": "cmake", "justfile": "just", "rakefile": "ruby", "gemfile": "ruby", "vagrantfile": "ruby",
    "podfile": "ruby", "jenkinsfile": "groovy", "go.mod": "go-module", "build": "starlark", "build.bazel": "starlark",
    "workspace": "starlark", "sconstruct": "python", "wscript": "python", "configure.ac": "m4", ".bashrc": "shell",
    ".profile": "shell", ".zshrc": "shell", ".vimrc": "vim-script", ".editorconfig": "ini", ".gitconfig": "ini",
}  # fmt: skip
_FURTHER = {
    ".json": "json", ".yaml": "yaml", ".yml": "yaml", ".xml": "xml", ".html": "html", ".htm": "html", ".jsonc": "json",
    ".bzl": "starlark", ".nix": "nix", ".rkt": "racket", ".d": "d", ".cr": "crystal", ".hx": "haxe", ".elm": "elm",
    ".purs": "purescript", ".idr": "idris", ".agda": "agda", ".lean": "lean", ".thy": "isabelle", ".sol": "solidity",
    ".vala": "vala", ".tcl": "tcl", ".awk": "awk", ".sed": "sed", ".bat": "batch", ".cmd": "batch", ".psm1": "powershell",
    ".hcl": "hcl", ".graphql": "graphql", ".thrift": "thrift", ".svelte": "svelte", ".astro": "astro", ".sass": "sass",
    ".styl": "stylus", ".glsl": "glsl", ".vert": "glsl", ".frag": "glsl", ".hlsl": "hlsl", ".wgsl": "wgsl", ".metal": "metal",
    ".wat": "webassembly", ".ll": "llvm", ".mlir": "mlir", ".f95": "fortran", ".f03": "fortran", ".for": "fortran",
    ".ada": "ada", ".adb": "ada", ".ads": "ada", ".pro": "prolog", ".vim": "vim-script", ".m4": "m4", ".ac": "m4",
    ".mk": "make", ".am": "make", ".properties": "properties", ".adoc": "asciidoc", ".org": "org", ".po": "gettext",
    ".tsx": "typescript", ".mts": "typescript", ".cts": "typescript", ".cljs": "clojure", ".edn": "clojure", ".hrl": "erlang",
    ".kts": "kotlin", ".sbt": "scala", ".rake": "ruby", ".gemspec": "ruby", ".podspec": "ruby", ".phtml": "php", ".t": "perl",
    ".1": "roff", ".3": "roff", ".5": "roff", ".7": "roff", ".8": "roff", ".csproj": "xml", ".xsd": "xml", ".xsl": "xml",
}  # fmt: skip
_BY_CONTENT: dict[str, tuple[tuple[str, re.Pattern[str]], ...]] = {
    ".h": (
        ("objective-c", re.compile(r"^\s*(?:@(?:interface|protocol|class|property|end)\b|#import\b)", re.M)),
        (
            "c++",
            re.compile(
                r"^\s*(?:class\s+\w[\w\s:,<>]*\{|namespace\b|template\s*<|using\s+\w|(?:public|private|protected):)"
                r"|std::|#include\s*<(?:string|vector|memory|map|iostream|utility|cstd\w+)>",
                re.M,
            ),
        ),
    ),
    ".m": (
        ("objective-c", re.compile(r"^\s*(?:@(?:interface|implementation|import|end)\b|#import\b|#include\b)", re.M)),
        ("mercury", re.compile(r"^:- (?:module|pred|func)\b", re.M)),
        ("matlab", re.compile(r"^\s*(?:function\b|%|classdef\b|end\s*$)", re.M)),
    ),
    ".v": (
        ("coq", re.compile(r"^\s*(?:Require\b|Theorem\b|Lemma\b|Definition\b|Proof\.|Qed\.)", re.M)),
        ("v", re.compile(r"^(?:pub )?fn \w+\(|^module \w+\s*$", re.M)),
    ),
    ".pl": (("prolog", re.compile(r"^\s*:-\s*\w|^\w[^\n]*:-", re.M)),),
    ".pro": (("qmake", re.compile(r"^\s*(?:SOURCES|TEMPLATE|TARGET|QT)\s*\+?=", re.M)),),
    ".ts": (("xml", re.compile(r"\A\s*<(?:\?xml|!DOCTYPE TS|TS\b)")),),
    ".r": (("rebol", re.compile(r"\A\s*rebol\b", re.I)),),
    ".t": (("turing", re.compile(r"^\s*(?:put \"|procedure \w+\s*$)", re.M)),),
    ".cls": (("latex", re.compile(r"^\s*\\", re.M)),),
}
"""Of suffixes that several languages share: a language and what only it holds, in order; else the suffix's usual one."""
_INTERPRETERS = {
    "python": "python", "bash": "shell", "sh": "shell", "zsh": "shell", "node": "javascript", "perl": "perl",
    "ruby": "ruby", "php": "php", "lua": "lua", "rscript": "r", "awk": "awk", "fish": "shell", "deno": "typescript",
}  # fmt: skip
_HEADER_CHARACTERS = 4096
_LANGUAGE_CHARACTERS = 8192


def code_piece(data: bytes, name: str, limits: Limits, *, inner: str = "") -> Piece:
    """A source file as a document; line ends become "\\n", nothing else is formatted.

    Meta holds `code_language` (None where unknown) and `lines`. Raises Refused(ENCODING), Refused(NO_TEXT),
    Refused(TOO_LONG).
    """
    text, repairs = readable_text(data)
    text = text.rstrip() + "\n" if text.strip() else ""
    if not text:
        raise Refused(Reason.NO_TEXT)
    if len(text) > limits.text_characters:
        raise Refused(Reason.TOO_LONG, f"{len(text)} characters of source")
    return Piece(
        text=text,
        inner=inner,
        licence=header_licence(text),
        language="und",
        meta={"code_language": code_language(name, text), "lines": text.count("\n")},
        repairs=repairs,
    )


def code_language(name: str, text: str = "") -> str | None:
    """Programming or markup language by well-known name, suffix (and content, where a suffix has several) or interpreter line.

    None where unknown. Only the first 8 Ki characters are looked at.
    """
    path = PurePosixPath(name.lower())
    if path.name in _NAMES or path.name.startswith("dockerfile."):
        return _NAMES.get(path.name, "dockerfile")
    head = text[:_LANGUAGE_CHARACTERS]
    for language, pattern in _BY_CONTENT.get(path.suffix, ()):
        if pattern.search(head):
            return language
    known = CODE_LANGUAGES.get(path.suffix) or _FURTHER.get(path.suffix)
    if known is None and (found := _SHEBANG.match(head[:200])):
        return _INTERPRETERS.get(found.group(1).lower())
    return known


def header_licence(text: str) -> str | None:
    """SPDX expression of a file's header, or None."""
    found = _SPDX.search(text[:_HEADER_CHARACTERS])
    if found is None:
        return None
    # What closes a comment (`-->`, `--}}`) is no part of the expression.
    return " ".join(found.group(1).split()).rstrip("- ") or None
