"""The command line: options in, one call, print, exit code. Nothing is decided here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click

from kimifix import __version__
from kimifix.language import is_chinese, translated

if TYPE_CHECKING:
    from pathlib import Path

    from kimifix.output import Printer

_Command = TypeVar("_Command", bound=Callable[..., Any])

_NAME = "kimifix"  # also where the file that was started is called otherwise
_CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


_version = click.version_option(__version__, message=f"{_NAME} {__version__}")
_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_home = click.option(
    "--home",
    type=click.Path(readable=False),
    metavar="DIR",
    help="Where kimi-code keeps its data. [default: $KIMI_CODE_HOME, else ~/.kimi-code]",
)


def _common(command: _Command) -> _Command:
    """Add the options that every command has."""
    return _version(_home(_json(command)))


def _writing(command: _Command) -> _Command:
    """Add the options of the commands that write."""
    command = click.option("-y", "--yes", is_flag=True, help="Write without asking.")(command)
    return click.option("--dry-run", is_flag=True, help="Show the change and stop.")(command)


@click.group(context_settings=_CONTEXT)
@_version
def main() -> None:
    """Get a locked-out kimi-code working again, exactly and reversibly.

    Start with `kimifix doctor`: it says whether anything needs fixing at all.
    """


def _path(given: str | None) -> Path | None:
    from pathlib import Path  # click alone is enough for --help and --version

    return Path(given) if given else None


def _check_platform(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value == "" or any(not "!" <= character <= "~" for character in value or ""):
        raise click.BadParameter("must be printable ASCII without spaces")
    return value


@main.command("apply")
@click.option(
    "--route",
    type=click.Choice(["header", "anthropic", "auto"]),
    show_default="as it is, else header",
    help="header: kimi-code says that it is kimi_cli. anthropic: it says nothing untrue, and "
    "asks the Anthropic-compatible API. auto: ask the server first what it lets in.",
)
@click.option(
    "--credential",
    type=click.Choice(["auto", "login", "key"]),
    show_default="as it is, else auto",
    help="login: the one you have. key: an API key of the Kimi Code console, from KIMIFIX_API_KEY,"
    " --key-stdin or a hidden prompt. auto: login where it works, else key.",
)
@click.option("--key-stdin", is_flag=True, help="Read the API key from standard input.")
@click.option(
    "--key-env",
    "key_variable",
    metavar="NAME",
    help="Have kimi-code 2.0.1 or later read the API key from this environment variable.",
)
@click.option(
    "--platform",
    show_default="as it is, else kimi_cli",
    metavar="NAME",
    callback=_check_platform,
    help="What kimi-code says that it is, by the header X-Msh-Platform.",
)
@click.option(
    "--default/--no-default",
    "move_default",
    default=None,
    show_default="as it is, else yes",
    help="Whether kimi-code uses the new models without being told to.",
)
@click.option(
    "--services/--no-services",
    default=None,
    show_default="as it is, else no",
    help="Whether web search and fetch say the same as --platform; header route only.",
)
@click.option("--verify", is_flag=True, help="Let kimi-code answer one prompt before writing.")
@click.option("--sandbox", is_flag=True, help="Do it all on a copy in a new folder.")
@_writing
@_common
def apply_command(
    home: str | None, as_json: bool, yes: bool, key_stdin: bool, **wanted: Any
) -> None:
    """Give kimi-code a provider that gets an answer."""
    if key_stdin and wanted["credential"] == "login":
        raise click.UsageError("--key-stdin does not go with --credential login")
    if wanted["verify"] and wanted["sandbox"]:
        raise click.UsageError("--verify does not go with --sandbox")
    if wanted["key_variable"] is not None and (key_stdin or wanted["credential"] == "login"):
        raise click.UsageError("--key-env goes with neither --key-stdin nor --credential login")

    def story(env: Mapping[str, str], printer: Printer) -> int:
        from kimifix.apply import apply
        from kimifix.draft import Request
        from kimifix.output import TerminalDialogue, describe_apply, print_apply
        from kimifix.terminal import read_key

        key = read_key() if key_stdin else None
        request = Request(home=_path(home), key=key, **wanted)
        whole = request.dry_run
        dialogue = TerminalDialogue(printer, describe_apply, yes=yes, whole=whole)
        outcome = apply(request, env, dialogue)
        print_apply(printer, outcome)
        return int(outcome.status == "declined")

    _run("apply", story, as_json=as_json)


@main.command("revert")
@_writing
@_common
def revert_command(home: str | None, as_json: bool, yes: bool, dry_run: bool) -> None:
    r"""Take back what `apply` wrote; everybody else's edits stay.

    The files as they were before lie in ~/.local/state/kimifix (macOS: ~/Library/Application
    Support/kimifix, Windows: %LOCALAPPDATA%\kimifix); `kimifix doctor --verbose` says where.
    """

    def story(env: Mapping[str, str], printer: Printer) -> int:
        from kimifix.output import TerminalDialogue, describe_revert, print_revert
        from kimifix.revert import revert

        dialogue = TerminalDialogue(printer, describe_revert, yes=yes, whole=dry_run)
        outcome = revert(_path(home), env, dialogue, dry_run=dry_run)
        print_revert(printer, outcome)
        return int(outcome.status == "declined")

    _run("revert", story, as_json=as_json)


@main.command("doctor")
@click.option("--probe", is_flag=True, help="Ask the server, by up to four tiny requests.")
@click.option("--capture", is_flag=True, help="Run kimi-code offline and see what it sends.")
@click.option("--verify", is_flag=True, help="Let kimi-code answer one prompt, as configured.")
@click.option(
    "--report",
    "report_to",
    is_flag=False,
    flag_value="-",
    metavar="[FILE]",
    help="Print a report to hand over, without names, paths and keys, or write it into FILE.",
)
@click.option("-y", "--yes", is_flag=True, help="Overwrite the FILE of --report.")
@click.option("--verbose", is_flag=True, help="Show every check, and where the backups lie.")
@_common
def doctor_command(
    home: str | None,
    as_json: bool,
    verbose: bool,
    yes: bool,
    report_to: str | None,
    **wanted: bool,
) -> None:
    """Say whether kimi-code works, and what to type if it does not. Changes nothing."""
    if as_json and report_to == "-":
        raise click.UsageError("--report goes with --json only where it has a FILE")

    file = None if report_to == "-" else _path(report_to)

    def story(env: Mapping[str, str], printer: Printer) -> int:
        from kimifix.doctor import doctor
        from kimifix.output import print_doctor
        from kimifix.terminal import require_free, save

        if file:
            require_free(file, replace=yes)
        report = doctor(_path(home), env, printer.progress, markdown=bool(report_to), **wanted)
        if file:  # before a word is said: to fail is the one thing to say then
            save(file, report.markdown or "", replace=yes)
        print_doctor(printer, report, verbose=verbose, file=file)
        return int(report.worst == "error" and not report.verdict.works)

    _run("doctor", story, as_json=as_json)


@main.command("help")
@click.argument("command", required=False)
def help_command(command: str | None) -> None:
    """Explain a command, or name them all."""
    main([*filter(None, [command]), "--help"], prog_name=_NAME, standalone_mode=False)


@main.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish", "powershell"]))
def completion_command(shell: str) -> None:
    """Print the script that completes what you type in a shell."""
    from click.shell_completion import shell_complete

    variable = f"_{_NAME.upper()}_COMPLETE"
    if shell_complete(main, {}, _NAME, variable, f"{shell}_source"):
        raise click.ClickException(f"completion in {shell} needs click 8.5 or later")


def _run(
    command: str, story: Callable[[Mapping[str, str], Printer], int], *, as_json: bool
) -> None:
    """Carry out one command and end the process with its exit code."""
    import signal
    from pathlib import Path

    from kimifix.client.home import environment, user_home
    from kimifix.errors import KimifixError
    from kimifix.output import Printer

    env = environment()
    colour = False if env.get("NO_COLOR") else (True if env.get("FORCE_COLOR") else None)
    try:
        user = user_home(env)
    except KimifixError:  # with --home it is not needed; without, the story says so
        user = Path("/")
    printer = Printer(command, as_json=as_json, home=user, colour=colour)
    try:
        code = story(env, printer)
    except KimifixError as error:
        printer.failure(error)
        code = 1
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and done
    sys.exit(code)


def run() -> None:
    """Run the command line and end the process."""
    if is_chinese():
        from kimifix.help import ChineseHelp

        click.Context.formatter_class = ChineseHelp
    try:
        main(prog_name=_NAME, standalone_mode=False)
    except click.ClickException as error:
        from kimifix.terminal import put_usage

        put_usage(error)
        sys.exit(error.exit_code)
    except (Exception, KeyboardInterrupt) as error:
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever is in a hurry presses it twice
        from kimifix.terminal import is_unwritten, put, put_bug

        if _is_interrupt(error):  # after the commit none gets here
            put([(translated("interrupted, nothing written"),)], err=True)
            sys.exit(130)
        if is_unwritten(error):
            sys.exit(1)
        put_bug(error)
        sys.exit(3)


def _is_interrupt(error: BaseException | None) -> bool:
    """Tell whether Ctrl-C is behind ``error``: Python 3.11 wraps it where a class is made."""
    while error is not None and not isinstance(error, KeyboardInterrupt | click.Abort):
        error = error.__cause__ or error.__context__
    return error is not None
