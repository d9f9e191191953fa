"""Rotating keys: each step, an interruption after each, and what signers and verifiers make of the files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from bulkhead.rpc.v1.error_reason_pb2 import ErrorReason
from bulkhead_kit import clock, keyrotation
from bulkhead_kit.clock import ManualClock
from bulkhead_kit.errors import Unauthenticated
from bulkhead_kit.keyfiles import ACCESS, generate_keys, load_public_keys, load_signer
from bulkhead_kit.keywatch import LOOK_FOR_UNKNOWN_SECONDS, LOOK_SECONDS, KeyFileError
from bulkhead_kit.services_auth import ServiceTokens, service_verifier
from bulkhead_kit.tokens import SKEW


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    generate_keys(tmp_path)
    return tmp_path


@pytest.fixture
def hands() -> Iterator[ManualClock]:
    """Of a clock that the test moves; files are stamped by the system's, so it begins there."""
    manual = ManualClock(clock.now())
    with clock.replaced(manual):
        yield manual


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".rotation.lock"}


def rotate(keys: Path, name: str) -> str:
    keyrotation.publish(keys, name)
    return keyrotation.sign_with_next(keys, name)


def test_tokens_of_both_keys_are_valid_from_the_first_step_to_the_last(keys: Path, hands: ManualClock) -> None:
    tokens = ServiceTokens("issues", load_signer(keys, "issues"))
    verifier = service_verifier(load_public_keys(keys, ["issues"]), audience="audit")
    before = keyrotation.state_of(keys, "issues")
    first = tokens.token("audit")
    assert verifier.verify(first).service == "issues"

    upcoming = keyrotation.publish(keys, "issues")
    hands.advance(LOOK_SECONDS)
    assert tokens.token("audit") == first
    assert verifier.verify(first).service == "issues"

    assert keyrotation.sign_with_next(keys, "issues") == upcoming != before.signs
    # Not when its token ends: the old key may be forgotten before.
    hands.advance(LOOK_SECONDS)
    second = tokens.token("audit")
    assert second != first
    assert load_signer(keys, "issues").kid == upcoming
    for token in (first, second):
        assert verifier.verify(token).service == "issues"

    assert keyrotation.prune(keys, "issues", at_once=True) == (before.signs,)
    hands.advance(LOOK_SECONDS)
    assert verifier.verify(second).service == "issues"
    with pytest.raises(Unauthenticated) as error:
        verifier.verify(first)
    assert error.value.reason == ErrorReason.TOKEN_INVALID


def test_a_token_of_a_key_that_has_just_been_published_waits_for_no_look(keys: Path, hands: ManualClock) -> None:
    verifier = service_verifier(load_public_keys(keys, ["issues"]), audience="audit")
    rotate(keys, "issues")
    hands.advance(LOOK_FOR_UNKNOWN_SECONDS)
    assert verifier.verify(ServiceTokens("issues", load_signer(keys, "issues")).token("audit")).service == "issues"


