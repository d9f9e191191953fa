from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from bulkhead_kit import keyfiles
from bulkhead_kit.keyfiles import (
    generate_keys,
    load_identity_secret,
    load_page_token_key,
    load_public_keys,
    load_signer,
)
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.keywatch import KeyFileError
from bulkhead_kit.page_tokens import PageTokens
from bulkhead_kit.services_auth import ServiceTokens, service_verifier
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

NAMES = ("access", "identity", "issues", "audit")


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_generated_keys_work_and_secrets_are_closed(tmp_path: Path) -> None:
    folder = tmp_path / "state" / "keys"
    made = generate_keys(folder)
    assert sorted(path.name for path in made) == sorted(path.name for path in folder.iterdir())
    assert mode(folder) == 0o700
    assert {mode(folder / f"{name}.private.pem") for name in NAMES} == {0o600}
    assert mode(folder / "page_tokens.key") == 0o600
    PageTokens(load_page_token_key(folder))
    token = ServiceTokens("issues", load_signer(folder, "issues")).token("audit")
    keys = load_public_keys(folder, keyfiles.SERVICES)
    assert service_verifier(keys, audience="audit").verify(token).service == "issues"
    assert len(list(keys)) == 3
    assert all(not kid.startswith("access") for kid in keys)


def test_a_second_run_changes_nothing_and_a_lost_public_key_comes_back(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert generate_keys(tmp_path) == []
    (tmp_path / "issues.public.pem").unlink()
    assert generate_keys(tmp_path) == [tmp_path / "issues.public.pem"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_runs_at_once_agree(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = [path for paths in pool.map(lambda _: generate_keys(tmp_path), range(8)) for path in paths]
    assert sorted(made) == sorted(tmp_path.iterdir())
    for name in NAMES:
        assert list(load_public_keys(tmp_path, [name])) == [load_signer(tmp_path, name).kid]


def test_a_public_key_without_its_private_one_is_not_papered_over(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    (tmp_path / "access.private.pem").unlink()
    with pytest.raises(KeyFileError, match=r"access\.public\.pem is there without access\.private\.pem"):
        generate_keys(tmp_path)


def test_a_secret_open_to_others_is_refused(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    (tmp_path / "access.private.pem").chmod(0o644)
    (tmp_path / "page_tokens.key").chmod(0o604)
    with pytest.raises(KeyFileError, match="chmod o="):
        load_signer(tmp_path, "access")
    with pytest.raises(KeyFileError, match="chmod o="):
        load_page_token_key(tmp_path)


@pytest.mark.parametrize("name", ["access.public.pem", "jwks.json", "."])
def test_a_public_key_that_others_may_put_there_is_refused(tmp_path: Path, name: str) -> None:
    """Or every user of the machine could sign as identity does."""
    keys, hers = tmp_path / "keys", tmp_path / "hers"
    generate_keys(keys)
    generate_keys(hers)
    (keys / "jwks.json").write_text('{"keys": []}')
    load_public_keys(keys, ["access"])
    with (keys / "access.public.pem").open("ab") as file:
        file.write((hers / "access.public.pem").read_bytes())
    (keys / name).chmod(0o777 if name == "." else 0o646)
    with pytest.raises(KeyFileError, match="chmod o-w"):
        load_public_keys(keys, ["access"])
    if name == ".":
        # As a mounted secret is.
        keys.chmod(0o1777)
        load_public_keys(keys, ["access"])


def test_a_secret_that_is_too_short_is_refused(tmp_path: Path) -> None:
    generate_keys(tmp_path)
    for name, load in (("page_tokens.key", load_page_token_key), ("identity.secret.key", load_identity_secret)):
        (tmp_path / name).write_text("k" * 31 + "\n")
        with pytest.raises(KeyFileError, match=f"{name} has 31 bytes, at least 32 are needed"):
            load(tmp_path)


def test_missing_and_broken_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"access\.private\.pem cannot be read"):
        load_signer(tmp_path, "access")
    with pytest.raises(KeyFileError, match=r"access\.public\.pem cannot be read"):
        load_public_keys(tmp_path, ["access"])
    other_curve = ec.generate_private_key(ec.SECP384R1())
    private, public = tmp_path / "access.private.pem", tmp_path / "access.public.pem"
    private.write_bytes(other_curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    private.chmod(0o600)
    public.write_bytes(other_curve.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(KeyFileError, match="P-256"):
        load_signer(tmp_path, "access")
    with pytest.raises(KeyFileError, match="P-256"):
        load_public_keys(tmp_path, ["access"])
    public.write_text("nothing")
    with pytest.raises(KeyFileError, match="no public key"):
        load_public_keys(tmp_path, ["access"])


def test_during_a_rotation_a_public_file_holds_both_keys(tmp_path: Path) -> None:
    generate_keys(tmp_path / "old")
    generate_keys(tmp_path / "new")
    both = [(tmp_path / age / "issues.public.pem").read_bytes() for age in ("old", "new")]
    (tmp_path / "new" / "issues.public.pem").write_bytes(b"".join(both))
    keys = load_public_keys(tmp_path / "new", ["issues"])
    check = service_verifier(keys, audience="audit")
    for age in ("old", "new"):
        tokens = ServiceTokens("issues", load_signer(tmp_path / age, "issues"))
        assert check.verify(tokens.token("audit")).service == "issues"


def test_keys_may_come_as_one_jwks(tmp_path: Path) -> None:
    generate_keys(tmp_path / "made")
    everything = KeySet()
    for name in NAMES:
        signer = load_signer(tmp_path / "made", name)
        everything.add(signer.kid, signer.public_key())
    (tmp_path / "jwks.json").write_text(json.dumps(everything.to_jwks()))
    assert list(load_public_keys(tmp_path, ["access"])) == [load_signer(tmp_path / "made", "access").kid]
    assert len(list(load_public_keys(tmp_path, keyfiles.SERVICES))) == 3
    with pytest.raises(KeyFileError, match="gateway"):
        load_public_keys(tmp_path, ["gateway"])
    for wrong in ("", "[]", '{"keys": [{}]}'):
        (tmp_path / "jwks.json").write_text(wrong)
        with pytest.raises(KeyFileError, match="is not a JWKS"):
            load_public_keys(tmp_path, ["access"])
