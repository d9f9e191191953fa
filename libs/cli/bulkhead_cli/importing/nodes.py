"""GitHub's node ids. One thing has two: of the form in use until 2021 and of the one since then.

An archive keeps ids as they were when an item was last read, so a later one may name the same item otherwise. Both
forms hold the kind and the number of GitHub's database, which stays through renames and transfers of a repository.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from typing import Final

_KINDS: Final = {"I": "Issue", "PR": "PullRequest"}
_earlier = re.compile(r"0\d+:(Issue|PullRequest)\d+").fullmatch


def canonical(node_id: str) -> str:
    """The earlier form of an id of either form; any other text as it is."""
    kind, _, packed = node_id.partition("_")
    number = _number(packed) if kind in _KINDS else None
    if number is None:
        return node_id
    name = f"{_KINDS[kind]}"
    return base64.b64encode(f"0{len(name)}:{name}{number}".encode()).decode()


def is_node_id(node_id: str) -> bool:
    """Whether it is one of GitHub's, of either form, so that no two things on GitHub have it."""
    try:
        text = base64.b64decode(canonical(node_id), validate=True).decode("ascii")
    except ValueError:
        return False
    return _earlier(text) is not None


def _number(packed: str) -> int | None:
    """From MessagePack in base64: a list of 0, the repository's number and the item's own."""
    try:
        data = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4))
    except (ValueError, binascii.Error):
        return None
    if data[:2] != b"\x93\x00":
        return None
    numbers: list[int] = []
    rest = data[2:]
    while rest and len(numbers) < 2:
        number, length = _unsigned(rest)
        if number is None or length > len(rest):
            return None
        numbers.append(number)
        rest = rest[length:]
    return numbers[1] if len(numbers) == 2 and not rest else None


def _unsigned(data: bytes) -> tuple[int | None, int]:
    """The first number, and how many bytes it takes."""
    first = data[0]
    if first < 0x80:
        return first, 1
    form = {0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q"}.get(first)
    if form is None or len(data) < 1 + struct.calcsize(form):
        return None, 1
    return struct.unpack_from(form, data, 1)[0], 1 + struct.calcsize(form)
