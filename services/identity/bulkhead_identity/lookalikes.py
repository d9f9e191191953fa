"""Who looks like support. A name that reads "Bulkhead support", in whatever letters, is nobody's.

The database refuses it as well (identity.reads_like_support), by the letters a to z alone: the second reading here.

Letters that look like those of the two words are Unicode's confusables (UTS #39), taken from confusable_homoglyphs
3.3.1 and written down: the rest of that table, which is made for identifiers, would refuse honest names.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from bulkhead_kit.texts import fold

_WORDS: Final = "bulkheadsupport"
_LIKE: Final = {
    "a": "\u0251\u0391\u03b1\u0410\u0430\u13aa\u15c5\u237a\ua4ee\U000102a0\U00016f40",
    "b": "\u0184\u0392\u0412\u042c\u13cf\u13f4\u1472\u15af\u15f7\ua4d0\ua7b4\U00010282\U000102a1\U00010301",
    "d": "\u0501\u13a0\u13e7\u146f\u15de\u15ea\ua4d2\ua4d3",
    "e": "\u0395\u0415\u0435\u04bd\u13ac\u212e\u22ff\u2d39\ua4f0\uab32\U00010286\U000118a6\U000118ae",
    "h": "\u0397\u041d\u04bb\u0570\u13bb\u13c2\u157c\u2c8e\ua4e7\U000102cf",
    "k": "\u039a\u041a\u13e6\u16d5\u2c94\ua4d7\U00010518",
    "l": "\u0196\u01c0\u0399\u0406\u04c0\u06f1\u13de\u14aa\u16c1\u2223\u23fd\u2c92\u2cd0\u2d4f\ua4e1\ua4f2"
    "\U0001028a\U00010309\U00010320\U0001041b\U00010526\U000118a3\U000118b2\U00016f16\U00016f28"
    "\U0001d22a",
    "o": "\u039f\u03bf\u03c3\u041e\u043e\u0555\u0585\u06f5\u0966\u09e6\u0a66\u0ae6\u0b20\u0b66\u0be6\u0c02"
    "\u0c66\u0c82\u0ce6\u0d02\u0d20\u0d66\u0d82\u0e50\u0ed0\u101d\u1040\u10ff\u12d0\u1d0f\u1d11\u2c9e"
    "\u2c9f\u2d54\u3007\ua4f3\uab3d\U00010292\U000102ab\U00010404\U0001042c\U000104c2\U000104ea"
    "\U00010516\U000114d0\U000118b5\U000118c8\U000118d7\U000118e0",
    "p": "\u03a1\u03c1\u0420\u0440\u13e2\u146d\u2374\u2ca2\u2ca3\ua4d1\U00010295",
    "r": "\u01a6\u0433\u13a1\u13d2\u1587\u1d26\u2c85\ua4e3\uab47\uab48\uab81\U000104b4\U00016f35\U0001d216",
    "s": "\u01bd\u0405\u0455\u054f\u13d5\u13da\ua4e2\ua731\uabaa\U00010296\U00010420\U00010448\U000118c1\U00016f3a",
    "t": "\u03a4\u0422\u13a2\u22a4\u27d9\u2ca6\ua4d4\U00010297\U000102b1\U00010315\U000118bc\U00016f0a\U0001f768",
    "u": "\u028b\u03c5\u054d\u057d\u1200\u144c\u1d1c\u222a\u22c3\ua4f4\ua79f\uab4e\uab52\U000104ce"
    "\U000104f6\U000118b8\U000118d8\U00016f42",
}
# Between letters of one alphabet: as they are read in many typefaces.
_PLAIN: Final = str.maketrans("1|!i05$3@", "llllossea")
_latin: Final = {ord(like): letter for letter, all_like in _LIKE.items() for like in all_like}


def reads_like_support(name: str) -> bool:
    """Whatever stands between the letters, above or below them."""
    bare = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.category(one).startswith("M"))
    read = fold(bare.translate(_latin)).translate(_PLAIN)
    return _WORDS in _letters(read) or _WORDS in _letters(unicodedata.normalize("NFKD", fold(name)))


def _letters(text: str) -> str:
    return "".join(one for one in text if one.isascii() and one.isalpha())
