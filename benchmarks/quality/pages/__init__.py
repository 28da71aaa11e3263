"""Made pages of the kinds that news benchmarks leave out: forums, documentation with code, formulas, tables, shops, questions
and answers, recipes, encyclopaedia articles, landing pages, in English and Chinese, each with its gold main text.

    python -m benchmarks.quality.pages DIR [--seed N] [--count N]      writes DIR/html/*.html and DIR/gold.jsonl

prose.py    sentences by grammar;  code.py   programs;  formulas.py   TeX and the mark-ups that carry it
body.py     main text as mark-up and as gold side by side
kinds.py    what each kind of page holds;  layouts.py   what stands around it
made.py     a set of pages by seed
"""

from benchmarks.quality.pages.made import Page, made_pages

__all__ = ["Page", "made_pages"]
