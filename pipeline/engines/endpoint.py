"""Whether anything listens at an address that the user has named."""

import socket

from pipeline.errors import InputError

ANSWERS_WITHIN_S = 5.0

A_LOCAL_CLUSTER = "`python -m deploy.flink.local` starts one on this machine, with a job server"


def check_endpoint(option: str, address: str, what: str) -> None:
    """Raises InputError where nothing listens at HOST:PORT."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal():
        raise InputError(f"{option}={address}: this must be HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWERS_WITHIN_S).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{option}={address}: {what} does not answer there ({reason(error)}). Start it, or name another; "
            f"{A_LOCAL_CLUSTER}."
        ) from error


def reason(error: Exception) -> str:
    """Why there was no answer, shortly."""
    cause = getattr(error, "reason", None) or error
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__
