"""The published packages that a local Flink cluster is made of, kept in a cache outside the checkout."""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

FLINK = "1.19.3"
JOB_SERVER = "2.62.0"  # as pom.xml says

_POM = Path(__file__).with_name("pom.xml")

# Beam sends its whole class path, 150 MB, along with each job, but not what lies in a folder of this name; a
# cluster that has Beam's classes itself needs none of it.
_NOT_SENT = Path("gradle/wrapper")

# What Beam's job server opens of Java's own modules.
_OPENED = (
    "java.lang java.util java.net java.io java.nio java.time java.util.concurrent "
    "java.util.concurrent.atomic java.util.concurrent.locks sun.nio.ch"
)


@dataclass(frozen=True, slots=True)
class Packages:
    """Where the jars are.

    Attributes:
        flink: The folder of Flink's own.
        memory: The folder of those that compute how a process's memory is divided.
        beam: The folder of Beam's, without Flink's.
        job_server: One jar that starts Beam's job server with all of its own beside it.
    """

    flink: Path
    memory: Path
    beam: Path
    job_server: Path


class PackageError(Exception):
    """A package cannot be had; the message says which, and what to do."""


def cache() -> Path:
    """The folder that what is downloaded stays in."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "webtext" / "flink"


def fetch() -> Packages:
    """All packages, downloaded where the cache lacks them: 230 MB from PyPI, 152 MB from a Maven repository.

    Raises:
        PackageError: A program or a package is missing.
    """
    for program, package in (("java", "a JDK 17 (openjdk-17-jdk-headless)"), ("mvn", "Maven (maven)")):
        if shutil.which(program) is None:
            raise PackageError(f"{program} is not there: install {package}. Only a local cluster needs it.")
    flink = whole_folder(cache() / f"flink-{FLINK}", _fetch_flink)
    server = whole_folder(cache() / f"flink-job-server-{JOB_SERVER}", _fetch_job_server)
    return Packages(flink / "lib", flink / "bin", server / _NOT_SENT / "beam", server / "job-server.jar")


def whole_folder(folder: Path, fill: Callable[[Path], None]) -> Path:
    """A folder that is there whole or not at all: filled beside its place, once."""
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
            made = Path(temporary) / folder.name
            made.mkdir()
            fill(made)
            try:
                made.rename(folder)
            except OSError:
                if not folder.exists():  # else another process was faster
                    raise
    return folder


def _fetch_flink(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache()) as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation"]
        package = f"apache-flink-libraries=={FLINK}"
        _run([*pip, "--no-binary=:all:", "--dest", temporary, package], f"Flink ({package})")
        (archive,) = Path(temporary).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            for member in tar:
                place = Path(member.name)
                source = tar.extractfile(member) if place.suffix == ".jar" else None
                if source is None or place.parent.name not in ("lib", "bin"):
                    continue
                target = folder / place.parent.name / place.name
                target.parent.mkdir(exist_ok=True)
                with source, target.open("wb") as file:
                    shutil.copyfileobj(source, file)


def _fetch_job_server(folder: Path) -> None:
    beam, flink = folder / _NOT_SENT / "beam", folder / _NOT_SENT / "flink"
    maven = ["mvn", "--quiet", "--batch-mode", "--file", str(_POM), "dependency:copy-dependencies"]
    what = "Beam's Flink job server (org.apache.beam:beam-runners-flink-1.19)"
    _run([*maven, "-DincludeScope=runtime", f"-DoutputDirectory={beam}"], what)
    flink.mkdir()
    for jar in sorted(beam.glob("*.jar")):
        if jar.name.startswith(("flink-", "slf4j-")):  # a cluster has its own
            jar.rename(flink / jar.name)
    jars = [str(jar.relative_to(folder)) for jar in sorted(folder.rglob("*.jar"))]
    write_starter(folder / "job-server.jar", jars)


def write_starter(path: Path, jars: Sequence[str]) -> None:
    """Writes a jar without classes, whose manifest names the others: ``java -jar`` starts it."""
    fields = {
        "Manifest-Version": "1.0",
        "Main-Class": "org.apache.beam.runners.flink.FlinkJobServerDriver",
        "Add-Opens": " ".join(f"java.base/{name}" for name in _OPENED.split()),
        "Class-Path": " ".join(jars),
    }
    lines = []
    for name, value in fields.items():
        line = f"{name}: {value}"
        lines.append(line[:70])  # a line of a manifest has 72 bytes at most, and goes on behind a space
        lines += [f" {line[at : at + 69]}" for at in range(70, len(line), 69)]
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "\r\n".join(lines) + "\r\n\r\n")


def _run(command: Sequence[str], what: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PackageError(f"{what} cannot be downloaded:\n{(done.stdout + done.stderr).strip()[-2000:]}")
