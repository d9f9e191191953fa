from __future__ import annotations

from uuid import UUID

import pytest
from bulkhead_identity.derived import DerivedTokens, hash_of
from bulkhead_kit.ids import new_id

SECRET = b"a secret of thirty-two bytes or so"


def test_a_token_is_the_same_each_time_and_no_other() -> None:
    derived, again, other = DerivedTokens(SECRET), DerivedTokens(SECRET), DerivedTokens(SECRET[::-1])
    some_id = new_id()
    tokens = {
        derived.one_time(some_id),
        derived.invitation(some_id),
        derived.next_refresh(str(some_id)),
        derived.one_time(new_id()),
        other.one_time(some_id),
        other.invitation(some_id),
        other.next_refresh(str(some_id)),
    }
    assert len(tokens) == 7
    assert all(len(token) == 43 for token in tokens)
    assert again.one_time(some_id) == derived.one_time(some_id)
    assert again.next_refresh("x") == derived.next_refresh("x")


def test_known_values() -> None:
    """Mails that are out must work after an update of the software."""
    derived = DerivedTokens(b"\x00" * 32)
    some_id = UUID("0190163d-8694-739b-aea5-966c26f8ad91")
    assert derived.one_time(some_id) == "TS74hr86mXUCQL_65nIDnW2PFkEl1wTP1v_NKnI0cY0"
    assert derived.invitation(some_id) == "J24w8KK-e350dwtaTpgCbWW-1mTy_PABdUJXwf8VkJ8"
    assert derived.next_refresh("abc") == "7My9vUKCbeyFXhBsmY01etazb-3W-C-wS_KXzDK_e4s"
    assert hash_of("abc").hex() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_digest_depends_on_method_request_and_key() -> None:
    derived = DerivedTokens(SECRET)
    digests = {
        derived.request_digest("A/B", b"x"),
        derived.request_digest("A/C", b"x"),
        derived.request_digest("A/B", b"y"),
        DerivedTokens(SECRET[::-1]).request_digest("A/B", b"x"),
    }
    assert len(digests) == 4
    assert all(len(digest) == 32 for digest in digests)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        DerivedTokens(b"short")
