"""Formulas as TeX and MathML side by side, and the mark-ups that carry them on pages."""

from __future__ import annotations

import random
from html import escape

_LETTERS = "abcdkmnprstuvxyz"
_GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "lambda": "λ", "mu": "μ", "sigma": "σ", "omega": "ω", "theta": "θ"}


def formula(rng: random.Random) -> tuple[str, str]:
    """TeX, and its MathML without the outer element."""
    a, b, c, d = rng.sample(_LETTERS, 4)
    g = rng.choice(sorted(_GREEK))
    n = rng.randint(2, 9)
    mi = "<mi>{}</mi>".format
    mo = "<mo>{}</mo>".format
    mn = f"<mn>{n}</mn>"
    forms = (
        (
            rf"{a}=\frac{{{b}+{n}}}{{{c}-\{g}}}",
            f"{mi(a)}{mo('=')}<mfrac><mrow>{mi(b)}{mo('+')}{mn}</mrow><mrow>{mi(c)}{mo('−')}{mi(_GREEK[g])}</mrow></mfrac>",
        ),
        (
            rf"\sum_{{{a}=1}}^{{{n}}}{b}_{{{a}}}^{{2}}\leq \{g}",
            f"<munderover>{mo('∑')}<mrow>{mi(a)}{mo('=')}<mn>1</mn></mrow>{mn}</munderover>"
            f"<msubsup>{mi(b)}{mi(a)}<mn>2</mn></msubsup>{mo('≤')}{mi(_GREEK[g])}",
        ),
        (
            rf"\int_{{0}}^{{{n}}}{a}^{{{b}}}\,d{c}=\sqrt{{{d}}}",
            f"<msubsup>{mo('∫')}<mn>0</mn>{mn}</msubsup><msup>{mi(a)}{mi(b)}</msup>{mi('d')}{mi(c)}{mo('=')}<msqrt>{mi(d)}</msqrt>",
        ),
        (
            rf"\{g}({a})=e^{{-{n}{b}}}\cdot {c}",
            f"{mi(_GREEK[g])}{mo('(')}{mi(a)}{mo(')')}{mo('=')}<msup>{mi('e')}<mrow>{mo('−')}{mn}{mi(b)}</mrow></msup>{mo('⋅')}{mi(c)}",
        ),
        (
            rf"{a}_{{{n}}}+\sqrt{{{b}^{{2}}-{n}{c}}}\neq {d}",
            f"<msub>{mi(a)}{mn}</msub>{mo('+')}<msqrt><msup>{mi(b)}<mn>2</mn></msup>{mo('−')}{mn}{mi(c)}</msqrt>{mo('≠')}{mi(d)}",
        ),
    )
    return rng.choice(forms)


def formula_markup(style: int, tex: str, mathml: str, display: bool) -> str:
    """One of seven mark-ups: MathML, KaTeX, MathJax 2, Wikipedia, image with alt, plain TeX, MathJax 3."""
    kind = "block" if display else "inline"
    annotated = (
        f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="{kind}"><semantics><mrow>{mathml}</mrow>'
        f'<annotation encoding="application/x-tex">{escape(tex)}</annotation></semantics></math>'
    )
    visible = "".join(f'<span class="mord mathnormal">{escape(char)}</span>' for char in tex if char.isalnum())
    if style == 0:
        return annotated
    if style == 1:
        inner = f'<span class="katex"><span class="katex-mathml">{annotated}</span><span class="katex-html" aria-hidden="true"><span class="base"><span class="strut" style="height:1em;"></span>{visible}</span></span></span>'
        return f'<span class="katex-display">{inner}</span>' if display else inner
    if style == 2:
        mode = "; mode=display" if display else ""
        return (
            f'<span class="MathJax_Preview" style="color: inherit;"></span><span class="MathJax" id="MathJax-Element-1-Frame">'
            f'<nobr><span class="math">{visible}</span></nobr></span><script type="math/tex{mode}">{tex}</script>'
        )
    if style == 3:
        return (
            f'<span class="mwe-math-element"><span class="mwe-math-mathml-{kind} mwe-math-mathml-a11y" style="display: none;">'
            f'{annotated}</span><img src="/api/rest_v1/media/math/render/svg/9f0c" class="mwe-math-fallback-image-{kind}" '
            f'aria-hidden="true" alt="{{\\displaystyle {escape(tex)}}}"></span>'
        )
    if style == 4:
        return f'<img class="latex" src="https://latex.example.org/svg.image?f=1" alt="{escape(tex)}" title="{escape(tex)}">'
    if style == 5:
        return escape(f"$${tex}$$" if display else f"${tex}$")
    return escape(rf"\[{tex}\]" if display else rf"\({tex}\)")


STYLES = 7
