"""Keys that are read again when their files change, so that a rotation needs no restart.

Nobody has to run anything for it: who uses a key looks, at most every two seconds, whether its files are as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from bulkhead_kit import clock
from bulkhead_kit.keysets import KeySet
from bulkhead_kit.start_error import StartError
from bulkhead_kit.tokens import Signer

log: structlog.typing.FilteringBoundLogger = structlog.get_logger("bulkhead.keys")

LOOK_SECONDS: Final = 2.0
LOOK_FOR_UNKNOWN_SECONDS: Final = 0.25
"""How soon an unknown key is looked for: soon, but a forger who invents names must not keep us reading files."""

T = TypeVar("T")
PublicKeys = Mapping[str, ec.EllipticCurvePublicKey]
_Stamp = tuple[int, int, int] | None


class KeyFileError(StartError):
    """A key file is missing, unreadable or open to others; the text says which and what to do."""


class Watch(Generic[T]):
    """Files, read again once they have changed. `complaint` is what the log says when they cannot be."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], T], complaint: str = "keys_not_reloaded") -> None:
        self._event = complaint
        self._paths = paths
        self._read = read
        # Before reading: a change in between is found at the next look.
        self._stamps: list[_Stamp] | None = self._look_at_files()
        self._complaint = ""
        self._looked = clock.monotonic()
        self.first = read()

    def changed(self, every: float) -> T | None:
        """What the files say, if that may have changed since. While they cannot be read, what was read before holds."""
        now = clock.monotonic()
        if now - self._looked < every:
            return None
        self._looked = now
        stamps = self._look_at_files()
        if stamps == self._stamps:
            return None
        try:
            found = self._read()
        except (KeyFileError, OSError) as error:
            self._stamps = None
            if str(error) != self._complaint:
                self._complaint = str(error)
                log.error(self._event, reason=self._complaint)
            return None
        self._stamps, self._complaint = stamps, ""
        return found

    def _look_at_files(self) -> list[_Stamp]:
        return [_stamp(path) for path in self._paths]


class WatchedKeySet(KeySet):
    def __init__(self, paths: Sequence[Path], read: Callable[[], PublicKeys]) -> None:
        self._watch = Watch(paths, read)
        super().__init__(self._watch.first)

    def refresh(self, every: float = LOOK_SECONDS) -> None:
        found = self._watch.changed(every)
        if found is not None and self.take(found):
            log.info("keys_reloaded", keys=list(self))

    def get(self, kid: str) -> ec.EllipticCurvePublicKey | None:
        key = super().get(kid)
        if key is None:
            self.refresh(LOOK_FOR_UNKNOWN_SECONDS)
            key = super().get(kid)
        return key


class WatchedSigner(Signer):
    def __init__(self, path: Path, read: Callable[[], Signer]) -> None:
        self._watch = Watch([path], read)
        self.take(self._watch.first)

    def refresh(self) -> None:
        found = self._watch.changed(LOOK_SECONDS)
        if found is not None and found.kid != self.kid:
            self.take(found)
            log.info("signs_with_another_key", key=self.kid)


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size
