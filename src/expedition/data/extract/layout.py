"""Where things lie in the work array of a pass: registers, counters by tag, the stack, then rows of elements, blocks, formulas."""

from __future__ import annotations

from typing import Final

EL_TAG, EL_PARENT, EL_HINTS, EL_FIRST, EL_LAST, EL_END, EL_SOURCE = 0, 1, 2, 3, 4, 5, 6
EL_WIDTH: Final = 8
B_START, B_END, B_ELEMENT, B_LINKED, B_SPECIAL, B_PRE, B_IMAGE = 0, 1, 2, 3, 4, 5, 6
"""B_PRE: 1 preformatted, 2 begins within <code>. B_IMAGE: 1 if a picture came after the text before."""
B_WIDTH: Final = 7
ST_TAG, ST_ELEMENT, ST_MUTE, ST_BLOCK = 0, 1, 2, 3
OUT, ELEMENTS, BLOCKS, DEPTH, SPACE, OPEN, PRE, LINKS, OVER, SPECIALS, BREAKS, HINTS = range(12)
VALUE, VALUE_END, TITLE, TITLE_END, LANG, LANG_END, MUTE, CUT, TEX, NAME, ROLE, IMAGE = range(12, 24)
AT_ELEMENTS, AT_BLOCKS, AT_SPECIAL = 24, 25, 26
"""Registers: the first places of the work array `w`. AT_…: where the rows of elements, blocks and formulas begin."""
REGISTERS: Final = 32
OPENED: Final = REGISTERS
"""By tag: how many are open."""
LOST: Final = OPENED + 256
"""By tag: 1 where no end tag follows any more, so that none is sought again."""
STACK: Final = LOST + 256
"""Rows of (tag, element, mutes, is a block) of the open elements."""
MARK: Final = 2
"""Byte in the text that stands for a formula; its source range is a row of `special`."""
MAX_DEPTH: Final = 512
"""Deeper elements are passed over: their text belongs to the deepest that is kept (browsers bound depth likewise)."""
MAX_ELEMENTS: Final = 200_000
"""Elements kept of a page; the text of further ones belongs to the last open one."""
ROWS: Final = STACK + 4 * (MAX_DEPTH + 1)
"""Where the rows of elements begin."""
