"""How a CSV file is written: data.separator, data.decimal and data.thousands."""

from dataclasses import dataclass

from gru_parallel.errors import UsageError

_WORDS = {
    ",": "comma",
    ";": "semicolon",
    "\t": "tab",
    "|": "pipe",
    " ": "space",
    ".": "point",
    "'": "apostrophe",
}
_CHARACTERS = {word: character for character, word in _WORDS.items()}
_SEPARATORS = ",;\t| "
_DECIMALS = ".,"
_THOUSANDS = ",. '"


@dataclass(frozen=True)
class CsvFormat:
    """How a file separates its columns and writes its numbers.

    Attributes:
        separator: between two columns; a space stands for any number of blanks.
        decimal: before the decimals.
        thousands: between groups of digits; None for nothing.
    """

    separator: str = ","
    decimal: str = "."
    thousands: str | None = None

    @classmethod
    def read(cls, separator: str, decimal: str, thousands: str | None) -> "CsvFormat":
        """Read the user's settings, each a character or the word for it.

        Raises:
            UsageError: one is not such a character, or decimals and thousands have the same one.
        """
        read = cls(
            _character("data.separator", separator, _SEPARATORS),
            _character("data.decimal", decimal, _DECIMALS),
            None if thousands is None else _character("data.thousands", thousands, _THOUSANDS),
        )
        if read.decimal == read.thousands:
            raise UsageError(
                f"data.thousands={thousands} is data.decimal, too, so that no number can be read; "
                "use two different characters."
            )
        return read

    @property
    def has_plain_numbers(self) -> bool:
        """Whether numbers are written as computers write them: 1234.5."""
        return self.decimal == "." and self.thousands is None


def separator_within(name: str, cell: str) -> str | None:
    """The separator of both a column's name and a cell, where both seem to be several columns.

    None where there is no character that cuts both into as many pieces.
    """
    for mark in ";\t| ":
        names, pieces = name.split(mark), cell.split(mark)
        if len(names) == len(pieces) > 1 and pieces[-1].strip()[:1].isdigit():
            return mark
    return None


def word_for(character: str) -> str:
    """The word for a character, as on the command line."""
    return _WORDS[character]


def _character(setting: str, given: str, choices: str) -> str:
    character = _CHARACTERS.get(given, given)
    if not character or character not in choices or len(character) > 1:
        words = ", ".join(_WORDS[choice] for choice in choices)
        raise UsageError(f"{setting}={given} is not a valid choice; use one of {words}.")
    return character
