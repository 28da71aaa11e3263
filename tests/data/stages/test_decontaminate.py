"""Benchmark leaks: found, named, and no more than that."""

import json
import random
from pathlib import Path

from expedition.data.records import documents_of
from expedition.data.stages.benchmark_files import Item, Unread, read_benchmarks
from expedition.data.stages.decontaminate import BenchmarkIndex, Decontaminate
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


def test_templates_of_a_benchmark_prove_nothing() -> None:
    frame = "Read the following passage with care and then choose the one best answer to the question about"
    assert index(*(f"{frame} {name}" for name in ("boats", "mills", "fish", "rings"))).leaks(f"{frame} horses") == []


def test_the_stage_drops_short_documents_and_cuts_long_ones() -> None:
    stage = Decontaminate(index(QUESTION), cut_above_characters=3000)
    filler = "\n\n".join(f"Paragraph {number} speaks of boats and of mills. " * 5 for number in range(30))
    result = stage(batch_of(f"I ask you: {QUESTION}", f"{filler}\n\n{QUESTION}\n\nThe end.", "sound text"))
    assert [item.id for item in result.dropped] == ["0"]
    assert result.dropped[0].reason == "benchmark leak: quiz/test.jsonl#0.question"
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
