"""`bulkhead keys rotate` and `prune`: the steps of a rotation one after the other, each of them told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from bulkhead_kit import clock, keyrotation
from bulkhead_kit.keyfiles import public_file
from bulkhead_kit.keywatch import KeyFileError

from bulkhead_cli.errors import MendableError

Say = Callable[[str], None]


def rotate(directory: Path, name: str | None, *, overlap: float | None, publish_only: bool, say: Say) -> None:
    chosen = names(directory, name)
    try:
        for each in chosen:
            say(f"{keyrotation.publish(directory, each)} is published")
        if publish_only:
            say("hand the public files out, then run this again without --publish-only")
            return
        wait(directory, chosen, keyrotation.OVERLAP_SECONDS if overlap is None else overlap, say)
        for each in chosen:
            say(f"{keyrotation.sign_with_next(directory, each)} signs")
    except (KeyFileError, OSError) as error:
        raise MendableError(str(error), "mend this and run it again: it goes on where it was.") from None
    say(f"the old keys verify until `bulkhead keys prune`, which can be run in {keyrotation.KEEP_SECONDS} s")


def prune(directory: Path, name: str | None, *, at_once: bool, say: Say) -> int:
    """1 when there are keys that have to wait."""
    waiting = False
    try:
        for each in names(directory, name):
            for kid in keyrotation.prune(directory, each, at_once=at_once):
                say(f"{kid} is forgotten")
            state = keyrotation.state_of(directory, each)
            for kid in state.retired:
                waiting = True
                say(f"{kid} may have signed living tokens for another {state.seconds_until_prune:.0f} s")
    except (KeyFileError, OSError) as error:
        raise MendableError(str(error), "mend this and run it again.") from None
    return int(waiting)


def names(directory: Path, name: str | None) -> list[str]:
    held = keyrotation.held(directory)
    if not held:
        raise MendableError(f"{directory} holds no private key.", "name the folder with --directory.")
    if name is None:
        return held
    if name not in held:
        raise MendableError(f"{directory} holds no private key named {name}.", f"it has: {', '.join(held)}.")
    return [name]


def wait(directory: Path, chosen: list[str], overlap: float, say: Say) -> None:
    """Until every verifier has had time to read the new public files."""
    newest = max(public_file(directory, name).stat().st_mtime for name in chosen)
    seconds = min(overlap, newest + overlap - clock.unix())
    if seconds > 0:
        say(f"{seconds:.0f} s for every service to read it")
        time.sleep(seconds)
