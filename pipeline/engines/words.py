"""What engines say when they fail, put into words: what is wrong, and what to do."""

import re

# What stands in a trace → what it means. The first that fits is said.
_MEANINGS = {
    r"Cannot run program \"docker\"": (
        "a task manager cannot start the workers in Docker: give --environment_type=PROCESS, or install "
        "Docker there"
    ),
    r"Cannot run program \"([^\"]+)\"": (
        "a task manager cannot start the workers' program {0}: install webtext on every machine of the "
        "cluster, and name its webtext-worker there by --environment_option=process_command=PATH"
    ),
    r"IOException: error=(?:2|13), ": (
        "a task manager cannot start the workers' program: install webtext on every machine of the cluster, "
        "and name its webtext-worker there by --environment_option=process_command=PATH"
    ),
    r"Process died with exit code (\d+)": (
        "the workers' program ended with status {0} before it took any work: start it by hand where a task "
        "manager runs, and see what it says (often: its environment has no Beam)"
    ),
    r"No module named '(\w+)[\w.]*'": (
        "a worker's environment lacks the package {0}: install the same webtext there as here"
    ),
    r"FileNotFoundError": (
        "a file of the run is not there, or cannot be seen from where the work is done: machines need one "
        "folder together or an object store, and no other build may be at work in this run"
    ),
    r"NoResourceAvailable|Could not acquire the minimum required resources": (
        "the cluster has no free slot: wait for its other jobs or cancel them, start more task managers, or "
        "give a smaller --parallelism"
    ),
    r"InvalidClassException|UnsupportedClassVersionError|NoSuchMethodError|local class incompatible": (
        "the job server was made for another version of Flink, or of Java, than the cluster's: start the one "
        "for the cluster's version"
    ),
    r"RestClusterClient|JobSubmission.*[Cc]onnection refused|ConnectTimeoutException": (
        "the job server does not reach its Flink cluster: see that the cluster runs, and where the job "
        "server's --flink-master points"
    ),
    r"ConnectException|UNAVAILABLE: io exception": (
        "something does not answer: the Flink cluster to the job server (its --flink-master), or a worker "
        "pool to its task manager (--environment_config)"
    ),
    r"Insufficient number of network buffers": (
        "the task managers have too little network memory for this stage: set taskmanager.memory.network.min "
        "and .max to 512m, and taskmanager.network.sort-shuffle.min-buffers to 64 (docs/engines.md)"
    ),
}

_CAUSE = re.compile(r"^\s*Caused by: (.+)$", re.M)
_PYTHON = re.compile(r"^(\w[\w.]*(?:Error|Exception): .+)$", re.M)
_CLASS = re.compile(r"^(?:[\w$]+\.)+[\w$]+: ")


def meaning(trace: str) -> str | None:
    """What an engine's error means for people; None where it is none that is known."""
    for pattern, words in _MEANINGS.items():
        found = re.search(pattern, trace)
        if found:
            return words.format(*found.groups())
    return None


def last_words(trace: str) -> str:
    r"""The line of a trace that says most: Java's last cause without its classes, else the last line.

    >>> last_words("java.lang.Error: all\n\tat a.B(C.java:1)\nCaused by: java.io.IOException: no room")
    'no room'
    """
    causes = _CAUSE.findall(trace)
    line: str = causes[-1] if causes else (trace.strip().splitlines() or [""])[-1]
    if line.endswith("Traceback (most recent call last):"):  # Python's, inside of Java's
        line = ([line.removesuffix("Traceback (most recent call last):"), *_PYTHON.findall(trace)])[-1]
    while _CLASS.match(line):
        line = _CLASS.sub("", line, count=1)
    return line.strip()
