"""The rule for how a build may end, and for what it says then."""

import re
import signal

from tests.drill.process import HANG, Ended

_STATUS = {0: "well", 1: "with status 1", 2: "with status 2", 130: "stopped", HANG: "never"}

# What stands in a message tells what a person can do.
_TO_DO = re.compile(
    r"again|delete it|make room|free|raise|ulimit|may be written|name another|wait for it|give another", re.I
)

# Words of their own for what a person can mend: what says it happened → what must be said with it.
_OWN_WORDS = {
    r"no space left|disk is full|quota": r"make room",
    r"too many open files": r"ulimit -n",
    r"read-only|permission denied": r"written",
}


def ending(ended: Ended) -> str:
    """How a build ended, in a word or two."""
    if ended.status in _STATUS:
        return _STATUS[ended.status]
    return f"by {signal.Signals(-ended.status).name}" if ended.status < 0 else f"with status {ended.status}"


def not_stopped(ended: Ended) -> tuple[str, ...]:
    """What is against a command that ended otherwise than stopped, though a Ctrl-C has struck it."""
    if ended.status in {130, -signal.SIGINT}:
        return ()
    return (f"after a Ctrl-C it ended {ending(ended)}: {ended.said.strip()[-700:]}",)


def complaints(ended: Ended) -> list[str]:
    """What is against the rule in how a command ended: empty where nothing is."""
    found = []
    if ended.status not in _STATUS and ended.status not in {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT}:
        found.append(f"it ended {ending(ended)}")
    if ended.status == HANG:
        found.append("it hung")
    if "Traceback" in ended.said or "Exception ignored" in ended.said:
        found.append("a traceback")
    if ended.status in (1, 2):
        if "error:" not in ended.said and "problem" not in ended.said:
            found.append("no error is told")
        elif not _TO_DO.search(ended.said):
            found.append("nothing is said of what to do")
        found += [
            f'"{what}" without "{then}"'
            for what, then in _OWN_WORDS.items()
            if re.search(what, ended.said, re.I) and not re.search(then, ended.said, re.I)
        ]
    return [f"{one}: {ended.said.strip()[-700:]}" for one in found]
