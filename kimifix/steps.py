"""What to type so that kimi-code gets an answer again: commands, as they stand behind `next`."""

from kimifix.client import features, login
from kimifix.config import routes
from kimifix.config.document import MANAGED, OWN
from kimifix.config.routes import LOGIN, Credential
from kimifix.machine import Machine


def applying(machine: Machine, *options: str) -> str:
    """Return an `apply` that makes ours the default model, too."""
    default = ("--default",) if machine.reading.keeps_default else ()
    return machine.kimifix("apply", *options, *default)


def apply_command(
    machine: Machine, route: str, credential: Credential, platform: str | None
) -> str:
    """Return the `apply` that leads to this, whatever is applied now."""
    document = machine.document
    present = routes.credential_of(document) or LOGIN
    words = ["--route", route]
    if credential.name == "key-env":
        words += ["--key-env", credential.value]
    elif credential.name != present.name:
        words += ["--credential", credential.name]
    if route == "header" and platform != (routes.platform_of(document.own or {}) or "kimi_cli"):
        words += ["--platform", str(platform)]
    return applying(machine, *words)


def again(machine: Machine) -> tuple[str, ...]:
    """Return the commands that put ours in place again, where the login may be gone, too."""
    own, version = routes.credential_of(machine.document) or LOGIN, machine.version
    if own.name == "key-env" and version and not features.has("key-variable", version):
        return (applying(machine, "--credential", "key"),)
    if own == LOGIN and not login.is_shareable(machine.document.managed, machine.env):
        return ()  # `apply` would refuse it
    signed_in = machine.login is not None and machine.login.present
    return (applying(machine),) if signed_in or own != LOGIN else signing_in(machine, OWN)


def signing_in(machine: Machine, provider: str | None) -> tuple[str, ...]:
    """Return the commands for a new login that ``provider`` uses.

    A login from scratch makes the managed model the default again.
    """
    return login_first(machine, *(() if provider == MANAGED else (applying(machine),)))


def login_first(machine: Machine, *steps: str) -> tuple[str, ...]:
    """Return one login and then ``steps``; none where `kimi login` would refuse the config."""
    if machine.document.login_misfit:
        return ()
    return tuple(dict.fromkeys((machine.kimi("login"), *steps)))


def by_itself(machine: Machine) -> str:
    """Return the command by which kimi-code asks by itself, and renews its login where it must."""
    return machine.kimifix("doctor", "--verify")


def starting(machine: Machine) -> tuple[str, ...]:
    """Return the commands by which kimi-code brings its models up to date, and what is so then."""
    return machine.kimi(), machine.kimifix("doctor", "--probe")
