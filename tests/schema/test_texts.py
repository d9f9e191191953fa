"""The database compares names as the services do: app.fold against texts.fold, for every code point of Unicode 14.0.

What was assigned later has parts that depend on the PostgreSQL and the Python that are asked: there the database, which
has the last word, may find two names alike that a service does not.
"""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pytest
from bulkhead_kit import texts

from tests.support.postgres import ScratchDatabase
from tests.support.unicode14 import ASSIGNED, UNASSIGNED


def folded(database: ScratchDatabase, given: Sequence[str], expression: str = "app.fold(t)") -> list[str]:
    query = f"select {expression} from unnest(%s::text[]) with ordinality as u (t, n) order by n"
    with psycopg.connect(database.admin_dsn) as connection:
        return [found for (found,) in connection.execute(query.encode(), (list(given),)).fetchall()]


@pytest.mark.parametrize("around", ["{}", "A {}b", "\u00c4{}\u0301 {}"])
def test_the_database_folds_as_the_services_do(database: ScratchDatabase, around: str) -> None:
    given = [around.replace("{}", one) for one in ASSIGNED]
    assert len(given) > 280_000
    other = [
        (text, found, texts.fold(text))
        for text, found in zip(given, folded(database, given), strict=True)
        if found != texts.fold(text)
    ]
    assert not other[:20]


def test_what_came_later_is_taken_apart_and_no_more(database: ScratchDatabase) -> None:
    """Of letters that were added since, a server of their time knows what they are made of; none has a small one."""
    # Of the planes above, one is for such signs, some have ideographs, and the others nothing at all.
    later = sorted(one for one in UNASSIGNED if one < "\U00020000" or "\U000e0000" <= one < "\U000e1010")
    apart = folded(database, later, "normalize(t, nfkd)")
    right = folded(database, [texts.fold(parts) for parts in apart], "normalize(t, nfkc)")
    for one, found, expected in zip(later, folded(database, later), right, strict=True):
        assert found == expected, f"U+{ord(one):04X}"
    # What is reserved for signs that nobody sees is none, assigned or not.
    assert len([one for one in later if not texts.fold(one)]) > 3_000


def test_a_key_is_its_own_key(database: ScratchDatabase) -> None:
    keys = folded(database, [f"A\u0301 {one}\u00df" for one in ASSIGNED])
    assert folded(database, keys) == keys


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Stra\u00dfe", "STRASSE"),
        ("\u039f\u0394\u039f\u03a3", "\u03bf\u03b4\u03bf\u03c2"),
        ("\ufb01x", "FIX"),
        ("bug", "bu\u200bg"),
        ("1\u200d2", "12"),
        ("\u0431\u200d\u0430\u0433", "\u0411\u0410\u0413"),
        ("cafe\u0301", "CAF\u00c9"),
        ("a\u2003 b", "a b"),
    ],
)
def test_what_looks_alike_has_one_key(database: ScratchDatabase, one: str, other: str) -> None:
    assert len(set(folded(database, [one, other]))) == 1
