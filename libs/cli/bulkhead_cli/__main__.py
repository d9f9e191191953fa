"""The command `bulkhead`."""

import sys
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from bulkhead_kit.settings import SettingsError
from cyclopts import App, Parameter
from pydantic import SecretStr

from bulkhead_cli.errors import MendableError
from bulkhead_cli.output import never_fail
from bulkhead_cli.screen import Screen
from bulkhead_cli.settings import CliSettings
from bulkhead_cli.stopping import StoppedError, StopRequest

app = App(
    name="bulkhead",
    help="Runs, migrates, demonstrates and examines a whole installation.",
    # What is off unless it is named needs no --no-... of its own.
    default_parameter=Parameter(negative=()),
)
Json = Annotated[bool, Parameter(name="--json", help="One JSON document instead of tables.")]
State = Annotated[Path | None, Parameter(help="Where everything of this installation is kept (.run).")]
DatabaseUrl = Annotated[str | None, Parameter(help="URL of an administrator's login on a running server.")]


def settings_with(state: Path | None, database_url: str | None) -> CliSettings:
    """Options win over the environment."""
    given = {"state": state, "database_url": SecretStr(database_url) if database_url else None}
    return CliSettings.load().model_copy(update={name: value for name, value in given.items() if value is not None})


@app.command
def up(*, json: Json = False, quiet: bool = False, state: State = None, database_url: str | None = None) -> None:
    """PostgreSQL, migrations, keys and all services, until Ctrl-C.

    Parameters
    ----------
    database_url
        URL of an administrator's login on a running server. Its logins get the passwords of this installation.
    quiet
        Do not repeat what the services say; it is in the log files anyway.
    """
    from bulkhead_cli.up import Installation  # noqa: PLC0415 - grpc and the services' code are slow to load

    screen = Screen(json=json, quiet=quiet)
    stop = StopRequest()
    stop.listen()
    installation = Installation(settings_with(state, database_url), screen.line, stop)
    with suppress(StoppedError), installation as endpoints:
        screen.endpoints(endpoints)
        stop.wait()
        screen.line("up", "stopping")
    screen.line("up", "everything has stopped")


@app.command
def migrate(
    *,
    database_url: DatabaseUrl = None,
    passwords: Path | None = None,
    adopt_roles: bool = False,
    state: State = None,
) -> None:
    """Roles and schemas of a database, brought to this release. Safe to repeat.

    Parameters
    ----------
    passwords
        A JSON file with passwords of logins, as {"bulkhead_identity_app": "..."}; those it does not name stay as they
        are.
    adopt_roles
        Take roles of Bulkhead's names that something else made on this server, without the passwords they had.
    """
    from bulkhead_cli import database, endpoints  # noqa: PLC0415 - slow to load

    settings = settings_with(state, database_url)
    admin = settings.given_database or endpoints.read(settings.state.resolve()).database_admin
    words = database.read_passwords(passwords) if passwords else {}
    database.migrate(admin, words, lambda line: Screen().line("migrate", line), adopt_roles=adopt_roles)


keys_app = App(
    name="keys", help="Makes the keys that are missing in a folder; its commands change keys while they are in use."
)
app.command(keys_app)
KeyName = Annotated[str | None, Parameter(help="access, or a service; without it all that are held here.")]
KeyFolder = Annotated[Path | None, Parameter(help="Folder with the keys (.run/keys).")]


def key_folder(given: Path | None) -> Path:
    return given or CliSettings.load().state / "keys"


@keys_app.default
def keys(*, directory: KeyFolder = None) -> None:
    """Makes the keys that are missing in a folder: for tokens, for each service, for page tokens."""
    from bulkhead_kit import keyfiles  # noqa: PLC0415 - slow to load

    folder = key_folder(directory)
    made = keyfiles.generate_keys(folder)
    Screen().line("keys", f"{len(made)} files made in {folder}" if made else f"nothing was missing in {folder}")


@keys_app.command
def rotate(
    name: KeyName = None, *, directory: KeyFolder = None, overlap: float | None = None, publish_only: bool = False
) -> None:
    """Publishes a new key, waits until every service believes it, signs with it. Safe to repeat after an interruption.

    Parameters
    ----------
    overlap
        Seconds between publishing a key and signing with it; 10 where nothing is said.
    publish_only
        Stop after publishing, where the public files have to be copied to other machines first.
    """
    from bulkhead_cli import rotation  # noqa: PLC0415 - slow to load

    screen = Screen()
    rotation.rotate(
        key_folder(directory),
        name,
        overlap=overlap,
        publish_only=publish_only,
        say=lambda text: screen.line("keys", text),
    )


@keys_app.command
def prune(name: KeyName = None, *, directory: KeyFolder = None, now: bool = False) -> int:
    """Forgets old keys, when the last token signed with them has expired; ends with 1 where one has to wait.

    Parameters
    ----------
    now
        Do not wait, as after a theft: tokens of the old keys are refused within seconds.
    """
    from bulkhead_cli import rotation  # noqa: PLC0415 - slow to load

    screen = Screen()
    return rotation.prune(key_folder(directory), name, at_once=now, say=lambda text: screen.line("keys", text))


