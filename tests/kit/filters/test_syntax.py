from __future__ import annotations

import re

import pytest
from bulkhead_kit.errors import InvalidArgument
from bulkhead_kit.filters.syntax import Junction, Negation, Node, Restriction, parse
from hypothesis import given
from hypothesis import strategies as st


def drawn(node: Node | None) -> str:
    """The tree with every bracket written out."""
    if node is None:
        return ""
    if isinstance(node, Negation):
        return f"!{drawn(node.term)}"
    if isinstance(node, Junction):
        return "(" + (" & " if node.all else " | ").join(drawn(term) for term in node.terms) + ")"
    value = ("*" if node.value.star_before else "") + node.value.text + ("*" if node.value.star_after else "")
    return f"{node.field}{node.operator}{value!r}" if node.value.quoted else f"{node.field}{node.operator}{value}"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", ""),
        (" \n\t ", ""),
        ("a=1", "a=1"),
        ("  a  =  1  ", "a=1"),
        ("a.b.c_2 >= x", "a.b.c_2>=x"),
        ("a=1 AND b=2", "(a=1 & b=2)"),
        ("a=1 b=2", "(a=1 & b=2)"),
        ("a=1 OR b=2", "(a=1 | b=2)"),
        # OR binds tighter than AND, with and without the word.
        ("a=1 AND b=2 OR c=3", "(a=1 & (b=2 | c=3))"),
        ("a=1 OR b=2 AND c=3", "((a=1 | b=2) & c=3)"),
        ("a=1 b=2 OR c=3 d=4", "(a=1 & (b=2 | c=3) & d=4)"),
        ("(a=1 AND b=2) OR c=3", "((a=1 & b=2) | c=3)"),
        ("a=1 AND b=2 c=3 AND d=4", "(a=1 & b=2 & c=3 & d=4)"),
        ("NOT a=1", "!a=1"),
        ("-a=1", "!a=1"),
        ("- a=1", "!a=1"),
        ("NOT a=1 OR b=2", "(!a=1 | b=2)"),
        ("NOT (a=1 OR b=2)", "!(a=1 | b=2)"),
        ("-(a=1 b=2)", "!(a=1 & b=2)"),
        ("(NOT (a=1))", "!a=1"),
        ("((((a=1))))", "a=1"),
        ("a!=1 b<2 c<=3 d>4 e>=5 f:6", "(a!=1 & b<2 & c<=3 & d>4 & e>=5 & f:6)"),
        # A value reaches up to the next blank, bracket, quote or operator.
        ("t>2026-01-31T10:00:00.5+02:00", "t>2026-01-31T10:00:00.5+02:00"),
        ("a=-5", "a=-5"),
        ("a=b-c", "a=b-c"),
        ("a=me@example.com", "a=me@example.com"),
        ("a=日本語", "a=日本語"),
        ("a=1\r\n\tb=2", "(a=1 & b=2)"),
        ("(a=1)b=2", "(a=1 & b=2)"),
        ("a:*", "a:*"),
        ("a:x*", "a:x*"),
        ('a="x y"', "a='x y'"),
        ("a='x \"y\"'", "a='x \"y\"'"),
        (r'a="\"\\\n\t\'"', r"""a='"\\\n\t\''"""),
        (r'a:"x*"', "a:'x*'"),
        (r'a="x\*"', "a='x*'"),
        ('a=""', "a=''"),
        ('a="AND"', "a='AND'"),
        ("a=AND2", "a=AND2"),
        ("ANDY=1", "ANDY=1"),
        ("a=1 NOTE=2", "(a=1 & NOTE=2)"),
        # One field against several values.
        ("a=(1 OR 2)", "(a=1 | a=2)"),
        ("a:(1 AND 2)", "(a:1 & a:2)"),
        ("a:(1 2)", "(a:1 & a:2)"),
        ("a=(1)", "a=1"),
        ("NOT a=(1 OR 2) b=3", "(!(a=1 | a=2) & b=3)"),
        ("a=( 'x y'OR\"z\" )", "(a='x y' | a='z')"),
    ],
)
def test_filters_are_read_by_the_rules_of_aip_160(text: str, tree: str) -> None:
    assert drawn(parse(text)) == tree


