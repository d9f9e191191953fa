"""Key files: what a service loads from its keys folder, and how a new installation makes them.

`access.*.pem` signs people's tokens (identity only), `<service>.*.pem` a service's, `page_tokens.key` page tokens;
from `identity.secret.key` identity derives the tokens in mails and the next refresh tokens.
A service needs its own private key and everybody's public ones. A rotation (keyrotation.py) needs no restart.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bulkhead_kit.keysets import KeySet, load_public_key, parse_jwks, thumbprint
from bulkhead_kit.keywatch import KeyFileError, PublicKeys, WatchedKeySet, WatchedSigner
from bulkhead_kit.tokens import Signer

ACCESS: Final = "access"
SERVICES: Final = ("identity", "issues", "audit")
JWKS: Final = "jwks.json"
PAGE_TOKEN_KEY: Final = "page_tokens.key"  # noqa: S105 - the name of a file
IDENTITY_SECRET: Final = "identity.secret.key"  # noqa: S105 - the name of a file
LEAST_SECRET: Final = 32
"""Bytes."""

_pem_block = re.compile(rb"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)


def load_signer(directory: Path, name: str) -> Signer:
    """Signs with another key when the file has another: see `bulkhead keys rotate`."""
    path = private_file(directory, name)
    return WatchedSigner(path, lambda: read_signer(path, name))


def read_signer(path: Path, name: str) -> Signer:
    try:
        signer = Signer(_secret(path), name)
    except ValueError as error:
        raise KeyFileError(f"{path} is not a P-256 private key in PEM form: {error}") from None
    signer.kid = f"{name}:{thumbprint(signer.public_key())}"
    return signer


def load_public_keys(directory: Path, names: Iterable[str]) -> KeySet:
    """The keys of these names and of no others: a service's key must not verify people's tokens.

    They come from `<name>.public.pem` and, where keys are handed out as one file, from `jwks.json`; changed files are
    taken up within seconds.
    """
    wanted = list(names)
    paths = [directory / JWKS, *(public_file(directory, name) for name in wanted)]
    return WatchedKeySet(paths, lambda: _read_public_keys(directory, wanted))


def _read_public_keys(directory: Path, names: Iterable[str]) -> PublicKeys:
    jwks = _jwks(directory / JWKS)
    keys: dict[str, ec.EllipticCurvePublicKey] = {}
    for name in names:
        path = public_file(directory, name)
        found = {kid: key for kid, key in jwks.items() if kid.startswith(f"{name}:")}
        if path.exists() or not found:
            found |= read_public_keys(path, name)
        keys |= found
    return keys


def private_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.private.pem"


def public_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.public.pem"


def load_page_token_key(directory: Path) -> bytes:
    """The same on every replica of a service, or a next page would fail on the other one."""
    return _long_secret(directory / PAGE_TOKEN_KEY)


def load_identity_secret(directory: Path) -> bytes:
    """The same for every server and worker of identity: what one derives the other recognises."""
    return _long_secret(directory / IDENTITY_SECRET)


def generate_keys(directory: Path, services: Iterable[str] = SERVICES) -> list[Path]:
    """Makes what is missing and returns it; what is there is left alone. Safe when run twice at once."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = []
    for name in (ACCESS, *services):
        private, public = private_file(directory, name), public_file(directory, name)
        if public.exists() and not private.exists():
            raise KeyFileError(f"{public} is there without {private.name}: restore it, or remove the public key")
        if _write_new(private, new_private_key(), 0o600):
            made.append(private)
        pem = public_pem(load_signer(directory, name).public_key())
        if _write_new(public, pem, 0o644):
            made.append(public)
    for name in (PAGE_TOKEN_KEY, IDENTITY_SECRET):
        if _write_new(directory / name, secrets.token_hex(32).encode() + b"\n", 0o600):
            made.append(directory / name)
    return made


def new_private_key() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _write_new(path: Path, content: bytes, mode: int) -> bool:
    """Whole or not at all: a link appears at once, and fails when somebody else was faster."""
    if path.exists():
        return False
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        draft.chmod(mode)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def _secret(path: Path) -> bytes:
    content = _content(path)
    if path.stat().st_mode & stat.S_IRWXO:
        raise KeyFileError(f"{path} is open to every user of this machine: chmod o= {path}")
    return content


def _long_secret(path: Path) -> bytes:
    secret = _secret(path).strip()
    if len(secret) < LEAST_SECRET:
        raise KeyFileError(
            f"{path} has {len(secret)} bytes, at least {LEAST_SECRET} are needed: restore it, or remove it and make "
            "another with 'bulkhead keys'"
        )
    return secret


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        others_write = path.stat().st_mode & stat.S_IWOTH or _takes_files(path.parent)
    except OSError as error:
        raise KeyFileError(
            f"key file {path} cannot be read ({error.strerror}): make keys with 'bulkhead keys', or correct KEYS_DIR"
        ) from None
    if others_write:
        # A public key that anybody may put there verifies what anybody has signed.
        raise KeyFileError(f"every user of this machine may change {path}: chmod o-w {path} {path.parent}")
    return content


def _takes_files(directory: Path) -> bool:
    """Whether anybody may put a file in another's place; a sticky folder, as of mounted secrets, keeps its own."""
    mode = directory.stat().st_mode
    return bool(mode & stat.S_IWOTH) and not mode & stat.S_ISVTX


def read_public_keys(path: Path, name: str) -> dict[str, ec.EllipticCurvePublicKey]:
    blocks = _pem_block.findall(_content(path))
    if not blocks:
        raise KeyFileError(f"{path} holds no public key in PEM form")
    try:
        keys = [load_public_key(block) for block in blocks]
    except ValueError as error:
        raise KeyFileError(f"{path} holds a key that is not P-256: {error}") from None
    return {f"{name}:{thumbprint(key)}": key for key in keys}


def _jwks(path: Path) -> dict[str, ec.EllipticCurvePublicKey]:
    if not path.exists():
        return {}
    try:
        return parse_jwks(json.loads(_content(path)))
    except (ValueError, AttributeError) as error:
        raise KeyFileError(f"{path} is not a JWKS: {error}") from None