def test_invented_names_do_not_keep_us_reading(keys: Path, hands: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    known = load_public_keys(keys, [ACCESS])
    stats: list[Path] = []
    original = Path.stat

    def counted(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        stats.append(path)
        return original(path, follow_symlinks=follow_symlinks)

    hands.advance(10.0)
    monkeypatch.setattr(Path, "stat", counted)
    assert not any(known.get(f"access:{number}") for number in range(1000))
    assert len(stats) == 2


@pytest.mark.parametrize("step", ["made", "published", "signs"])
def test_an_interrupted_rotation_goes_on_where_it_was(keys: Path, step: str) -> None:
    before = keyrotation.state_of(keys, ACCESS)
    public = (keys / "access.public.pem").read_bytes()
    upcoming = keyrotation.publish(keys, ACCESS)
    if step == "made":
        # As if it had ended between the two files.
        (keys / "access.public.pem").write_bytes(public)
        with pytest.raises(KeyFileError, match="not published yet"):
            keyrotation.sign_with_next(keys, ACCESS)
    if step == "signs":
        keyrotation.sign_with_next(keys, ACCESS)
        assert keyrotation.sign_with_next(keys, ACCESS) == upcoming
    else:
        assert keyrotation.state_of(keys, ACCESS).upcoming == upcoming
        assert keyrotation.publish(keys, ACCESS) == upcoming
        assert keyrotation.sign_with_next(keys, ACCESS) == upcoming
    after = keyrotation.state_of(keys, ACCESS)
    assert (after.signs, after.upcoming, after.retired) == (upcoming, None, (before.signs,))
    assert set(load_public_keys(keys, [ACCESS])) == {before.signs, upcoming}


def test_no_old_key_is_forgotten_while_its_tokens_live(keys: Path) -> None:
    old = keyrotation.state_of(keys, ACCESS).signs
    rotate(keys, ACCESS)
    assert keyrotation.prune(keys, ACCESS) == ()
    private = keys / "access.private.pem"
    # The longest token, and the clocks of two machines.
    for age, forgotten in ((300 + 2 * SKEW, ()), (keyrotation.KEEP_SECONDS + 1, (old,))):
        os.utime(private, (clock.unix() - age, clock.unix() - age))
        assert keyrotation.prune(keys, ACCESS) == forgotten
    assert keyrotation.prune(keys, ACCESS) == ()
    assert keyrotation.KEEP_SECONDS > 300 + SKEW + LOOK_SECONDS
    assert keyrotation.OVERLAP_SECONDS > 2 * LOOK_SECONDS


def test_a_key_that_waited_long_before_it_signed_is_young_when_it_does(keys: Path) -> None:
    keyrotation.publish(keys, ACCESS)
    long_ago = clock.unix() - 7 * 86400
    os.utime(keys / "access.next.private.pem", (long_ago, long_ago))
    keyrotation.sign_with_next(keys, ACCESS)
    assert keyrotation.state_of(keys, ACCESS).signing_seconds < 60
    assert keyrotation.prune(keys, ACCESS) == ()


def test_a_rotation_of_one_name_touches_no_other(keys: Path) -> None:
    before = contents(keys)
    rotate(keys, "audit")
    changed = {name for name, content in contents(keys).items() if before.get(name) != content}
    assert changed == {"audit.private.pem", "audit.public.pem"}
    assert set(contents(keys)) == set(before)


def test_private_keys_stay_private(keys: Path) -> None:
    (keys / "access.private.pem").chmod(0o640)
    keyrotation.publish(keys, ACCESS)
    # Whoever could read the old one, such as a group of services, can read the new one.
    assert stat.S_IMODE((keys / "access.next.private.pem").stat().st_mode) == 0o640
    keyrotation.sign_with_next(keys, ACCESS)
    assert stat.S_IMODE((keys / "access.private.pem").stat().st_mode) == 0o640
    assert stat.S_IMODE((keys / "access.public.pem").stat().st_mode) == 0o644


def test_a_missing_public_key_is_published_again_and_never_pruned_around(keys: Path) -> None:
    signs = keyrotation.state_of(keys, ACCESS).signs
    other = keys / "other"
    generate_keys(other)
    (keys / "access.public.pem").write_bytes((other / "access.public.pem").read_bytes())
    with pytest.raises(KeyFileError, match="lacks the key that signs"):
        keyrotation.prune(keys, ACCESS, at_once=True)
    keyrotation.publish(keys, ACCESS)
    assert signs in load_public_keys(keys, [ACCESS])


def test_files_that_cannot_be_read_leave_the_keys_of_before(keys: Path, hands: ManualClock) -> None:
    signer, known = load_signer(keys, ACCESS), load_public_keys(keys, [ACCESS])
    kid = signer.kid
    (keys / "access.public.pem").write_text("half a fi")
    (keys / "access.private.pem").write_text("half a fi")
    hands.advance(LOOK_SECONDS)
    known.refresh()
    signer.sign({}, "x")
    assert (list(known), signer.kid) == ([kid], kid)
    for path in (keys / "access.public.pem", keys / "access.private.pem"):
        path.unlink()
    generate_keys(keys)
    hands.advance(LOOK_SECONDS)
    known.refresh()
    signer.sign({}, "x")
    assert list(known) == [signer.kid] != [kid]
