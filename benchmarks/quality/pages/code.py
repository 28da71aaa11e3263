"""Programs of a few languages from templates, and the mark-ups in which pages show them."""

from __future__ import annotations

import random
import re
from html import escape

_NAMES = [
    "buffer",
    "index",
    "result",
    "worker",
    "config",
    "total",
    "session",
    "offset",
    "payload",
    "cursor",
    "retries",
    "timeout",
    "batch",
    "header",
    "parser",
]
_VERBS = ["load", "read", "send", "merge", "check", "split", "render", "flush", "resolve", "build", "scan", "update"]
_TEMPLATES = {
    "python": (
        "import {a}\nfrom {b} import {V}_{c}\n\n\ndef {v}_{a}({b}, {c}={n}):\n    {d} = []\n    for {a} in {b}:\n"
        '        if {a}.{c} > {n} and {a}.{d} != "{e}":\n            {d}.append({a} * {m})\n    return {d}',
        "class {C}:\n    def __init__(self, {a}, {b}=None):\n        self.{a} = {a}\n        self.{b} = {b} or {{}}\n\n"
        "    def {v}(self, {c}):\n        with open({c}) as {d}:\n            return self.{a}[{d}.read():{n}]",
        '>>> {a} = {V}_{b}({n})\n>>> {a}.{c}\n{m}\n>>> {a}.{v}("{e}")\nTrue',
    ),
    "javascript": (
        "const {a} = require('{b}');\n\nfunction {v}{C}({c}, {d}) {{\n  return {c}.filter(({e}) => {e}.{d} < {n})\n"
        "    .map(({e}) => ({{ id: {e}.id, {d}: `${{{e}.{d}}}-{m}` }}));\n}}\n\nmodule.exports = {{ {v}{C} }};",
        "async function {v}{C}() {{\n  try {{\n    const {a} = await fetch('/api/{b}?limit={n}');\n"
        "    if (!{a}.ok && {m} > 0) throw new Error({a}.status);\n    return await {a}.json();\n  }} catch ({c}) {{\n"
        "    console.error({c});\n  }}\n}}",
    ),
    "bash": (
        "$ sudo apt install lib{a}-{b}\n$ {a}ctl {v} --{c}={n} --{d} /etc/{a}.conf\n$ systemctl restart {a}",
        '#!/bin/bash\nfor {a} in *.{b}; do\n  {v}_{c} "${a}" > "/tmp/{d}.{n}" 2>&1 || exit {m}\ndone\necho "{v} done"',
    ),
    "json": ('{{\n  "{a}": {{\n    "{b}": {n},\n    "{c}": ["{d}", "{e}"]\n  }},\n  "{v}": true\n}}',),
    "c": (
        "#include <stdio.h>\n\nint {v}_{a}(struct {b} *{c}, size_t {d})\n{{\n\tfor (size_t i = 0; i < {d}; i++) {{\n"
        "\t\tif ({c}[i].{e} >= {n} && !{c}[i].{a})\n\t\t\treturn -{m};\n\t}}\n\treturn 0;\n}}",
    ),
}
_TOKEN = re.compile(
    r"\"[^\"\n]*\"|'[^'\n]*'|\b(?:def|class|return|import|from|for|in|if|const|function|async|await|int)\b|\d+"
)


def program(rng: random.Random) -> tuple[str, str]:
    """A language's name and a program of it, 3 to 12 lines."""
    language = rng.choice(sorted(_TEMPLATES))
    names = rng.sample(_NAMES, 5)
    values = dict(zip("abcde", names, strict=True))
    values |= {"C": rng.choice(_NAMES).title(), "v": rng.choice(_VERBS), "V": rng.choice(_VERBS)}
    values |= {"n": str(rng.randint(2, 4096)), "m": str(rng.randint(1, 64))}
    return language, rng.choice(_TEMPLATES[language]).format(**values)


def _spans(text: str, style: str) -> str:
    """Mark-up of one text with its tokens in spans, as highlighters do."""
    out, last = [], 0
    for found in _TOKEN.finditer(text):
        word = found.group()
        kind = "s" if word[0] in "\"'" else "mi" if word.isdigit() else "k"
        kind = kind if style == "pygments" else {"s": "string", "mi": "number", "k": "keyword"}[kind]
        prefix = {"prism": "token ", "hljs": "hljs-", "pygments": ""}[style]
        out.append(f'{escape(text[last : found.start()])}<span class="{prefix}{kind}">{escape(word)}</span>')
        last = found.end()
    return "".join(out) + escape(text[last:])


def code_markup(rng: random.Random, language: str, text: str, copy: str) -> str:
    """The program in one of nine mark-ups: plain, highlighted by three tools, with line numbers of four kinds, by breaks."""
    lines = text.split("\n")
    rows = range(1, len(lines) + 1)
    style = rng.randrange(9)
    button = f'<button class="copy-btn" type="button">{copy}</button>'
    if style == 0:
        return f"<pre>{escape(text)}\n</pre>"
    if style == 1:
        inner = _spans(text, "pygments")
        return f'<div class="highlight-{language} notranslate"><div class="highlight"><pre><span></span>{inner}\n</pre></div></div>'
    if style == 2:
        numbers = "\n".join(f'<span class="normal">{n}</span>' for n in rows)
        inner = _spans(text, "pygments")
        return (
            '<table class="highlighttable"><tr><td class="linenos"><div class="linenodiv"><pre>'
            f'{numbers}</pre></div></td><td class="code"><div class="highlight"><pre>{inner}\n</pre></div></td></tr></table>'
        )
    if style == 3:
        inner = "".join(
            f'<span class="token-line" style="color:#393A34">{_spans(line, "prism") or chr(10)}<br></span>'
            for line in lines
        )
        return f'<div class="codeBlock_a8dz"><pre tabindex="0" class="prism-code language-{language}"><code>{inner}</code></pre>{button}</div>'
    if style == 4:
        inner = "".join(
            f'<tr><td class="blob-num" data-line-number="{n}"></td><td class="blob-code"><span>{_spans(line, "hljs")}</span></td></tr>'
            for n, line in zip(rows, lines, strict=True)
        )
        return f'<div class="blob-wrapper"><table class="js-file-line-container">{inner}</table></div>'
    if style == 5:
        inner = "".join(f'<li><div class="hljs-ln-line">{_spans(line, "hljs")}</div></li>' for line in lines)
        return f'<pre class="hljs"><code class="language-{language}"><ol class="hljs-ln">{inner}</ol></code></pre>'
    if style == 6:
        inner = "\n".join(
            f'<span class="line"><span class="ln">{n}</span>{_spans(line, "hljs")}</span>'
            for n, line in zip(rows, lines, strict=True)
        )
        return f'<figure class="codeblock">{button}<pre><code class="hljs {language}">{inner}</code></pre></figure>'
    if style == 7:
        inner = "<br>".join(escape(line).replace(" ", "&nbsp;").replace("\t", "&nbsp;" * 4) for line in lines)
        return f'<div class="code-box"><code>{inner}</code></div>'
    head = f'<div class="code-toolbar"><span class="lang">{language}</span>{button}</div>'
    return f'<div class="snippet">{head}<pre class="line-numbers"><code class="language-{language}">{_spans(text, "prism")}</code></pre></div>'
