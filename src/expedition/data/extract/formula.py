"""Formulas as TeX: from a MathML annotation, a TeX script, a picture's alternative text, or MathML itself."""

from __future__ import annotations

import html
import re
from typing import Final

PICTURE, MATHML, SCRIPT = 1, 2, 3
_ANNOTATION = re.compile(r"<annotation[^>]{0,200}?tex[^>]{0,200}>(.*?)</annotation", re.I | re.S)
_ALTTEXT = re.compile(r"<math\b[^>]{0,4000}?\balttext\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", re.I)
_DISPLAY = re.compile(r"\bdisplay\s*=\s*[\"']?block|mode\s*=\s*display", re.I)
_STYLED = re.compile(r"^\{\\(?:display|text)style\s*(.*)\}$", re.S)
_TOKEN = re.compile(r"<(/?)(?:m:|mml:)?([a-zA-Z][a-zA-Z0-9-]*)[^<>]*?(/?)>|([^<]+)")
_MOST = 20_000
"""Characters of MathML that are read; the rest of a formula is cut."""
_DEEP = 60
_SIGNS: Final = {
    "×": "\\times ", "÷": "\\div ", "±": "\\pm ", "∓": "\\mp ", "·": "\\cdot ", "⋅": "\\cdot ", "≤": "\\le ", "≥": "\\ge ",
    "≠": "\\ne ", "≈": "\\approx ", "≡": "\\equiv ", "∼": "\\sim ", "∝": "\\propto ", "→": "\\to ", "⇒": "\\Rightarrow ",
    "⇔": "\\Leftrightarrow ", "←": "\\leftarrow ", "↦": "\\mapsto ", "∈": "\\in ", "∉": "\\notin ", "⊂": "\\subset ",
    "⊆": "\\subseteq ", "∪": "\\cup ", "∩": "\\cap ", "∀": "\\forall ", "∃": "\\exists ", "∅": "\\emptyset ", "∞": "\\infty ",
    "∂": "\\partial ", "∇": "\\nabla ", "∑": "\\sum ", "∏": "\\prod ", "∫": "\\int ", "∬": "\\iint ", "∮": "\\oint ",
    "√": "\\sqrt ", "…": "\\ldots ", "⋯": "\\cdots ", "∧": "\\wedge ", "∨": "\\vee ", "¬": "\\neg ", "⊕": "\\oplus ",
    "⊗": "\\otimes ", "†": "\\dagger ", "ℏ": "\\hbar ", "ℓ": "\\ell ", "ℝ": "\\mathbb{R}", "ℕ": "\\mathbb{N}",
    "ℤ": "\\mathbb{Z}", "ℚ": "\\mathbb{Q}", "ℂ": "\\mathbb{C}", "−": "-", "′": "'", "\u2061": "", "\u2062": "", "\u2063": "",
    "α": "\\alpha ", "β": "\\beta ", "γ": "\\gamma ", "δ": "\\delta ", "ε": "\\epsilon ", "ϵ": "\\epsilon ", "ζ": "\\zeta ",
    "η": "\\eta ", "θ": "\\theta ", "ι": "\\iota ", "κ": "\\kappa ", "λ": "\\lambda ", "μ": "\\mu ", "ν": "\\nu ", "ξ": "\\xi ",
    "π": "\\pi ", "ρ": "\\rho ", "σ": "\\sigma ", "τ": "\\tau ", "υ": "\\upsilon ", "φ": "\\varphi ", "ϕ": "\\phi ", "χ": "\\chi ",
    "ψ": "\\psi ", "ω": "\\omega ", "Γ": "\\Gamma ", "Δ": "\\Delta ", "Θ": "\\Theta ", "Λ": "\\Lambda ", "Ξ": "\\Xi ",
    "Π": "\\Pi ", "Σ": "\\Sigma ", "Φ": "\\Phi ", "Ψ": "\\Psi ", "Ω": "\\Omega ",
}  # fmt: skip
_NAMED = re.compile(
    r"^(?:sin|cos|tan|cot|sec|csc|log|ln|exp|lim|max|min|sup|inf|det|dim|ker|gcd|arg|Pr|sinh|cosh|tanh)$"
)
_ACCENTS: Final = {
    "^": "hat",
    "ˆ": "hat",
    "~": "tilde",
    "˜": "tilde",
    "¯": "bar",
    "‾": "overline",
    "→": "vec",
    "˙": "dot",
    ".": "dot",
}


