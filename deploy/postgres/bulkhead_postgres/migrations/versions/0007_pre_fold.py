"""What names are compared by: the same as bulkhead_kit.texts, tables included."""

from collections.abc import Iterator

from bulkhead_kit.migrations import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql(FOLD)
    run_sql(
        """
    revoke all on function app.fold(text) from public;
    grant execute on function app.fold(text) to [ROLES];
    """.replace("[ROLES]", ROLES)
    )


def downgrade() -> None:
    run_sql("""
    drop function app.fold(text);
    """)


# Whoever writes a row has its keys made, and whoever owns a table makes them for all rows.
ROLES = """
    bulkhead_identity_owner, bulkhead_issues_owner, bulkhead_identity_definer, bulkhead_issues_definer,
    bulkhead_identity_app, bulkhead_issues_app, bulkhead_platform_app, bulkhead_identity_worker,
    bulkhead_issues_worker, bulkhead_ops, bulkhead_eraser"""

# Classes of regular expressions, a line each.
UNSEEN = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164",
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a",
    r"\U000e0000-\U000e0fff",
)
BLANK = (r"\u0009-\u000d\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u2800\u3000",)
# Unicode's full case folding of what is left after NFKD, a run of letters each: the first one in hexadecimal digits,
# how many, how far apart, and what is added.
FOLDS = """
    41,26,1,32 C6,1,1,32 D0,1,1,32 D8,1,1,32 DE,1,1,32 110,1,1,1 126,1,1,1 141,1,1,1 14A,1,1,1 152,1,1,1 166,1,1,1
    181,1,1,210 182,2,2,1 186,1,1,206 187,1,1,1 189,2,1,205 18B,1,1,1 18E,1,1,79 18F,1,1,202 190,1,1,203 191,1,1,1
    193,1,1,205 194,1,1,207 196,1,1,211 197,1,1,209 198,1,1,1 19C,1,1,211 19D,1,1,213 19F,1,1,214 1A2,2,2,1
    1A6,1,1,218 1A7,1,1,1 1A9,1,1,218 1AC,1,1,1 1AE,1,1,218 1B1,2,1,217 1B3,2,2,1 1B7,1,1,219 1B8,1,1,1 1BC,1,1,1
    1E4,1,1,1 1F6,1,1,-97 1F7,1,1,-56 21C,1,1,1 220,1,1,-130 222,2,2,1 23A,1,1,10795 23B,1,1,1 23D,1,1,-163
    23E,1,1,10792 241,1,1,1 243,1,1,-195 244,1,1,69 245,1,1,71 246,5,2,1 345,1,1,116 370,2,2,1 376,1,1,1 37F,1,1,116
    391,17,1,32 3A3,7,1,32 3C2,1,1,1 3CF,1,1,8 3D8,12,2,1 3F7,1,1,1 3FA,1,1,1 3FD,3,1,-130 402,2,2,80 405,2,1,80
    408,4,1,80 40F,1,1,80 410,9,1,32 41A,22,1,32 460,11,2,1 478,5,2,1 48A,27,2,1 4C0,1,1,15 4C3,6,2,1 4D4,1,1,1
    4D8,1,1,1 4E0,1,1,1 4E8,1,1,1 4F6,1,1,1 4FA,27,2,1 531,38,1,48 10A0,38,1,7264 10C7,1,1,7264 10CD,1,1,7264
    13F8,6,1,-8 1C80,1,1,-6222 1C81,1,1,-6221 1C82,1,1,-6212 1C83,2,1,-6210 1C85,1,1,-6211 1C86,1,1,-6204
    1C87,1,1,-6180 1C88,1,1,35267 1C90,43,1,-3008 1CBD,3,1,-3008 1EFA,3,2,1 2132,1,1,28 2183,1,1,1 2C00,48,1,48
    2C60,1,1,1 2C62,1,1,-10743 2C63,1,1,-3814 2C64,1,1,-10727 2C67,3,2,1 2C6D,1,1,-10780 2C6E,1,1,-10749
    2C6F,1,1,-10783 2C70,1,1,-10782 2C72,1,1,1 2C75,1,1,1 2C7E,2,1,-10815 2C80,50,2,1 2CEB,2,2,1 2CF2,1,1,1
    A640,23,2,1 A680,14,2,1 A722,7,2,1 A732,31,2,1 A779,2,2,1 A77D,1,1,-35332 A77E,5,2,1 A78B,1,1,1 A78D,1,1,-42280
    A790,2,2,1 A796,10,2,1 A7AA,1,1,-42308 A7AB,1,1,-42319 A7AC,1,1,-42315 A7AD,1,1,-42305 A7AE,1,1,-42308
    A7B0,1,1,-42258 A7B1,1,1,-42282 A7B2,1,1,-42261 A7B3,1,1,928 A7B4,8,2,1 A7C4,1,1,-48 A7C5,1,1,-42307
    A7C6,1,1,-35384 A7C7,2,2,1 A7D0,1,1,1 A7D6,2,2,1 A7F5,1,1,1 AB70,80,1,-38864 10400,40,1,40 104B0,36,1,40
    10570,11,1,39 1057C,15,1,39 1058C,7,1,39 10594,2,1,39 10C80,51,1,64 118A0,32,1,32 16E40,32,1,32 1E900,34,1,34
"""
LINE = 100
NEAR = 8


