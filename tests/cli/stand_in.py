"""`bulkhead` with small programs in the services' place: what is tried here is what surrounds them."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest import mock

from bulkhead_cli import __main__, programs, up
from bulkhead_cli.endpoints import Endpoints
from bulkhead_cli.postgres import EmbeddedPostgres
from bulkhead_cli.settings import CliSettings
from bulkhead_cli.supervisor import Program

PROGRAM = str(Path(__file__).with_name("stand_in_program.py"))


def command() -> None:
    def replaced(settings: CliSettings, endpoints: Endpoints) -> list[Program]:
        made = programs.programs(settings, endpoints)
        return [replace(one, command=[sys.executable, PROGRAM, one.name]) for one in made]

    # What a killed process wrote is not lost without fsync; that takes a killed machine, and waiting for the disk is
    # most of what a start costs.
    careless = partial(EmbeddedPostgres, durable=False)
    with mock.patch.object(up, "programs", replaced), mock.patch.object(up, "EmbeddedPostgres", careless):
        __main__.main()
