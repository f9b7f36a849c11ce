"""Sentences with values, kept apart from each other until a language is known.

What the dialogs say and what is refused is English here; an editor's plug-in gives `Words` its own
catalogue and decimal sign. Knows nothing of catalogues or widgets.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


def N_(text: str) -> str:
    """Mark a text for the catalogue."""
    return text


@dataclass(frozen=True)
class Sentence:
    """A text and what fills its fields; `str()` is the English.

    Attributes:
        text: a format string, as it stands in the catalogue.
        values: by field; a `Sentence` among them is said in the same language.
    """

    text: str
    values: Mapping[str, object] = field(default_factory=dict)

    def __str__(self) -> str:
        return Words().say(self)


class _Filling(string.Formatter):
    """Numbers with a decimal sign; sentences within sentences."""

    def __init__(self, words: Words) -> None:
        self._words = words

    def format_field(self, value: object, format_spec: str) -> str:
        if isinstance(value, Sentence):
            return self._words.say(value)
        text: str = super().format_field(value, format_spec)
        return text.replace(".", self._words.point) if isinstance(value, float) else text


@dataclass(frozen=True)
class Words:
    """How one language says things.

    Attributes:
        translate: English text -> that language's, fields untouched.
        point: decimal sign.
    """

    translate: Callable[[str], str] = str
    point: str = "."

    def fill(self, text: str, /, **values: object) -> str:
        """A text in this language with its fields filled."""
        return _Filling(self).vformat(self.translate(text), (), values)

    def say(self, sentence: Sentence) -> str:
        """A sentence in this language."""
        return self.fill(sentence.text, **sentence.values)


class Refusal(ValueError):
    """A value that cannot be used; says which, and what to do now.

    Attributes:
        sentence: what `str()` says in English.
    """

    def __init__(self, text: str, /, **values: object) -> None:
        self.sentence = Sentence(text, values)
        super().__init__(str(self.sentence))
