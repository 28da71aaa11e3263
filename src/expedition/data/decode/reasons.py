"""Why an input was refused or repaired: one fixed vocabulary, so that reports from different builds can be compared."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """A cause, as it is written in reports (the value) and explained to a person (the member's docstring)."""

    def __new__(cls, value: str, sentence: str) -> Reason:
        member = str.__new__(cls, value)
        member._value_ = value
        member.__doc__ = sentence
        return member

    @property
    def sentence(self) -> str:
        """What the reason means, one sentence."""
        return self.__doc__ or ""

    EMPTY = "empty", "There is not a single byte."
    UNREADABLE = "unreadable", "The operating system refused to open or read the file."
    TOO_LARGE = "too large", "The file has more bytes than the limit for its format."
    UNPACKED_TOO_LARGE = (
        "unpacked too large",
        "Unpacking passed the limit on size or number: a bomb, or cut the file up.",
    )
    TOO_DEEP = "nested too deep", "Nesting passed the limit."
    TIME_LIMIT = "time limit", "Decoding passed the limit on time and was ended."
    DECODER_FAILED = "decoder failed", "The decoder raised an error that it does not document."

    WRONG_FORMAT = "wrong format", "The content is of another format than the name says."
    UNSUPPORTED_FORMAT = "unsupported format", "No decoder reads this format."
    UNSAFE_FORMAT = "unsafe format", "Reading this format can run code (pickle and its relatives): never opened."
    UNSAFE_TAG = "unsafe tag", "A YAML tag asks for an object of a programming language: never built."
    BINARY = "binary", "Bytes of no known format where text was expected."
    ENCRYPTED = "encrypted", "The content is locked by a password."

    TRUNCATED = "truncated", "The content ends before it should."
    CORRUPT = "corrupt", "The content breaks its format's rules."
    CHECKSUM = "checksum", "The content does not have the checksum that is stored with it."
    DECLARED_LENGTH = "declared length", "A length that the file declares is not the real one."

    UNSAFE_PATH = "unsafe path", "An archive member's name leads outside its folder, or through a link."
    NOT_A_PLAIN_FILE = (
        "not a plain file",
        "An archive member or an entry of a data folder is a link that is not followed, a device or a pipe.",
    )
    DUPLICATE_NAME = "duplicate name", "An archive holds two members of one name: the first is kept."

    ENCODING = "encoding", "No character encoding fits the bytes well enough."
    GUESSED_ENCODING = "guessed encoding", "The character encoding was found by statistics, not declared."
    REPLACED_BYTES = "replaced bytes", "Bytes that are no characters became U+FFFD."
    CONTROL_CHARACTERS = (
        "control characters",
        "Control, escape, direction-override or reserved characters were removed.",
    )
    NO_TEXT = "no text", "Nothing is left after boilerplate and control characters are removed."
    TOO_LONG = "too long", "More text or sound than one document may hold."

    BROKEN_LINE = "broken line", "A line is not valid JSON."
    BROKEN_ROW = "broken row", "A table's row has another number of fields than its header, or an open quote."
    MISSING_FIELD = "missing field", "A record lacks the field that holds its content."
    WRONG_TYPE = "wrong type", "A field, or a whole record, has a type that it should not have."
    DUPLICATE_KEY = "duplicate key", "A JSON object names one key twice."
    LONE_SURROGATE = "lone surrogate", "Text holds half of a surrogate pair."

    TOO_SMALL = "too small", "A picture below the smallest useful size, such as a tracking pixel."
    TOO_MANY_PIXELS = "too many pixels", "The header declares more pixels than the limit; not decoded."
    RECODED = "recoded", "A picture was stored again because of its palette, alpha, colour space, rotation or format."
    RESIZED = "resized", "A picture was made smaller to the largest stored size."
    MISSING_TEXT = "missing text", "No caption, transcript or subtitle belongs to this medium."
    MISSING_MEDIA = "missing media", "The picture, sound or clip that a record names is not there."
    BAD_CUES = "bad cues", "Subtitle cues with impossible times or without text were dropped."
    REORDERED = "reordered", "Subtitle cues that were not in order of time were put in order."
    CUT = "cut", "Only the first part was used, up to the limit."
    NO_ACTIONS = "no actions", "A driving clip without a usable trajectory: kept without action tokens."
    MISSING_CAMERAS = "missing cameras", "A driving clip without all six cameras."

    HTTP_STATUS = "http status", "The server's answer was not a success."
    NOT_A_DOCUMENT = "not a document", "Metadata, requests, indices, styles: nothing to train on."
    ROBOTS_LINE = "robots line", "A line of robots.txt could not be understood and was ignored."
    EXCLUDED = "excluded", "sources.yaml excludes this path."
