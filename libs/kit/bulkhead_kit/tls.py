"""TLS of both ends. Files that are renewed are taken up without a restart, by servers and by clients.

A server looks at its files for every connection, a client for its next call, at most every two seconds.
Files that do not fit together, as in the middle of a renewal, change nothing: what was read before holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, cast

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from prometheus_client import Gauge

from bulkhead_kit import clock
from bulkhead_kit.keywatch import KeyFileError, Watch

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.tls")

SOON: Final = timedelta(days=7)
"""From here on the log warns of a certificate's end."""

_ends = Gauge("bulkhead_tls_certificate_not_after_timestamp_seconds", "When a TLS certificate ends.", ["file"])


@dataclass(frozen=True, slots=True)
class Pem:
    """What the files said when they were read."""

    certificate: bytes
    key: bytes
    ca: bytes | None
    leaf: x509.Certificate


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. With `ca` the other side must show a certificate signed by it."""

    certificate: Path
    key: Path
    ca: Path | None = None

    def read(self) -> Pem:
        """Raises KeyFileError where they cannot be used together."""
        try:
            found = self.certificate.read_bytes(), self.key.read_bytes(), self.ca.read_bytes() if self.ca else None
            leaf = x509.load_pem_x509_certificates(found[0])[0]
            fits = load_pem_private_key(found[1], None).public_key() == leaf.public_key()
            if found[2] is not None:
                x509.load_pem_x509_certificates(found[2])
        except OSError as error:
            raise KeyFileError(f"{error.filename} cannot be read: {error.strerror}") from None
        except (ValueError, TypeError) as error:
            raise KeyFileError(f"{self.certificate}, {self.key} or {self.ca} is no PEM file: {error}") from None
        if not fits:
            raise KeyFileError(f"{self.key} is not the key of {self.certificate}")
        return Pem(*found, leaf)

    def watch(self) -> Watch[Pem]:
        """Raises KeyFileError."""
        paths = [path for path in (self.certificate, self.key, self.ca) if path is not None]
        watch = Watch(paths, self.read, complaint="tls_files_not_reloaded")
        self.tell("tls_certificate", watch.first)
        return watch

    def tell(self, event: str, pem: Pem) -> None:
        """The log and the metrics name what is used from now on."""
        leaf, now = pem.leaf, clock.now()
        facts = {
            "file": str(self.certificate),
            "subject": leaf.subject.rfc4514_string(),
            "issuer": leaf.issuer.rfc4514_string(),
            "not_before": leaf.not_valid_before_utc,
            "not_after": leaf.not_valid_after_utc,
        }
        _ends.labels(str(self.certificate)).set(leaf.not_valid_after_utc.timestamp())
        log.info(event, **facts)
        if not leaf.not_valid_before_utc <= now <= leaf.not_valid_after_utc:
            log.error("tls_certificate_not_valid_now", **facts)
        elif leaf.not_valid_after_utc - now < SOON:
            log.warning("tls_certificate_ends_soon", **facts)

    def server_credentials(self) -> grpc.ServerCredentials:
        """Renewed files are taken up by the next connection. Raises KeyFileError."""
        watched = _ServerFiles(self)
        # The stubs miss that the fetcher may answer None.
        fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", watched.renewed)
        return grpc.dynamic_ssl_server_credentials(
            watched.first, fetcher, require_client_authentication=self.ca is not None
        )


def channel_credentials(pem: Pem) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(pem.ca, pem.key, pem.certificate)


class _ServerFiles:
    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self._watch = files.watch()
        self.first = _configuration(self._watch.first)

    def renewed(self) -> grpc.ServerCertificateConfiguration | None:
        """Called by grpc for every connection; None means: go on with what you have."""
        pem = self._watch.changed(0.0)
        if pem is None:
            return None
        self._files.tell("tls_certificate_renewed", pem)
        return _configuration(pem)


def _configuration(pem: Pem) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pem.key, pem.certificate)], pem.ca)
