"""New keys for old ones while everything runs: publish the new key, sign with it, forget the old one.

    <name>.next.private.pem   the new key, from when it is made until it signs
    <name>.public.pem         old and new, from before the new one signs until the old one's last token has expired
    <name>.private.pem        what signs; replaced by one rename

Every step is whole or has not happened, and a rotation that was interrupted goes on where it was: what is there says
how far it came.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from bulkhead_kit import clock
from bulkhead_kit.keyfiles import (
    ACCESS,
    SERVICES,
    new_private_key,
    private_file,
    public_file,
    public_pem,
    read_public_keys,
    read_signer,
)
from bulkhead_kit.keywatch import KeyFileError
from bulkhead_kit.tokens import SKEW

NAMES: Final = (ACCESS, *SERVICES)
OVERLAP_SECONDS: Final = 10.0
"""From publishing a key to signing with it: several looks of every verifier."""
_LONGEST_TOKEN: Final = 300
_LATE_LOOK: Final = 60
KEEP_SECONDS: Final = _LONGEST_TOKEN + 2 * SKEW + _LATE_LOOK
"""From the last token of a key to forgetting it."""
_LOCK: Final = ".rotation.lock"


@dataclass(frozen=True)
class KeyState:
    name: str
    signs: str
    upcoming: str | None
    """Made, and not signing yet."""
    retired: tuple[str, ...]
    """Verify, and never sign again."""
    published: frozenset[str]
    signing_seconds: float
    """Since when the key that signs does so."""

    @property
    def seconds_until_prune(self) -> float:
        return max(0.0, KEEP_SECONDS - self.signing_seconds)


def state_of(directory: Path, name: str) -> KeyState:
    private, upcoming = private_file(directory, name), _next_file(directory, name)
    signs = read_signer(private, name).kid
    coming = read_signer(upcoming, name).kid if upcoming.exists() else None
    published = read_public_keys(public_file(directory, name), name)
    return KeyState(
        name=name,
        signs=signs,
        upcoming=coming,
        retired=tuple(kid for kid in published if kid not in {signs, coming}),
        published=frozenset(published),
        signing_seconds=clock.unix() - private.stat().st_mtime,
    )


def held(directory: Path) -> list[str]:
    """The names whose private key is in this folder: only they can be rotated here."""
    return [name for name in NAMES if private_file(directory, name).exists()]


def publish(directory: Path, name: str) -> str:
    """Makes the next key, if there is none yet, and has it verified everywhere. Its name."""
    with _locked(directory):
        private, upcoming = private_file(directory, name), _next_file(directory, name)
        # Not even a file that cannot be used is replaced: it may only be out of reach.
        signing = read_signer(private, name)
        if not upcoming.exists():
            _replace(upcoming, new_private_key(), like=private)
        signer = read_signer(upcoming, name)
        path = public_file(directory, name)
        known = read_public_keys(path, name)
        wanted = {**known, **{one.kid: one.public_key() for one in (signing, signer)}}
        if wanted != known:
            _replace(path, _pems(wanted), like=path)
        return signer.kid


def sign_with_next(directory: Path, name: str) -> str:
    """The next key signs from now on; the private part of the old one is gone. The name of the key that signs."""
    with _locked(directory):
        private, upcoming = private_file(directory, name), _next_file(directory, name)
        if not upcoming.exists():
            return read_signer(private, name).kid
        kid = read_signer(upcoming, name).kid
        if kid not in read_public_keys(public_file(directory, name), name):
            raise KeyFileError(f"{upcoming.name} is not published yet: run 'bulkhead keys rotate {name}'")
        # Its age as a file says since when it signs: see prune.
        os.utime(upcoming, (clock.unix(), clock.unix()))
        upcoming.replace(private)
        _sync(directory)
        return kid


def prune(directory: Path, name: str, *, at_once: bool = False) -> tuple[str, ...]:
    """Forgets the keys that no living token is signed with; `at_once` those of living tokens too. Their names."""
    with _locked(directory):
        state = state_of(directory, name)
        if not state.retired or (state.seconds_until_prune > 0 and not at_once):
            return ()
        path = public_file(directory, name)
        known = read_public_keys(path, name)
        kept = {kid: key for kid, key in known.items() if kid not in state.retired}
        if state.signs not in kept:
            raise KeyFileError(f"{path} lacks the key that signs, {state.signs}: nothing is removed from it")
        _replace(path, _pems(kept), like=path)
        return state.retired


def _next_file(directory: Path, name: str) -> Path:
    return private_file(directory, f"{name}.next")


def _pems(keys: Mapping[str, ec.EllipticCurvePublicKey]) -> bytes:
    return b"".join(public_pem(key) for key in keys.values())


def _replace(path: Path, content: bytes, *, like: Path) -> None:
    """On disk before it is seen, and for the eyes of those who could read the one before."""
    model = like.stat()
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            if (model.st_uid, model.st_gid) != (os.geteuid(), os.getegid()):
                os.fchown(descriptor, model.st_uid, model.st_gid)
            os.fchmod(descriptor, model.st_mode & 0o777)
            os.fsync(descriptor)
        draft.replace(path)
        _sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Two commands at once follow each other; the system lets go of it whatever becomes of us."""
    try:
        descriptor = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise KeyFileError(f"{directory} cannot be written to ({error.strerror}): run this as its owner") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
