"""The parser, and what an argument may be."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Collection
from typing import Any, NoReturn, TypeAlias

from ..streams import say

#: What `add` of a command's module is given.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


class Parser(argparse.ArgumentParser):
    """Keeps the line breaks of the help, and says what is wrong in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **settings
        )

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")

    def _print_message(self, message: str, file: Any = None) -> None:
        say(message.rstrip("\n"))  # the help and the version; errors are raised


def _number(text: str, low: float, expected: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
    return value


def nonnegative(text: str) -> float:
    """A number >= 0."""
    return _number(text, 0.0, "a number >= 0")


def positive(text: str) -> float:
    """A number > 0."""
    return _number(text, math.nextafter(0.0, 1.0), "a number > 0")


def decibels(text: str) -> float:
    """A power in dBm."""
    value = _number(text, -300.0, "dBm between -300 and 300")
    if value > 300.0:
        raise argparse.ArgumentTypeError(f"expected dBm between -300 and 300, got {text!r}")
    return value


def ratio(text: str) -> float:
    """A ratio in dB."""
    value = _number(text, -300.0, "dB between -300 and 300")
    if value > 300.0:
        raise argparse.ArgumentTypeError(f"expected dB between -300 and 300, got {text!r}")
    return value


def integer(low: int, high: int) -> Callable[[str], int]:
    """An integer from ``low`` to ``high``; more would not end, or not fit into memory."""

    def parse(text: str) -> int:
        # Python refuses to read numbers of so many digits.
        decimal = text.isascii() and text.isdecimal() and len(text) <= 30
        if not decimal or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"expected an integer from {low} to {high}, got {text[:30]!r}"
            )
        return int(text)

    return parse


count = integer(1, 2**31 - 1)
seed = integer(0, 2**63 - 1)


def shape(text: str) -> tuple[int, int]:
    """``NXxNY``."""
    nx, _, ny = text.lower().partition("x")
    try:
        return count(nx), count(ny)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(
            f"expected elements along x and y, such as 8x8, got {text!r}"
        ) from None


def feeds(text: str) -> int | str:
    """A number of feeds, or ``edge:L``, which `Surface` reads."""
    return f"edge:{count(text[5:])}" if text.startswith("edge:") else count(text)


def names(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Different ones of these, with commas."""

    def parse(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        if not set(chosen) <= set(known) or len(set(chosen)) < len(chosen):
            raise argparse.ArgumentTypeError(
                f"expected different ones of {','.join(known)}, got {text!r}"
            )
        return chosen

    return parse
