"""Kernels of `measures` and `repetition`: a text's classes of characters, words, lines and paragraphs in two passes.

A word, line or paragraph is compared by a number of 62 bits: two polynomials modulo the prime 2^31 - 1, which leave no
intermediate value above 2^62 (`data.compiled`). Different texts of n characters share one with a chance of (n / 2^31)^2.
"""

from __future__ import annotations

from typing import Any, Final

from expedition.data.compiled import compiled
from expedition.data.stages.text.characters import (
    ALNUM,
    BULLET,
    DIGIT,
    HAN,
    LETTER,
    PLANES,
    SPACE,
    SYLLABLE_END,
    SYMBOL,
    TERMINAL,
    UNSPACED,
)

PRIME: Final = (1 << 31) - 1
FACTOR_A: Final = 625_343_633
FACTOR_B: Final = 461_845_907
"""Below 2^30, so that a product with a number below 2^31 stays below 2^61."""

CHARACTERS_SPACE, CHARACTERS_HAN, CHARACTERS_UNSPACED, CHARACTERS_SYMBOL, CHARACTERS_DIGIT = 0, 1, 2, 3, 4
WORDS, WORD_CHARACTERS, LONGEST_WORD, WORDS_WITH_LETTER = 5, 6, 7, 8
LINES, LONG_LINES, SHORT_LINES, BULLET_LINES, ELLIPSIS_LINES, TERMINAL_LINES = 9, 10, 11, 12, 13, 14
LINE_CHARACTERS, REPEATED_LINES, REPEATED_LINE_CHARACTERS = 15, 16, 17
PARAGRAPHS, PARAGRAPH_CHARACTERS, REPEATED_PARAGRAPHS, REPEATED_PARAGRAPH_CHARACTERS = 18, 19, 20, 21
COUNTS: Final = 22
"""Places in the array of counts."""


@compiled
def fold(total: int, value: int, factor: int) -> int:
    """total * factor + value + 1 modulo `PRIME`; total and value below 2^31."""
    found = total * factor + value + 1
    found = (found & PRIME) + (found >> 31)
    found = (found & PRIME) + (found >> 31)
    return found - PRIME if found >= PRIME else found


@compiled
def mixed(total: int) -> int:
    """A number below 2^31 without linear structure: of a word before it is folded into what holds it."""
    total ^= total >> 16
    total = total * FACTOR_B % PRIME
    total ^= total >> 15
    total = total * FACTOR_A % PRIME
    return total ^ total >> 16


@compiled
def seen_before(slots: Any, mask: int, key: int) -> int:
    """Whether `key` (not 0) is in the hash table `slots`; it is afterwards. More than half of the slots are free."""
    place = (key ^ (key >> 31)) & mask
    while slots[place] != 0:
        if slots[place] == key:
            return 1
        place = (place + 1) & mask
    slots[place] = key
    return 0


@compiled
def _classes(codes: Any, n: int, table: Any, counts: Any) -> None:
    for i in range(n):
        bits = table[min(codes[i], PLANES)]
        if bits & SPACE:
            counts[CHARACTERS_SPACE] += 1
        elif bits & HAN:
            counts[CHARACTERS_HAN] += 1
        elif bits & UNSPACED:
            counts[CHARACTERS_UNSPACED] += 1
        elif bits & SYMBOL:
            counts[CHARACTERS_SYMBOL] += 1
        elif bits & DIGIT:
            counts[CHARACTERS_DIGIT] += 1


@compiled
def _line(codes: Any, first: int, end: int, table: Any, counts: Any, short: int, long: int) -> None:
    """Count the line codes[first:end], which has no space at its ends and is not empty."""
    size, last = end - first, codes[end - 1]
    counts[LINES] += 1
    counts[LINE_CHARACTERS] += size
    counts[LONG_LINES] += size >= long
    counts[SHORT_LINES] += size <= short
    counts[BULLET_LINES] += (table[min(codes[first], PLANES)] & BULLET) != 0
    counts[TERMINAL_LINES] += (table[min(last, PLANES)] & TERMINAL) != 0
    dots = size >= 3 and (last == 46 or last == 0x3002) and codes[end - 2] == last and codes[end - 3] == last
    counts[ELLIPSIS_LINES] += last == 0x2026 or dots


