"""Which script a text is written in, and the languages that a script alone decides."""

from __future__ import annotations

import re
from typing import Final

_RANGES: Final = {
    "Latn": "A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff"
    "\uff21-\uff3a\uff41-\uff5a",
    "Cyrl": "\u0400-\u052f\u1c80-\u1c8f\u2de0-\u2dff\ua640-\ua69f",
    "Grek": "\u0370-\u03ff\u1f00-\u1fff",
    "Arab": "\u0600-\u06ff\u0750-\u077f\u08a0-\u08ff\ufb50-\ufdff\ufe70-\ufeff",
    "Hebr": "\u0590-\u05ff\ufb1d-\ufb4f",
    "Han": "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af\u3007",
    "Kana": "\u3041-\u30ff\u31f0-\u31ff\uff66-\uff9d",
    "Hang": "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff",
    "Bopo": "\u3100-\u312f\u31a0-\u31bf",
    "Deva": "\u0900-\u097f\ua8e0-\ua8ff",
    "Beng": "\u0980-\u09ff",
    "Guru": "\u0a00-\u0a7f",
    "Gujr": "\u0a80-\u0aff",
    "Orya": "\u0b00-\u0b7f",
    "Taml": "\u0b80-\u0bff",
    "Telu": "\u0c00-\u0c7f",
    "Knda": "\u0c80-\u0cff",
    "Mlym": "\u0d00-\u0d7f",
    "Sinh": "\u0d80-\u0dff",
    "Thai": "\u0e00-\u0e7f",
    "Laoo": "\u0e80-\u0eff",
    "Tibt": "\u0f00-\u0fff",
    "Mymr": "\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f",
    "Geor": "\u10a0-\u10ff\u1c90-\u1cbf\u2d00-\u2d2f",
    "Ethi": "\u1200-\u139f\u2d80-\u2ddf\uab00-\uab2f",
    "Cher": "\u13a0-\u13ff\uab70-\uabbf",
    "Cans": "\u1400-\u167f\u18b0-\u18ff",
    "Khmr": "\u1780-\u17ff\u19e0-\u19ff",
    "Mong": "\u1800-\u18af",
    "Armn": "\u0530-\u058f\ufb13-\ufb17",
    "Syrc": "\u0700-\u074f",
    "Thaa": "\u0780-\u07bf",
    "Nkoo": "\u07c0-\u07ff",
    "Yiii": "\ua000-\ua4cf",
    "Vaii": "\ua500-\ua63f",
    "Tfng": "\u2d30-\u2d7f",
    "Olck": "\u1c50-\u1c7f",
    "Java": "\ua980-\ua9df",
    "Bali": "\u1b00-\u1b7f",
    "Lana": "\u1a20-\u1aaf",
    "Talu": "\u1980-\u19df",
    "Cham": "\uaa00-\uaa5f",
    "Sund": "\u1b80-\u1bbf",
    "Mtei": "\uabc0-\uabff\uaae0-\uaaff",
    "Copt": "\u2c80-\u2cff",
    "Goth": "\U00010330-\U0001034f",
    "Gran": "\U00011300-\U0001137f",
    "Adlm": "\U0001e900-\U0001e95f",
    "Osge": "\U000104b0-\U000104ff",
    "Hmnp": "\U0001e100-\U0001e14f",
    "Plrd": "\U00016f00-\U00016f9f",
    "Lisu": "\ua4d0-\ua4ff",
}
_PATTERNS: Final = {script: re.compile(f"[{ranges}]+") for script, ranges in _RANGES.items()}
_COMMON: Final = ("Latn", "Han", "Cyrl", "Arab", "Kana")

SOLE_LANGUAGE: Final = {
    "Hang": "ko", "Guru": "pa", "Gujr": "gu", "Orya": "or", "Taml": "ta", "Telu": "te", "Knda": "kn", "Mlym": "ml",
    "Sinh": "si", "Thai": "th", "Laoo": "lo", "Khmr": "km", "Cher": "chr", "Armn": "hy", "Thaa": "dv", "Nkoo": "nqo",
    "Yiii": "ii", "Vaii": "vai", "Tfng": "zgh", "Olck": "sat", "Java": "jv-Java", "Bali": "ban-Bali",
    "Lana": "nod-Lana",
    "Talu": "khb", "Cham": "cjm", "Sund": "su-Sund", "Mtei": "mni-Mtei", "Copt": "cop", "Goth": "got",
    "Gran": "sa-Gran", "Adlm": "ff-Adlm", "Osge": "osa", "Plrd": "hmd", "Lisu": "lis", "Mong": "mn-Mong", "Syrc": "syr",
    "Bopo": "zh-Hant", "Tibt": "bo", "Mymr": "my", "Geor": "ka", "Grek": "el", "Hmnp": "hmn-Hmnp",
}  # fmt: skip
"""The language that nearly all text in a script is in. Recognisers that know others of the script are asked first."""


def script_shares(text: str) -> dict[str, float]:
    """Share of the text's letters by script, largest first; empty where there are no letters."""
    counts: dict[str, int] = {}
    left = text
    for script in (*_COMMON, *(script for script in _PATTERNS if script not in _COMMON)):
        if script not in _COMMON and (not left or left.isascii()):
            break
        found = _PATTERNS[script].findall(left)
        if found:
            counts[script] = sum(map(len, found))
            left = _PATTERNS[script].sub("", left)
    total = sum(counts.values())
    return {script: count / total for script, count in sorted(counts.items(), key=lambda item: -item[1])}