def _class(lines: tuple[str, ...]) -> str:
    return "'\n    '".join(lines)


def _runs() -> Iterator[tuple[range, int]]:
    """Of letters, without ASCII's, which lower() makes small."""
    for run in FOLDS.split():
        first, count, step, added = run.split(",")
        start = int(first, 16)
        if start > 0x7F:
            yield range(start, start + int(count) * int(step), int(step)), int(added)


def _is_common(letter: int) -> bool:
    """Of Latin-1 and Latin Extended-A, modern Greek and Cyrillic; what has an accent was taken apart."""
    return letter < 0x180 or 0x391 <= letter <= 0x3C2 or 0x400 <= letter < 0x430


def _rare() -> tuple[str, ...]:
    """A class of all other letters, with a few between them that fold to themselves."""
    spans: list[list[int]] = []
    for letters, _ in _runs():
        if _is_common(letters[0]):
            continue
        if spans and letters[0] - spans[-1][1] <= NEAR:
            spans[-1][1] = letters[-1]
        else:
            spans.append([letters[0], letters[-1]])
    texts = ["-".join(f"\\u{end:04x}" if end < 0x10000 else f"\\U{end:08x}" for end in span) for span in spans]
    return tuple("".join(texts[at : at + 5]) for at in range(0, len(texts), 5))


def _literal(codes: Iterator[int]) -> str:
    """In ASCII, on lines that can be read."""
    text, lines = "", []
    for code in codes:
        text += f"\\{code:04x}" if code < 0x10000 else f"\\+{code:06x}"
        if len(text) > LINE:
            lines.append(text)
            text = ""
    return "\n    ".join(("u&" if not number else "") + f"'{line}'" for number, line in enumerate([*lines, text]))


# No function of the server's locale is asked: the key of a name is the same on every server.
#
# translate() looks up each sign of the text in the whole list, one after the other: with all 1,000 letters that is half
# a millisecond a name. So the letters of the alphabets most names are written in have a short list of their own, and
# the long one is for texts in which there is another.
FOLD = """
create function app.fold(p_text text) returns text
language sql immutable parallel safe
as $$
    select case
        when octet_length(p_text) = length(p_text)
        then btrim(regexp_replace(lower(p_text collate "C"), '[\\u0009-\\u000d ]+', ' ', 'g'), ' ')
        when normalize(p_text, nfkd) collate "C" ~ '['
        'RARE]'
        then ALL
        else MOST
    end
$$;
comment on function app.fold(text) is
'What names are compared by: without case, width, form, what nobody sees, and kinds and numbers of blanks.';
"""
WITH = """normalize(btrim(regexp_replace(replace(replace(translate(
    lower(regexp_replace(
    normalize(p_text, nfkd) collate "C",
    '['
    'UNSEEN]+',
    '', 'g'
    )),
    LETTERS,
    FOLDED
    ), u&'\\00df', 'ss'), u&'\\1e9e', 'ss'),
    '['
    'BLANK]+',
    ' ', 'g'
    ), ' '), nfkc)"""


def _with(letters: dict[int, int]) -> str:
    filled = WITH.replace("UNSEEN", _class(UNSEEN)).replace("BLANK", _class(BLANK))
    return filled.replace("LETTERS", _literal(iter(letters))).replace("FOLDED", _literal(iter(letters.values())))


SMALL = {letter: letter + added for letters, added in _runs() for letter in letters}
COMMON = {letter: small for letter, small in SMALL.items() if _is_common(letter)}
FOLD = FOLD.replace("RARE", _class(_rare())).replace("ALL", _with(SMALL)).replace("MOST", _with(COMMON))