def test_an_escaped_star_is_not_the_star_of_a_prefix() -> None:
    found = {}
    for text in (r'"x\*"', '"x*"', r'"\*x"', '"*x"', "x*", "*x", "*", '"*"', r'"\*"'):
        node = parse(f"a={text}")
        assert isinstance(node, Restriction)
        found[text] = (node.value.star_before, node.value.star_after)
    assert found == {
        r'"x\*"': (False, False),
        '"x*"': (False, True),
        r'"\*x"': (False, False),
        '"*x"': (True, False),
        "x*": (False, True),
        "*x": (True, False),
        "*": (False, True),
        '"*"': (False, True),
        r'"\*"': (False, False),
    }


@pytest.mark.parametrize(
    ("text", "position", "says"),
    [
        ("a", 1, "one of = != < <= > >= : is expected behind 'a'"),
        ("a b", 2, "expected behind 'a'"),
        ("a=", 2, "a value is expected"),
        ("a= AND b=1", 3, "AND as a value needs quotes"),
        ("a==1", 2, "a value is expected"),
        ("a=1 AND", 7, "a field is expected, not the end"),
        ("AND a=1", 0, "a field is expected, not 'AND'"),
        ("a=1 OR OR b=1", 7, "a field is expected, not 'OR'"),
        ("a=1 and b=1", 8, "capitals"),
        ("NOT", 3, "a field is expected, not the end"),
        ("NOT NOT a=1", 4, "a field is expected, not 'NOT'"),
        ("--a=1", 1, "a field is expected, not '-'"),
        ("(a=1", 0, "a parenthesis is not closed"),
        ("a=1)", 3, "')' has nothing to close"),
        ("()", 1, "a field is expected, not ')'"),
        (")", 0, "a field is expected, not ')'"),
        ("a=(1 OR 2", 2, "a parenthesis is not closed"),
        ("a=(1 OR 2 AND 3)", 2, "mixed"),
        ("a=(1 OR)", 7, "a value is expected"),
        ("a=()", 3, "a value is expected"),
        ("a=((1))", 3, "a value is expected"),
        ('a="x', 2, "a string is not closed"),
        ("a='x\"", 2, "a string is not closed"),
        ('a="x\\', 4, "unknown escape"),
        (r'a="\x41"', 3, r"unknown escape '\\x'"),
        ('"a"=1', 0, "a field is expected"),
        ("1=1", 0, "a field is expected, not '1'"),
        ("é=1", 0, "a field is expected"),
        ("a.=1", 1, "a field is expected, not '.'"),
        ("f(x)=1", 1, "expected behind 'f'"),
        ("a=1;b=2", 5, "a field is expected, not '='"),
        ("a=1,2", 3, "a field is expected, not ','"),
        ("a=x'y", 3, "a field is expected"),
        ("a=1\x00", 3, "a control character"),
        ('a="\x1b[2J"', 3, "a control character"),
        ("a=1\vb=1", 3, "a control character"),
        (" " * 2001, 2000, "longer than 2000 characters"),
        ("(" * 21 + "a=1" + ")" * 21, 20, "nested more than 20 deep"),
        ("-(" * 21 + "a=1" + ")" * 21, 41, "nested more than 20 deep"),
        (" ".join(["a=1"] * 51), 200, "more than 50 terms"),
        ("a=(" + " OR ".join(["1"] * 51) + ")", 0, "more than 50 terms"),
    ],
)
def test_a_filter_that_cannot_be_read_says_where(text: str, position: int, says: str) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(says)) as caught:
        parse(text)
    assert caught.value.reason_name == "INVALID_FILTER"
    assert caught.value.metadata == {"position": str(position)}
    assert caught.value.violations[0].field == "filter"
    assert len(caught.value.message) < 200


def test_limits_are_reached_and_not_passed() -> None:
    assert parse("(" * 20 + "a=1" + ")" * 20)
    assert parse(" ".join(["a=1"] * 50))
    assert parse("a=" + "1" * 1998)


@given(st.text(alphabet="ab=1 ()-\"'\\*:<>!ANDORT.,\n", max_size=60) | st.text(max_size=60))
def test_whatever_is_written_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        drawn(parse(text))
    except InvalidArgument as error:
        refused = error
    else:
        return
    assert refused.reason_name == "INVALID_FILTER"
    assert 0 <= int(refused.metadata["position"]) <= len(text)
