"""Licences by text: what changes nothing, what changes everything, and what is not known."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.stages.code import class_of, licence_of, match_licence_text, repository_licence, repository_match

MIT = """MIT License

Copyright (c) 2024 A. Boat

Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated
documentation files (the "Software"), to deal in the Software without restriction, including without limitation the
rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit
persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the
Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE
WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR
COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR
OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
"""
ISC = """Copyright 2024 A. Boat

Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted,
provided that the above copyright notice and this permission notice appear in all copies.

THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL
IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT,
INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN
ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF
THIS SOFTWARE.
"""
MPL_NOTICE = "// Licensed under the Mozilla Public License\n"


def test_licence_is_found_by_text_whatever_the_file_is_called() -> None:
    for name in ("LICENSE", "LICENSE-APACHE", "COPYING", "LICENCE.md", "MIT-LICENSE"):
        found = repository_licence({name: MIT})
        assert found is not None
        assert (found.spdx, found.klass) == ("MIT", "permissive"), name
    assert repository_licence({"main.c": MIT, "LICENSE-THIRD-PARTY": ISC}) is None


@given(
    st.sampled_from([MIT, ISC]),
    st.booleans(),
    st.sampled_from(["", "# ", "> ", " * "]),
    st.sampled_from(['"', "“", "''"]),
    st.integers(30, 200),
    st.text("0123456789 ABCxyz", max_size=20),
)
def test_form_changes_nothing(text: str, upper: bool, prefix: str, quote: str, width: int, holder: str) -> None:
    expected = "MIT" if text is MIT else "ISC"
    words = re.sub(r"Copyright.*", f"Copyright (c) {holder}", text).replace('"', quote).split()
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    changed = "\n".join(prefix + one for one in [*lines, line])
    assert match_licence_text(changed.upper() if upper else changed).spdx == expected


@given(st.integers(0, 10_000))
def test_a_word_more_in_the_grant_is_another_licence(place: int) -> None:
    words = MIT.split()
    # Before that, the SPDX template itself leaves room: "obtaining a copy of <what is licensed>".
    at = words.index("restriction,") + 1 + place % 40
    changed = " ".join([*words[:at], *["never", "in", "harbours", "nor", "for", "fishing"], *words[at:]])
    found = match_licence_text(changed)
    assert not found.asserted
    assert found.nearest is not None
    assert class_of(found.spdx) == "unknown"


@pytest.mark.parametrize(
    "terms",
    [
        "Non-commercial use only.",
        '"Commons Clause" License Condition v1.0',
        "This code may not be used for machine learning.",
    ],
)
def test_terms_around_a_licence_restrict_it(terms: str) -> None:
    for text in (f"{terms}\n\n{MIT}", f"{MIT}\n{terms}\n"):
        assert match_licence_text(text).spdx == "MIT AND LicenseRef-additional-terms"
    assert class_of("MIT AND LicenseRef-additional-terms") == "restricted"


def test_several_licences_are_a_choice_only_where_the_words_say_so() -> None:
    assert match_licence_text(f"{MIT}\n\n{ISC}").spdx == "MIT AND ISC"
    assert (
        match_licence_text(f"Dual-licensed under either of these, at your option:\n\n{MIT}\n\n{ISC}").spdx
        == "MIT OR ISC"
    )
    side_by_side = repository_match({"LICENSE-MIT": MIT, "LICENSE-ISC": ISC})
    both_apply = repository_match({"LICENSE": MIT, "COPYING": ISC})
    assert side_by_side is not None
    assert both_apply is not None
    assert (side_by_side.spdx, both_apply.spdx) == ("ISC OR MIT", "ISC AND MIT")


def test_an_unknown_text_spoils_the_repository() -> None:
    found = repository_licence({"LICENSE": MIT, "COPYING": "Send me a postcard from every town you use this in. " * 9})
    assert found is not None
    assert (found.spdx, found.klass) == ("NOASSERTION", "unknown")


def test_a_score_says_how_near_an_unknown_text_is() -> None:
    near = match_licence_text(MIT.replace("without restriction", "with every restriction that we can think of"))
    far = match_licence_text("Send me a postcard from every town that you use this program in, and be kind. " * 4)
    # The JSON licence is the MIT licence and one sentence more.
    assert near.spdx == "NOASSERTION"
    assert near.nearest in ("MIT", "JSON")
    assert near.score > 0.8 > 0.3 > far.score


def test_a_short_file_may_name_its_licence_and_a_long_one_may_not() -> None:
    assert match_licence_text("Public Domain.").spdx == "LicenseRef-Public-Domain"
    assert match_licence_text("This project is licensed under the Apache License, Version 2.0").spdx == "Apache-2.0"
    long = "Released under the MIT license, but first read our twelve conditions. " + "You shall do as we say. " * 30
    assert match_licence_text(long).spdx == "NOASSERTION"


def test_headers_give_tags_texts_and_notices() -> None:
    commented = "/*\n" + "\n".join(f" * {line}" for line in ISC.splitlines()) + "\n */\nint main(void) { return 0; }\n"
    cases = {
        commented: "ISC",
        MPL_NOTICE: "MPL-2.0",
        "{# SPDX-License-Identifier: MIT #}\n": "MIT",
        "<!-- SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception -->": "Apache-2.0 WITH LLVM-exception",
    }
    assert {text: found.spdx for text in cases if (found := licence_of(text))} == cases
    assert licence_of("int main(void) { return 0; }\n") is None


@pytest.mark.parametrize(
    ("spdx", "klass"),
    [
        ("(MIT OR Apache-2.0) AND GPL-3.0-only", "copyleft"),
        ("MIT OR (GPL-2.0-only AND CC-BY-NC-4.0)", "permissive"),
        ("GPL-2.0-only WITH Classpath-exception-2.0", "copyleft"),
        ("((MIT))", "permissive"),
        ("NOASSERTION", "unknown"),
        ("BSD-3-Clause and LicenseRef-ours", "restricted"),
    ],
)
def test_classes_of_nested_expressions(spdx: str, klass: str) -> None:
    assert class_of(spdx) == klass


@given(st.text(max_size=400))
def test_any_text_has_an_answer(text: str) -> None:
    found = match_licence_text(text)
    assert 0.0 <= found.score <= 1.0
    assert found.asserted or found.spdx == "NOASSERTION"
