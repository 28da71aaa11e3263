"""Benchmark leaks: found, named, and no more than that."""

import json
import random
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from expedition.data.records import documents_of
from expedition.data.stages.benchmark_files import Item, Unread, read_benchmarks
from expedition.data.stages.decontaminate import BenchmarkIndex, Decontaminate, parse_leaks
from tests.data.stages.documents import batch_of

QUESTION = (
    "A fisherman sells sixteen herrings at the market every morning and keeps three for his own breakfast, "
    "so how many herrings did he catch in a week of five days?"
)
SHORT = "Which planet of our sun has the most moons?"
CHINESE = "渔夫每天早上在市场上卖出十六条鲱鱼，自己留三条当早饭，五天里他一共捕了多少条鱼？"


def index(*texts: str) -> BenchmarkIndex:
    return BenchmarkIndex.from_items(
        Item("quiz", f"quiz/test.jsonl#{n}.question", text) for n, text in enumerate(texts)
    )


def test_leaks_are_found_in_longer_text() -> None:
    found = index(QUESTION, SHORT, CHINESE)
    around = "Here is something that I read last week. {} I found it hard to answer."
    for number, text in enumerate((QUESTION, SHORT, CHINESE)):
        leaks = found.leaks(around.format(text.upper()))
        assert [leak.item for leak in leaks] == [f"quiz/test.jsonl#{number}.question"]
        assert leaks[0].share > 0.9


def test_phrases_in_common_are_no_leaks() -> None:
    text = "A fisherman sells sixteen herrings at the market, and every morning he tells a story about a moon."
    assert index(QUESTION, SHORT).leaks(text) == []


def test_short_items_prove_nothing() -> None:
    assert index("two red rings at the left").leaks("There are two red rings at the left of the picture.") == []


def test_dress_does_not_hide_a_leak() -> None:
    found = index(QUESTION.replace("his own", "the fisherman's own"))
    dressed = (
        QUESTION.replace("his own", "the fishermans own")
        .replace(",", "")
        .replace("e", "e\u00ad")
        .replace(" ", " \u200b")
    )
    assert [leak.share for leak in found.leaks(f"<p>{dressed.upper()}")] == [1.0]


def test_a_part_of_an_item_counts_from_six_tenths() -> None:
    words = QUESTION.split()
    found = index(QUESTION)
    assert found.leaks(" ".join(words[: int(0.7 * len(words))]))
    assert not found.leaks(" ".join(words[: int(0.5 * len(words))]))


def test_short_items_count_as_lines_of_their_own_three_of_a_benchmark() -> None:
    short = [f"What is the colour of {thing}?" for thing in ("snow", "coal", "milk", "blood")]
    found = index(*short)
    assert {leak.item for leak in found.leaks("\n".join(["My quiz:", *short, "The end."]))} == {
        f"quiz/test.jsonl#{number}.question" for number in range(4)
    }
    assert found.leaks("\n".join(short[:2])) == []
    assert found.leaks(" And ".join(short)) == []


def test_a_passage_that_many_items_share_is_still_found() -> None:
    passage = " ".join(f"clause{number} of the passage" for number in range(30))
    found = index(*(f"{passage} And what of question {number}?" for number in range(4)), QUESTION)
    assert found.leaks(f"Read this. {passage}")
    assert index(*[QUESTION] * 5).leaks(f"Five times the same: {QUESTION}")


@settings(max_examples=20, deadline=None)
@given(st.lists(st.sampled_from(["x", QUESTION, CHINESE, f"It says: {CHINESE}", "", "a\nb\nc"]), max_size=6))
def test_many_texts_at_once_give_what_each_gives_alone(texts: list[str]) -> None:
    found = index(QUESTION, SHORT, CHINESE)
    assert found.leaks_of(texts) == [found.leaks(text) for text in texts]


def test_templates_of_a_benchmark_prove_nothing() -> None:
    frame = "Read the following passage with care and then choose the one best answer to the question about"
    assert index(*(f"{frame} {name}" for name in ("boats", "mills", "fish", "rings"))).leaks(f"{frame} horses") == []


def test_the_stage_drops_short_documents_and_cuts_long_ones() -> None:
    stage = Decontaminate(index(QUESTION), cut_above_characters=3000)
    filler = "\n\n".join(f"Paragraph {number} speaks of boats and of mills. " * 5 for number in range(30))
    result = stage(batch_of(f"I ask you: {QUESTION}", f"{filler}\n\n{QUESTION}\n\nThe end.", "sound text"))
    assert [item.id for item in result.dropped] == ["0"]
    told = parse_leaks(result.dropped[0].reason)
    assert [(row["benchmark"], row["item"], row["overlap"]) for row in told] == [
        ("quiz", "quiz/test.jsonl#0.question", 1.0)
    ]
    assert told[0]["excerpt"].startswith("a fisherman sells")
    assert result.changes["1"] == ("leak cut", "leak quiz 1", "quiz/test.jsonl#0.question 1.00")
    assert result.changed == {"leak cut": 1}
    cut = documents_of(result.batch)[0].text
    assert "herrings" not in cut
    assert cut.endswith("The end.")
    assert result.counts == {"leak quiz": 2}


def test_captions_are_left_alone() -> None:
    stage = Decontaminate(index(QUESTION))
    assert stage(batch_of(QUESTION, kind="image-text")).dropped == ()


def test_any_evaluation_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x.jsonl").write_text(json.dumps({"id": "long identifier", "q": {"stem": SHORT}}) + "\n")
    (tmp_path / "a" / "y.csv").write_text('question,answer\n"one, two",three\n')
    (tmp_path / "a" / "z.tsv").write_text("left\tright\n")
    (tmp_path / "b.json").write_text(json.dumps([{"text": CHINESE}]))
    (tmp_path / "broken.jsonl").write_text("{no json\n")
    found = list(read_benchmarks(tmp_path))
    texts = {item.text for item in found if isinstance(item, Item)}
    assert {SHORT, "one, two", "left", CHINESE} <= texts
    assert "long identifier" not in texts
    assert [item.path for item in found if isinstance(item, Unread)] == ["broken.jsonl"]


def test_an_absent_folder_finds_nothing(tmp_path: Path) -> None:
    assert BenchmarkIndex.from_folder(tmp_path / "none").leaks(QUESTION) == []


def test_real_benchmarks_are_found_again(open_data: Path) -> None:
    found = BenchmarkIndex.from_folder(open_data / "eval")
    assert len(found.names) > 3000
    rows = [json.loads(line) for line in (open_data / "eval/gsm8k/test.jsonl").read_text("utf-8").splitlines()]
    chosen = random.Random(1).sample(rows, 40)
    hits = [bool(found.leaks(f"Exam of today.\n{row['question']}\nThat was it.")) for row in chosen]
    assert sum(hits) >= 39
