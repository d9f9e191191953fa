"""Runs the story in an installation of its own, which is new each time and ends with it."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from pathlib import Path

from bulkhead_kit.errors import DomainError

from bulkhead_cli import ports
from bulkhead_cli.demo.sample import archive as sample
from bulkhead_cli.demo.story import DemoFailed, Story
from bulkhead_cli.errors import MendableError
from bulkhead_cli.importing import archive
from bulkhead_cli.lock import Lock
from bulkhead_cli.output import console as console_of
from bulkhead_cli.output import plain
from bulkhead_cli.programs import SERVICES, folder
from bulkhead_cli.settings import CliSettings
from bulkhead_cli.up import Installation


def demo(settings: CliSettings, file: Path | None, *, as_json: bool) -> None:
    """Raises MendableError when something is not as the demo says."""
    console = console_of(stderr=as_json)
    found = archive.read(file) if file else archive.parse(sample())
    console.print(plain(found.line()))
    state = settings.state.resolve() / "demo"
    if settings.given_database is not None:
        raise MendableError(
            "The demo makes companies and people that stay, so it does not use a given server.",
            "unset BULKHEAD_DATABASE_URL; `bulkhead up` uses it.",
        )
    own = settings.model_copy(
        update={"state": state, **{f"{service}_listen": f"127.0.0.1:{ports.free()}" for service in SERVICES}}
    )
    began = time.monotonic()
    lock = Lock(folder(state.parent) / "demo.lock", "A demo")
    lock.take()
    # The last demo's data goes: this one makes the same companies anew.
    shutil.rmtree(state, ignore_errors=True)
    installation = Installation(own, lambda name, text: None)
    console.print("PostgreSQL, migrations, keys, services, relays and workers start ...")
    with installation as endpoints:
        console.print(f"  up after {time.monotonic() - began:.1f} s")
        story = Story(endpoints, found, console)
        try:
            asyncio.run(story.tell())
        except (DemoFailed, DomainError) as error:
            raise MendableError(f"The demo went wrong: {error}.", f"read the logs in {endpoints.logs}.") from error
    console.print(
        f"\nThe demo ended well after {time.monotonic() - began:.0f} s; its logs are in {plain(state / 'logs')}."
    )
    if as_json:
        document = [{"what": what, "found": seen, "should_be": wanted} for what, seen, wanted in story.checked]
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
