"""Licences of repositories: where they are looked for, what counts before what, and that nothing is nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expedition.data.stages.code import class_of, is_licence_evidence, repository_licence, repository_match
from expedition.data.stages.code.declared import ids_of, spdx_of
from tests.data.stages.test_spdx import ISC, MIT

UNKNOWN = "Send me a postcard from every town that you use this program in, and be kind to the harbour master. " * 4


@pytest.mark.parametrize(
    ("name", "text", "spdx"),
    [
        ("Cargo.toml", '[package]\nname = "a"\nlicense = "MIT/Apache-2.0"\n', "MIT OR Apache-2.0"),
        ("Cargo.toml", '[workspace.package]\nlicense = "MPL-2.0"\n', "MPL-2.0"),
        ("pyproject.toml", '[project]\nlicense = {text = "BSD 3-Clause License"}\n', "BSD-3-Clause"),
        ("pyproject.toml", '[project]\nlicense = {file = "LICENSE"}\n', None),
        (
            "pyproject.toml",
            '[project]\nclassifiers = ["License :: OSI Approved :: GNU General Public License v3 (GPLv3)"]\n',
            "GPL-3.0",
        ),
        ("pyproject.toml", '[tool.poetry]\nlicense = "Apache-2.0"\n', "Apache-2.0"),
        ("package.json", '{"license": "(MIT OR ISC)"}', "MIT OR ISC"),
        ("package.json", '{"licenses": [{"type": "MIT"}, {"type": "GPL-2.0"}]}', "MIT OR GPL-2.0"),
        ("package.json", '{"license": "UNLICENSED"}', None),
        ("package.json", '{"license": "SEE LICENSE IN TERMS.txt"}', None),
        ("package.json", '{"license": ', None),
        (
            "pom.xml",
            "<project><name>Boat</name><licenses><license><name>The Apache Software License, Version 2.0</name>"
            "</license></licenses></project>",
            "Apache-2.0",
        ),
        ("setup.py", "setup(\n    name='a',\n    license='LGPLv3+',\n)", "LGPL-3.0-or-later"),
        ("setup.cfg", "[metadata]\nlicense = MIT License\n", "MIT"),
        ("boat.gemspec", "Gem::Specification.new do |spec|\n  spec.license = 'BSD-2-Clause'\nend\n", "BSD-2-Clause"),
        ("DESCRIPTION", "Package: boat\nLicense: GPL-2\n", "GPL-2.0"),
        ("README.md", "# Boat\n\nFloats.\n\n## License\n\n[MIT](LICENSE) © A. Boat\n", "MIT"),
        (
            "README.md",
            "# Boat\n\n## Licence\n\nLicensed under either of Apache License, Version 2.0 or MIT license at your option.\n\n"
            "## Thanks\n\nTo the GPL world.\n",
            "Apache-2.0 OR MIT",
        ),
        ("README.rst", "Boat\n====\n\nLicense\n-------\n\nGNU Affero General Public License v3\n", "AGPL-3.0"),
        ("README", "Boat is released into the public domain.\n", "LicenseRef-Public-Domain"),
        ("README.md", "![x](https://img.shields.io/badge/license-Apache--2.0-blue.svg)\n", "Apache-2.0"),
        ("README.md", "# Boat\n\nIt is not licensed under the MIT license.\n", None),
        ("README.md", "# Boat\n\nReads the MIT corpus, talks to Apache 2.4 and the BSD make.\n", None),
    ],
)
def test_metadata_and_readmes_name_the_licence(name: str, text: str, spdx: str | None) -> None:
    found = repository_match({name: text, "src/a.c": "int a;\n"})
    assert (None if found is None else found.spdx) == spdx
    assert is_licence_evidence(name)


def test_nothing_is_no_licence() -> None:
    assert repository_licence({}) is None
    assert repository_licence({"util.c": "int a;\n", "tool.py": "import os\n"}) is None


def test_licences_of_others_further_down_do_not_count() -> None:
    found = repository_licence({"LICENSE": MIT, "docs/theme/LICENSE": ISC, "vendor/x/COPYING": UNKNOWN})
    assert found is not None and found.spdx == "MIT"
    assert repository_licence({"a.c": "int a;\n", "vendor/x/LICENSE": MIT}) is None


def test_a_licence_file_counts_before_what_is_told_elsewhere() -> None:
    told = {"package.json": '{"license": "GPL-3.0"}', "README.md": "## License\n\nGPL-3.0\n"}
    found = repository_match({"LICENSE": MIT, **told})
    assert found is not None and (found.spdx, found.evidence) == ("MIT", "text")
    unknown = repository_match({"LICENSE": UNKNOWN, **told})
    assert unknown is not None and not unknown.asserted
    without = repository_match(told)
    assert without is not None and (without.spdx, without.evidence) == ("GPL-3.0", "metadata")


def test_metadata_say_how_several_licences_are_joined() -> None:
    texts = {"LICENSE": MIT, "LICENSE-ISC": ISC}
    choice = repository_match({**texts, "pyproject.toml": '[project]\nlicense = "MIT OR ISC"\n'})
    both = repository_match({**texts, "pyproject.toml": '[project]\nlicense = "ISC AND MIT"\n'})
    other = repository_match({**texts, "pyproject.toml": '[project]\nlicense = "GPL-3.0-only"\n'})
    assert choice is not None and both is not None and other is not None
    assert (choice.spdx, both.spdx) == ("MIT OR ISC", "ISC AND MIT")
    assert "GPL" not in other.spdx


def test_a_file_that_points_to_its_neighbours_is_their_choice() -> None:
    pointer = (
        "This software is made available under the terms of either of the licences found in LICENSE.MIT or LICENSE.ISC."
    )
    found = repository_match({"LICENSE": pointer, "LICENSE.MIT": MIT, "LICENSE.ISC": ISC})
    assert found is not None and ids_of(found.spdx) == {"mit", "isc"} and " OR " in found.spdx


def test_known_text_among_unknown_words_counts_where_the_metadata_agree() -> None:
    mixed = f"{MIT}\n\nThe harbour table was made by:\n\n{UNKNOWN}"
    agreed = repository_match({"LICENSE": mixed, "package.json": '{"license": "MIT"}'})
    alone = repository_match({"LICENSE": mixed})
    added = repository_match({"LICENSE": f"{mixed} Non-commercial use only.", "package.json": '{"license": "MIT"}'})
    assert agreed is not None and alone is not None and added is not None
    assert (agreed.spdx, alone.asserted, added.asserted) == ("MIT", False, False)


def test_tags_and_a_folder_of_texts_are_found() -> None:
    tagged = {f"src/{n}.c": f"/* SPDX-License-Identifier: ISC */\nint a{n};\n" for n in range(3)}
    found = repository_match({**tagged, "src/plain.c": "int b;\n"})
    assert found is not None and (found.spdx, found.evidence) == ("ISC", "tag")
    mixed = {**tagged, "src/other.c": "// SPDX-License-Identifier: GPL-2.0-only\n"}
    assert repository_match(mixed) is None
    reuse = repository_match({"README.md": "hello", "LICENSES/MIT.txt": MIT})
    assert reuse is not None and reuse.spdx == "MIT"


def test_lesser_and_full_text_side_by_side_are_one_licence() -> None:
    lesser = "This program is free software under the GNU Lesser General Public License, version 3."
    found = repository_licence(
        {"COPYING.LESSER": lesser, "COPYING": "GNU GENERAL PUBLIC LICENSE\n Version 3, 29 June 2007"}
    )
    assert found is not None and found.klass == "copyleft" and "LGPL-3.0" in found.spdx and " AND " not in found.spdx


@given(st.text(max_size=300))
def test_any_words_have_an_answer_of_known_form(words: str) -> None:
    found = spdx_of(words)
    assert found is None or (found and ids_of(found))
    repository_match({"README.md": words, "package.json": json.dumps({"license": words}), "setup.cfg": words})


@given(st.lists(st.sampled_from(["MIT", "ISC", "Apache-2.0", "GPL-3.0-only"]), min_size=1, max_size=3, unique=True))
def test_expressions_stay_as_they_are(names: list[str]) -> None:
    for operator in (" OR ", " AND "):
        assert spdx_of(operator.join(names)) == operator.join(names)
        assert class_of(operator.join(names)) != "unknown"
