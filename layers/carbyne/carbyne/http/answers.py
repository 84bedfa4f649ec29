"""Answers that every function gives; what one function alone answers is beside its routes."""

from typing import Final

import msgspec


class Answer(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """The body of an answer: JSON with these fields and no others."""


class Message(Answer, frozen=True):
    """What to change."""

    message: str


class Error(Answer, frozen=True):
    """Every answer but 200."""

    error: Message


class Success(Answer, frozen=True):
    """It is done."""

    success: bool


DONE: Final = Success(True)
