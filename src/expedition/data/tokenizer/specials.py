"""The table of special tokens: Qwen's own 26 added tokens, then ours, in one fixed order.

In the whole vocabulary Qwen's are 151,643 to 151,668 and ours begin at 151,669; a compact vocabulary has the same
tokens in the same order after its last entry.
"""

from __future__ import annotations

QWEN_ADDED: tuple[tuple[str, bool], ...] = (
    ("<|endoftext|>", True),
    ("<|im_start|>", True),
    ("<|im_end|>", True),
    ("<|object_ref_start|>", True),
    ("<|object_ref_end|>", True),
    ("<|box_start|>", True),
    ("<|box_end|>", True),
    ("<|quad_start|>", True),
    ("<|quad_end|>", True),
    ("<|vision_start|>", True),
    ("<|vision_end|>", True),
    ("<|vision_pad|>", True),
    ("<|image_pad|>", True),
    ("<|video_pad|>", True),
    ("<tool_call>", False),
    ("</tool_call>", False),
    ("<|fim_prefix|>", False),
    ("<|fim_middle|>", False),
    ("<|fim_suffix|>", False),
    ("<|fim_pad|>", False),
    ("<|repo_name|>", False),
    ("<|file_sep|>", False),
    ("<tool_response>", False),
    ("</tool_response>", False),
    ("<think>", False),
    ("</think>", False),
)
"""Qwen3's added tokens in the order of their ids, and whether Qwen marks them as special."""

OURS: tuple[str, ...] = (
    "<|audio_start|>",
    "<|audio_end|>",
    "<|audio_pad|>",
    "<|image|>",
    "<|video|>",
    "<|audio|>",
    "<|video_start|>",
    "<|video_end|>",
    "<|camera_front|>",
    "<|camera_front_left|>",
    "<|camera_front_right|>",
    "<|camera_back|>",
    "<|camera_back_left|>",
    "<|camera_back_right|>",
    "<|ipa_phoneme|>",
    "<|ipa_end|>",
    "<|trajectory_start|>",
    "<|trajectory_end|>",
)
"""Our special tokens before the action bins."""

END_OF_TEXT = "<|endoftext|>"


def action(number: int) -> str:
    """The name of an action bin."""
    return f"<|action_{number:03d}|>"


def added_tokens(first: int, action_bins: int = 256) -> list[tuple[int, str, bool]]:
    """(id, text, special) of every added token, ids counted from `first` without gaps."""
    named = [*QWEN_ADDED, *((name, True) for name in OURS), *((action(bin_), True) for bin_ in range(action_bins))]
    return [(first + offset, text, special) for offset, (text, special) in enumerate(named)]


def table(action_bins: int = 256, first: int = 151_643) -> list[dict[str, object]]:
    """The id ranges for the design document: one row a token, the action bins as one range."""
    rows: list[dict[str, object]] = []
    for number, text, _ in added_tokens(first, 0):
        rows.append({"first": number, "last": number, "token": text, "origin": _origin(text)})
    start = first + len(QWEN_ADDED) + len(OURS)
    last = start + action_bins - 1
    rows.append({"first": start, "last": last, "token": f"{action(0)} … {action(action_bins - 1)}", "origin": "ours"})
    return rows


def _origin(text: str) -> str:
    return "qwen" if any(text == name for name, _ in QWEN_ADDED) else "ours"
