"""Which passwords are too easy to guess: zxcvbn, in a thread of its own, with what is known of the person."""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.threads import Threads
from zxcvbn import zxcvbn

from bulkhead_identity.passwords import FULL, normal, timed

LEAST_SCORE: Final = 3
"""Of 0 to 4: safe against guessing offline, at the speed of a slow hash."""
LONGEST: Final = 72
# Every letter that such a sign can stand for is tried with every other: with 20 of them in 72 characters, 12 s.
_SIGNS: Final = frozenset("4@8({[<3691!|0$5+7%2")
_MANY_SIGNS: Final = 6
_LONGEST_WITH_MANY: Final = 14
_OWN_WORDS: Final = ("bulkhead",)
# The library keeps the words of a person in a table of the process: one thread, whatever the number of servers in it,
# instead of a lock that threads would wait at.
_thread = ThreadPoolExecutor(1, thread_name_prefix="zxcvbn")


class Strength:
    """A queue of its own: a password that takes 75 ms to judge keeps no login waiting."""

    def __init__(self, *, queue: int = 50) -> None:
        self._threads = Threads(_thread, at_once=1, queue=queue, full=FULL)

    async def demand(self, payer: Hashable, password: str, field: str, about: Sequence[str]) -> None:
        """`payer`: whose share of the queue it takes; `about`: address and name, which others know too.

        Raises InvalidArgument INVALID_FIELD."""
        words = [*_OWN_WORDS, *words_of(about)]
        text = cut(normal(password), words)
        weakness = await self._threads.run(payer, lambda: timed(lambda: _weakness(text, words)))
        if weakness is not None:
            raise InvalidArgument.field(field, f"is too easy to guess. {weakness}")


def _weakness(text: str, words: list[str]) -> str | None:
    """What would help; None: nothing is amiss."""
    if not text:
        return advice("", ())
    found = zxcvbn(text, words, max_length=LONGEST)
    if found["score"] >= LEAST_SCORE:
        return None
    return advice(found["feedback"]["warning"], found["feedback"]["suggestions"])


def cut(text: str, words: Sequence[str]) -> str:
    """A part that is hard to guess makes the whole hard to guess; what others know of her is none."""
    text = text[:LONGEST]
    if len(_SIGNS.intersection(text)) < _MANY_SIGNS:
        return text
    for word in sorted(words, key=len, reverse=True):
        text = re.sub(re.escape(word), "", text, flags=re.IGNORECASE)
    return text[:_LONGEST_WITH_MANY]


def words_of(about: Sequence[str]) -> list[str]:
    """The texts themselves and the words in them."""
    return [word for text in about for word in (text, *re.split(r"[\W_]+", text)) if len(word) > 2]


def advice(warning: str, suggestions: Sequence[str]) -> str:
    """Fixed texts of the library: nothing of the password is in them."""
    sentences = [warning, *suggestions]
    text = " ".join(sentence.rstrip(".") + "." for sentence in sentences if sentence)
    return text or "Use a few words more, uncommon ones."