def tex_of(source: str, kind: int) -> str:
    """A formula of the page as `$…$`, or `$$…$$` where the page sets it in a line of its own; empty if it says nothing."""
    head = source[:400]
    if kind == MATHML:
        found = _ANNOTATION.search(source)
        named = _ALTTEXT.search(head) if found is None else None
        if found is not None:
            tex = html.unescape(found.group(1))
        elif named is not None:
            tex = html.unescape(named.group(1) or named.group(2) or "")
        else:
            tex = mathml_as_tex(source)
    else:
        tex = html.unescape(source)
    tex = tex.strip().removeprefix("<![CDATA[").removesuffix("]]>").strip()
    display = (kind != PICTURE and bool(_DISPLAY.search(head.split(">")[0]))) or tex.startswith(("$$", "\\["))
    for start, end in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        if tex.startswith(start) and tex.endswith(end) and len(tex) >= len(start) + len(end):
            tex = tex[len(start) : len(tex) - len(end)].strip()
            break
    styled = _STYLED.match(tex)
    tex = " ".join((styled.group(1) if styled else tex).split())
    if not tex:
        return ""
    return f"$${tex}$$" if display else f"${tex}$"


def mathml_as_tex(source: str) -> str:
    """Presentation MathML as TeX, for formulas whose page gives no TeX. Bounded length and depth."""
    stack: list[tuple[str, list[str]]] = [("math", [])]
    for closing, name, empty, text in _TOKEN.findall(source[:_MOST]):
        if text:
            words = html.unescape(text).strip()
            if words:
                stack[-1][1].append(words)
            continue
        name = name.lower()
        if closing:
            if len(stack) > 1 and any(name == open_name for open_name, _ in stack[1:]):
                while len(stack) > 1:
                    open_name, parts = stack.pop()
                    stack[-1][1].append(_element(open_name, parts))
                    if open_name == name:
                        break
        elif not empty and len(stack) < _DEEP and name != "math":
            stack.append((name, []))
    while len(stack) > 1:
        open_name, parts = stack.pop()
        stack[-1][1].append(_element(open_name, parts))
    return "".join(stack[0][1])


def _sign(text: str) -> str:
    return "".join(_SIGNS.get(letter, letter) for letter in text)


def _element(name: str, parts: list[str]) -> str:
    """TeX of one element from that of its children."""
    if name in ("mi", "mo", "mn", "ms"):
        text = "".join(parts)
        return f"\\{text} " if _NAMED.match(text) else _sign(text)
    if name == "mtext":
        text = "".join(parts).strip()
        return f"\\text{{{text}}}" if text else ""
    if name in ("annotation", "annotation-xml", "mphantom", "maction-hidden"):
        return ""
    return _layout(name, parts)


def _layout(name: str, parts: list[str]) -> str:
    """TeX of fractions, scripts, roots, fences and tables."""
    first, second, third = [*parts, "", "", ""][:3]
    if name == "mfrac":
        return f"\\frac{{{first}}}{{{second}}}"
    if name in ("msup", "mover"):
        accent = _ACCENTS.get(second.strip()) if name == "mover" else None
        return f"\\{accent}{{{first}}}" if accent else f"{_base(first)}^{{{second}}}"
    if name in ("msub", "munder"):
        return f"{_base(first)}_{{{second}}}"
    if name in ("msubsup", "munderover"):
        return f"{_base(first)}_{{{second}}}^{{{third}}}"
    if name == "msqrt":
        inner = "".join(parts)
        return f"\\sqrt{{{inner}}}"
    if name == "mroot":
        return f"\\sqrt[{second}]{{{first}}}"
    if name == "mfenced":
        return f"({','.join(parts)})"
    if name == "mtr":
        return " & ".join(parts) + " \\\\ "
    if name == "mtable":
        rows = "".join(parts).removesuffix(" \\\\ ")
        return f"\\begin{{matrix}}{rows}\\end{{matrix}}"
    return "".join(parts)


def _base(tex: str) -> str:
    """What a script is set on, braced where it is more than one sign."""
    bare = tex.strip()
    return tex if len(bare) <= 1 or (bare.startswith("\\") and bare[1:].isalpha()) else f"{{{bare}}}"
