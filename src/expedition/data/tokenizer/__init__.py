"""data.tokenizer: text to ids and back, on the genuine Qwen vocabulary or a compact part of it.

Why a room: an id means the same in shards, weights and release only if one place makes it. Text can never become a
special token here, whatever it spells.
Verbs (all that other rooms may call):
    Tokenizer(vocabulary), Tokenizer.load(folder)      encode, encode_batch, decode, special, size, fingerprint, save
    qwen_vocabulary() -> Vocabulary                    from a package's rank file; merges cached for the user
    compact(vocabulary, counts, entries)               the entries that data uses, closed under merges
    count_ids(encoded, entries) -> counts              what `compact` wants to know
    special_table() -> rows                            id ranges for the design document
    chat_ids(tokenizer, messages, prompt) -> ids, mask    a conversation, and what of it is learnt
    read_actions(tokenizer, ids), read_phonemes(tokenizer, ids)    action bins and IPA spans of a row of ids
    check_tokenizer(tokenizer, texts) -> list[Finding]    genuine, equal to the reference, nothing injected
    Vocabulary                                         bytes and merges
Seams: Encoder (gigatoken, tiktoken, tokenizers); another needs `encode_batch` and must agree on every probe.
Imports: errors, workspace.  Imported by: data, train, evaluate, release.
Reads / writes in the workspace: data/dataset/<version>/tokenizer/ (through data.builder).
Invariants: ids equal those of Qwen's own tokenizer.json [test_ids_equal_the_reference_on_every_script]; decode undoes
    encode [test_compact_round_trip]; text never becomes a special id [test_special_text_stays_text].
Read in this order:
    vocabulary.py    bytes, merges, tokenizer.json
    qwen.py          ranks → merges
    specials.py      the id table
    compact.py       the part that data uses
    fast.py          the encoders
    chat.py          conversations
    spans.py         actions and phonemes in a row of ids
    tokenizer.py     what joins them
    from_texts.py    a compact one from files
    check.py         whether it is what it says
Try: pytest tests/data/tokenizer
"""

from expedition.data.tokenizer.chat import chat_ids
from expedition.data.tokenizer.check import Finding, check_tokenizer
from expedition.data.tokenizer.compact import compact, count_ids
from expedition.data.tokenizer.qwen import qwen_vocabulary
from expedition.data.tokenizer.spans import read_actions, read_phonemes
from expedition.data.tokenizer.specials import table as special_table
from expedition.data.tokenizer.tokenizer import Tokenizer
from expedition.data.tokenizer.vocabulary import Vocabulary

__all__ = [
    "Finding",
    "Tokenizer",
    "Vocabulary",
    "chat_ids",
    "check_tokenizer",
    "compact",
    "count_ids",
    "qwen_vocabulary",
    "read_actions",
    "read_phonemes",
    "special_table",
]
