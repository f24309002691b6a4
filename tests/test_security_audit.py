"""``make audit``: clean only where every package of every lock was asked about, and nothing was found."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ["requirements.lock", "requirements-dev.lock", "dags/requirements.lock"]

FOUND = "echo 'Found 2 known vulnerabilities in 1 package'; echo 'aiohttp 3.0.0 PYSEC-2099-1'; exit 1"
NOT_ASKED = "echo Traceback >&2; echo 'ConnectionError: no such host' >&2; exit 1"


def audit(folder: Path, says: str) -> subprocess.CompletedProcess[str]:
    """Runs it with a pip-audit that says this of the locks for development, and of the others nothing bad."""
    stand_in = folder / "audit" / "bin" / "pip-audit"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {folder}/asked\ncase "$*" in *-dev.lock) {says};; esac\n')
    stand_in.chmod(0o755)
    command = ["make", "--no-print-directory", "audit", f"VENV={folder}"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_clean_locks(tmp_path: Path) -> None:
    answer = audit(tmp_path, "true")
    assert answer.returncode == 0, answer.stderr
    asked = (tmp_path / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked] == LOCKS
    assert all("--strict" in line for line in asked)
    assert answer.stderr.splitlines() == [f"{lock}: no known vulnerability" for lock in LOCKS]


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (
            FOUND,
            "requirements-dev.lock: VULNERABLE\nFound 2 known vulnerabilities in 1 package\naiohttp 3.0.0",
        ),
        (
            NOT_ASKED,
            "requirements-dev.lock: NOT AUDITED, nobody could be asked: ConnectionError: no such host",
        ),
    ],
)
def test_what_is_found_or_cannot_be_asked_is_told_and_fails(tmp_path: Path, says: str, told: str) -> None:
    answer = audit(tmp_path, says)
    assert answer.returncode
    assert told in answer.stderr
    assert "dags/requirements.lock: no known vulnerability" in answer.stderr  # the others are asked about too
