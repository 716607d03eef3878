"""What a library raised, as one of our own errors: what happened, where, and what to do about it."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator

from raytagger import errors
from raytagger.errors import CapacityError, CorpusError, RaytaggerError, SettingsError, StoreError

VERBOSE = "RAYTAGGER_VERBOSE"
# The last line of a traceback, which is all that is left of an error in an actor's constructor.
TOLD = re.compile(r"^(?:\w+\.)*errors\.(\w+Error): (.+)$", re.MULTILINE)
RAISED = re.compile(r"(?:\w+\.)*\w+(?:Error|Exception): ")
WRAPPERS = {"RayTaskError", "UserCodeException", "SystemException"}  # Ray's, which say nothing of their own
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
FULL = (errno.ENOSPC, errno.EDQUOT)


def is_verbose() -> bool:
    """Whether Ray's messages and tracebacks are wanted: `--verbose`, or `RAYTAGGER_VERBOSE` in the environment."""
    return os.environ.get(VERBOSE, "") not in ("", "0")


def own_error(error: BaseException) -> RaytaggerError | None:
    """Our own error inside what Ray or another library made of it; None where there is none."""
    for cause in causes(error):
        # Ray also raises a class that is both its own and ours, and reads like a traceback.
        if isinstance(cause, RaytaggerError) and _room(type(cause)) != "ray":
            return cause
    for cause in causes(error):
        for name, message in reversed(TOLD.findall(str(cause))):
            kind = getattr(errors, name, None)
            if isinstance(kind, type) and issubclass(kind, RaytaggerError):
                return kind(message.strip().rstrip("."))
    return None


def explain(error: BaseException) -> RaytaggerError:
    """One of our own errors for whatever was raised."""
    found = own_error(error)
    if found is not None:
        return found
    chain = [cause for cause in causes(error) if not WRAPPERS & {kind.__name__ for kind in type(cause).__mro__}]
    for cause in reversed(chain):  # the innermost knows best
        for kind in type(cause).__mro__:
            told = MEANINGS.get(kind.__name__) or MEANINGS.get(_room(kind))
            if told is not None:
                return told(cause)
    innermost = chain[-1] if chain else error
    return RaytaggerError(
        f"internal error: {type(innermost).__name__}: {last_line(innermost)}",
        remedy="Run the command again with --verbose and report what it prints.",
    )


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, then what caused it, and so on; Ray keeps its own in `cause`."""
    known: set[int] = set()
    while error is not None and id(error) not in known:
        known.add(id(error))
        yield error
        inner = getattr(error, "cause", None)
        error = inner if isinstance(inner, BaseException) else error.__cause__


def _operating_system(error: BaseException) -> RaytaggerError:
    assert isinstance(error, OSError)
    place = f" at {error.filename}" if error.filename else ""
    reason = error.strerror or last_line(error)
    if error.errno in FULL:
        return CapacityError(f"the disk is full{place}", got=reason, remedy="Free space, or name another place.")
    if error.errno in REFUSED:
        return StoreError(f"no permission{place}", got=reason, remedy="Check the path's permissions.")
    return StoreError(f"the operating system refused{place}: {reason}")


def _memory(error: BaseException) -> RaytaggerError:
    return CapacityError(
        "memory does not suffice",
        got=last_line(error),
        remedy="Lower cluster.workers or cluster.chunk_documents, or take a machine with more memory.",
    )


def _delta(error: BaseException) -> RaytaggerError:
    return StoreError(
        "the tag table cannot be used",
        got=last_line(error),
        remedy="Check its address, and that nothing else has written into its folder.",
    )


def _arrow(error: BaseException) -> RaytaggerError:
    return CorpusError("a file cannot be read or written", got=last_line(error))


def _token(error: BaseException) -> RaytaggerError:
    return SettingsError(
        "the cluster asks for a token",
        got=(str(error).splitlines() or [""])[0][:150],
        remedy="Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH (a file) or RAY_AUTH_TOKEN to the cluster's token.",
    )


def _ray(error: BaseException) -> RaytaggerError:
    return CapacityError(
        "the cluster failed",
        got=last_line(error),
        remedy="Start the command again, what is finished is kept; `raytagger doctor` checks Ray.",
    )


MEANINGS: dict[str, Callable[[BaseException], RaytaggerError]] = {
    "OSError": _operating_system,
    "MemoryError": _memory,
    "ArrowMemoryError": _memory,
    "OutOfMemoryError": _memory,
    "AuthenticationError": _token,
    "DeltaError": _delta,
    "pyarrow": _arrow,
    "ray": _ray,
}


def _room(kind: type) -> str:
    return kind.__module__.split(".")[0]


def last_line(error: BaseException) -> str:
    """The line of a message or of a traceback that tells what was raised."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    raised = [line for line in lines if RAISED.match(line)]
    return (raised or lines or [type(error).__name__])[-1][:300].rstrip(".")