@compiled
def scan_text(  # noqa: C901, PLR0915
    codes: Any, n: int, table: Any, counts: Any, words: Any, sizes: Any, slots: Any
) -> None:
    """Fill `counts`, and `words` and `sizes` with the number and the length of each word.

    `slots` has two rows of zeros, each more than twice as long as there are lines. Words of scripts without spaces are
    none: what is left beside them counts as a word if it has a letter or a digit.
    """
    _classes(codes, n, table, counts)
    unspaced = counts[CHARACTERS_HAN] + counts[CHARACTERS_UNSPACED]
    dense = max(n - counts[CHARACTERS_SPACE], 1)
    wide = 10 * unspaced > 3 * dense
    short, long = (15, 80) if wide else (30, 200)
    mask = len(slots[0]) - 1
    word_a = word_b = word_bits = word_size = 0
    line_a = line_b = line_key = line_end = part_a = part_b = part_key = part_end = 0
    line_start = part_start = -1
    feeds = 0
    for i in range(n + 1):
        # A line feed behind the last character closes all.
        code = int(codes[i]) if i < n else 10
        bits = table[min(code, PLANES)]
        parted = bits & (SPACE | HAN | UNSPACED | SYLLABLE_END)
        if word_size and parted:
            word_a, word_b = mixed(word_a), mixed(word_b)
            if not unspaced or word_bits & ALNUM:
                at = counts[WORDS]
                words[at] = (word_a << 31 | word_b) + 1
                sizes[at] = word_size
                counts[WORDS] = at + 1
                counts[WORD_CHARACTERS] += word_size
                counts[LONGEST_WORD] = max(counts[LONGEST_WORD], word_size)
                counts[WORDS_WITH_LETTER] += (word_bits & LETTER) != 0
            line_a, line_b = fold(line_a, word_a, FACTOR_A), fold(line_b, word_b, FACTOR_B)
            part_a, part_b = fold(part_a, word_a, FACTOR_A), fold(part_b, word_b, FACTOR_B)
            line_key, part_key = line_a << 31 | line_b, part_a << 31 | part_b
            line_end = part_end = i
            word_a = word_b = word_bits = word_size = 0
        if not bits & SPACE:
            if feeds >= 2 and part_start >= 0:
                _paragraph(counts, slots[1], mask, part_key, part_end - part_start)
                part_a = part_b = part_key = 0
                part_start = -1
            feeds = 0
            if part_start < 0:
                part_start, part_a, part_b = i, 0, 0
            if line_start < 0:
                line_start, line_a, line_b = i, 0, 0
        if not parted:
            word_a, word_b = fold(word_a, code, FACTOR_A), fold(word_b, code, FACTOR_B)
            word_bits |= bits
            word_size += 1
            continue
        line_a, line_b = fold(line_a, code, FACTOR_A), fold(line_b, code, FACTOR_B)
        part_a, part_b = fold(part_a, code, FACTOR_A), fold(part_b, code, FACTOR_B)
        if not bits & SPACE:
            line_key, part_key = line_a << 31 | line_b, part_a << 31 | part_b
            line_end = part_end = i + 1
        elif code == 10:
            feeds += 1
            if line_start >= 0:
                _line(codes, line_start, line_end, table, counts, short, long)
                if seen_before(slots[0], mask, line_key + 1):
                    counts[REPEATED_LINES] += 1
                    counts[REPEATED_LINE_CHARACTERS] += line_end - line_start
                line_start = -1
    if part_start >= 0:
        _paragraph(counts, slots[1], mask, part_key, part_end - part_start)


@compiled
def _paragraph(counts: Any, slots: Any, mask: int, key: int, size: int) -> None:
    counts[PARAGRAPHS] += 1
    counts[PARAGRAPH_CHARACTERS] += size
    if seen_before(slots, mask, key + 1):
        counts[REPEATED_PARAGRAPHS] += 1
        counts[REPEATED_PARAGRAPH_CHARACTERS] += size


@compiled
def letters_of(codes: Any, n: int, table: Any, words: Any) -> int:
    """Fill `words` with a number for each letter of a text; returns how many there are."""
    found = 0
    for i in range(n):
        if table[min(codes[i], PLANES)] & LETTER:
            words[found] = int(codes[i]) + 1
            found += 1
    return found


@compiled
def lengthen(keys: Any, words: Any, n: int, size: int, longer: int) -> int:
    """Turn the numbers of the n-grams of `size` words in `keys` (0: none yet) into those of `longer` words, in order;
    returns how many there are."""
    for more in range(size, longer):
        for i in range(n - more):
            key = keys[i] - 1 if more else 0
            a = fold(key >> 31, words[i + more] >> 31, FACTOR_A)
            b = fold(key & PRIME, words[i + more] & PRIME, FACTOR_B)
            keys[i] = (a << 31 | b) + 1
    return max(0, n - longer + 1)


@compiled
def most_frequent(keys: Any, n: int, sizes: Any, size: int, slots: Any, times: Any) -> int:
    """Characters in all occurrences of the most frequent n-gram, of equally frequent ones the first; 0 where none
    occurs twice."""
    slots[:] = 0
    times[:] = 0
    mask, most, first = len(slots) - 1, 1, -1
    for i in range(n):
        place = (keys[i] ^ (keys[i] >> 31)) & mask
        while slots[place] != 0 and slots[place] != keys[i]:
            place = (place + 1) & mask
        slots[place] = keys[i]
        times[place] += 1
        most = max(most, times[place])
    if most < 2:
        return 0
    for i in range(n):
        place = (keys[i] ^ (keys[i] >> 31)) & mask
        while slots[place] != keys[i]:
            place = (place + 1) & mask
        if times[place] == most:
            first = i
            break
    found = 0
    for i in range(first, first + size):
        found += sizes[i]
    return found * most


@compiled
def covered_characters(keys: Any, n: int, sizes: Any, size: int, slots: Any) -> int:
    """Characters of words in n-grams that occurred before, overlaps counted once."""
    slots[:] = 0
    mask, found, done = len(slots) - 1, 0, 0
    for i in range(n):
        if seen_before(slots, mask, keys[i]):
            for place in range(max(done, i), i + size):
                found += sizes[place]
            done = i + size
    return found


@compiled
def repeated_characters(keys: Any, n: int, sizes: Any, size: int, slots: Any) -> int:
    """Characters in n-grams that occurred before, from left to right without overlap."""
    slots[:] = 0
    mask, found, i = len(slots) - 1, 0, 0
    while i < n:
        if seen_before(slots, mask, keys[i]):
            for place in range(i, i + size):
                found += sizes[place]
            i += size
        else:
            i += 1
    return found