@app.command
def doctor(*, json: Json = False, state: State = None, database_url: DatabaseUrl = None) -> int:
    """What is wrong with this installation, and how to mend it."""
    from bulkhead_cli.doctor import examine  # noqa: PLC0415 - slow to load

    findings = list(examine(settings_with(state, database_url)))
    Screen(json=json).findings([asdict(finding) for finding in findings])
    return int(any(finding.verdict == "broken" for finding in findings))


@app.command
def schema(*, check: bool = False, root: Path = Path(), database_url: str | None = None) -> int:
    """Writes docs/schema and each schema.sql from a live database, made for it and migrated; and from the code
    docs/settings.md and docs/role-matrix.md.

    Parameters
    ----------
    check
        Write nothing; end with 1 where a file is not what the database says.
    root
        Of the checkout.
    database_url
        An administrator's login on an installation, which is only read; README.md is left out then.
    """
    from bulkhead_cli.schema import command  # noqa: PLC0415 - slow to load

    screen = Screen()
    return command.run(root, database_url, check=check, say=lambda text: screen.line("schema", text))


@app.command
def demo(*, file: Path | None = None, json: Json = False, state: State = None) -> None:
    """Two companies, an import, a workflow, an audit question, and a company that must not see it.

    Parameters
    ----------
    file
        A GitHub archive to import instead of the built-in sample.
    """
    from bulkhead_cli.demo import run  # noqa: PLC0415 - slow to load

    run.demo(settings_with(state, None), file, as_json=json)


@app.command
def bench(*, rounds: int = 3, seconds: float = 2.0, json: Json = False, state: State = None) -> None:
    """What a call costs, beside a bare gRPC server that returns the same bytes; kept in .run/bench.json.

    Parameters
    ----------
    rounds
        Each in fresh processes; the figures are medians over them.
    seconds
        How long each call is measured in a round, with 1 and with 16 in flight.
    """
    from bulkhead_cli import output  # noqa: PLC0415 - slow to load
    from bulkhead_cli.bench import report, run  # noqa: PLC0415 - slow to load

    settings = settings_with(state, None)
    results = run.bench(settings, run.Extent(rounds, seconds), output.console(stderr=json))
    kept = settings.state / "bench.json"
    report.write(results, kept)
    if json:
        sys.stdout.write(kept.read_text(encoding="utf-8"))
    else:
        # A pipe says it is 80 columns wide, which is too narrow to read.
        report.show(results, output.console() if sys.stdout.isatty() else output.console(width=report.WIDTH))


admins = App(name="admin", help="Who administers the platform: sees tenants and plans, and no tenant from inside.")
app.command(admins)


def set_administrator(email: str, state: Path | None, database_url: str | None, *, is_admin: bool) -> None:
    from bulkhead_cli import administration, endpoints  # noqa: PLC0415 - slow to load

    settings = settings_with(state, database_url)
    admin = settings.given_database or endpoints.read(settings.state.resolve()).database_admin
    administration.set_administrator(admin, email, is_admin=is_admin)
    Screen().line("admin", f"{email} {'administers the platform' if is_admin else 'does not administer the platform'}")


@admins.command(name="grant")
def grant_admin(email: str, *, state: State = None, database_url: DatabaseUrl = None) -> None:
    """Makes a person with an account an administrator of the platform. She logs in anew to use it.

    Parameters
    ----------
    email
        The address she logs in with.
    """
    set_administrator(email, state, database_url, is_admin=True)


@admins.command(name="revoke")
def revoke_admin(email: str, *, state: State = None, database_url: DatabaseUrl = None) -> None:
    """Ends it at once, whatever tokens she has, and her support access to every tenant with it.

    Parameters
    ----------
    email
        The address she logs in with.
    """
    set_administrator(email, state, database_url, is_admin=False)


imports = App(name="import", help="Brings work from other trackers into a running installation.")
app.command(imports)


@imports.command(name="github-archive")
def import_github_archive(
    file: Path,
    *,
    tenant: str,
    project: str,
    user: str,
    password_file: Path | None = None,
    source: str | None = None,
    dry_run: bool = False,
    json: Json = False,
    state: State = None,
) -> int:
    """Issues and pull requests with their numbers, authors, times, labels and comments. Safe to repeat.

    Parameters
    ----------
    file
        A GitHub archive in JSON, with or without pull requests. What it lacks or has in excess is mended and told.
    tenant
        Its slug.
    project
        Its key. Issues keep their numbers, so it should have none of its own.
    user
        E-mail address of an admin of the tenant.
    password_file
        A file with the password; without it you are asked.
    source
        Where the items come from (github/owner/repository, of the file). Items with GitHub's ids are known again after
        their repository got another name; for others name it as it was at the first import.
    dry_run
        Say what would happen and write nothing.
    """
    from bulkhead_cli import endpoints  # noqa: PLC0415 - slow to load
    from bulkhead_cli.importing import command  # noqa: PLC0415 - slow to load

    place = endpoints.read(settings_with(state, None).state.resolve())
    password = command.ask_password(user, password_file)
    return command.import_github_archive(
        place,
        file,
        tenant=tenant,
        project=project,
        email=user,
        password=password,
        source=source,
        dry_run=dry_run,
        json=json,
    )


def main() -> None:
    never_fail()
    try:
        app()
    except MendableError as error:
        Screen().error(error.what, error.mend)
        sys.exit(1)
    except SettingsError as error:
        Screen().error(str(error), "correct these variables.")
        sys.exit(1)


if __name__ == "__main__":
    main()
