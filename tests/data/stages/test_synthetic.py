"""Generated texts: what is dropped, who made them."""

import pytest

from expedition.data.stages.synthetic import SyntheticChecks
from tests.data.stages.documents import batch_of


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("As an AI language model, I do not have feelings.", "refusal of a model"),
        ("I'm sorry, but I can't assist with that request.", "refusal of a model"),
        ("作为一个人工智能语言模型，我不能回答。", "refusal of a model"),
        ("Dear {{customer_name}}, your order is on its way.", "unfilled template"),
        ("Best regards, [Your Name]", "unfilled template"),
        ("I'm sorry that the boat left without you.", None),
        ("The list [1, 2, 3] has three numbers, and <b> is a tag.", None),
        ("A story of boats. " * 60 + "As an AI language model, said the robot.", None),
    ],
)
def test_leavings_of_generators_are_dropped(text: str, reason: str | None) -> None:
    result = SyntheticChecks()(batch_of(text, kind="synthetic"))
    assert [item.reason for item in result.dropped] == ([reason] if reason else [])


def test_makers_are_counted() -> None:
    known = batch_of("a text", "another", kind="synthetic", meta={"generator": "notes", "generator_version": "1.2"})
    assert SyntheticChecks()(known).counts == {"made by notes 1.2": 2}
    assert SyntheticChecks()(batch_of("a text", kind="synthetic")).counts == {"maker not stated": 1}
