"""What can happen to a build: each fault is a function that starts one, strikes, and takes itself back."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.stages import STAGES
from tests.drill.disk import read_only
from tests.drill.process import Ended, Limits, Moment
from tests.drill.scene import SETTINGS, Scene
from tests.drill.web import Mode
from tests.drill.words import not_stopped

_FAKETIME = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/lib*/faketime/libfaketime.so.1")
_ORPHANS_END_S = 20.0


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of a fault: whether it struck, and how the build ended; complaints, if there are any."""

    struck: bool
    ended: Ended
    complaints: tuple[str, ...] = ()
    note: str = ""


FOLDERS = {stage.name: stage.folder for stage in STAGES}

Fault = Callable[[Scene, Moment], Tried]


def kill_all(scene: Scene, moment: Moment) -> Tried:
    """Kill -9 of the whole process group."""
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    command.signal_all(signal.SIGKILL)
    return Tried(struck, command.wait())


def kill_main(scene: Scene, moment: Moment) -> Tried:
    """Kill -9 of the build's own process alone: its children must not go on without it."""
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    children = command.descendants()
    command.process.kill()
    ended = command.wait()
    left = _wait_for_the_end(children)
    for pid in left:
        _kill(pid)
    complaints = [f"process {pid} outlived its build by {_ORPHANS_END_S:.0f} s" for pid in left]
    return Tried(struck, ended, tuple(complaints))


def kill_child(scene: Scene, moment: Moment) -> Tried:
    """Kill -9 of one of the build's children: a worker, an extracting process, the one that writes pages."""
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    children = command.descendants()
    while struck and not children and command.is_running():  # they may be about to be started
        time.sleep(0.01)
        children = command.descendants()
    if struck and children:
        _kill(scene.chance.choice(children))
    return Tried(struck and bool(children), command.wait())


def terminate(scene: Scene, moment: Moment) -> Tried:
    """SIGTERM to the build's own process, as a service manager or a shell sends it."""
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    children = command.descendants()
    if struck:
        command.process.send_signal(signal.SIGTERM)
    ended = command.wait()
    left = _wait_for_the_end(children)
    for pid in left:
        _kill(pid)
    return Tried(struck, ended, tuple(f"process {pid} outlived its build" for pid in left))


def interrupt(scene: Scene, moment: Moment) -> Tried:
    """Ctrl-C: SIGINT to the whole group, of which nothing fails."""
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    if struck:
        command.signal_all(signal.SIGINT)
    ended = command.wait()
    return Tried(struck, ended, not_stopped(ended) if struck else ())


def second_build(scene: Scene, moment: Moment) -> Tried:
    """A second build beside the first is refused; when the first is killed (-9), the next is not."""
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    complaints = []
    if struck:
        second = scene.do("build", SETTINGS, "--until", "collect")
        if command.is_running() and (second.status != 1 or "another build is at work" not in second.said):
            complaints.append(f"a second build was not refused: status {second.status}")
        command.process.kill()
        ended = command.wait()
        third = scene.do("build", SETTINGS, "--until", "collect")
        if third.status:
            complaints.append(f"the lock outlived its owner: {third.said.strip()[-300:]}")
        return Tried(struck, ended, tuple(complaints))
    return Tried(struck, command.wait())


def full_disk(scene: Scene, moment: Moment) -> Tried:
    """ENOSPC: some kilobytes are left, and are soon gone."""
    if not scene.disk.is_mounted:
        return _small_files(scene, moment)
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    scene.disk.fill(scene.chance.choice([0, 0, 4096, 65_536, 300_000]))
    try:
        return Tried(struck, command.wait())
    finally:
        scene.disk.clear()


def _small_files(scene: Scene, moment: Moment) -> Tried:
    """EFBIG in place of ENOSPC, where no disk of one's own can be had."""
    command = scene.start(moment, Limits(file_bytes=scene.chance.choice([1000, 20_000, 200_000])))
    return Tried(scene.reach(command, moment), command.wait())


def unwritable(scene: Scene, moment: Moment) -> Tried:
    """A folder of the run, or all of it, becomes read-only."""
    folder = scene.run / scene.chance.choice(["", FOLDERS.get(moment.stage, "")])
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    with read_only(folder if folder.exists() else scene.run) as is_had:
        return Tried(struck and is_had, command.wait())


def unwritable_from_the_start(scene: Scene, moment: Moment) -> Tried:
    """The run is read-only when the build begins."""
    scene.run.mkdir(exist_ok=True)
    with read_only(scene.run) as is_had:
        return Tried(is_had, scene.start(moment).wait())


def few_files(scene: Scene, moment: Moment) -> Tried:
    """RLIMIT_NOFILE: too few file handles, in all processes."""
    command = scene.start(moment, Limits(num_files=scene.chance.choice([16, 24, 32, 40, 52, 64, 96])))
    scene.reach(command, moment)
    command.signal_all(0)
    try:
        return Tried(True, command.wait(60))
    finally:
        command.signal_all(signal.SIGKILL)


def flipped_bit(scene: Scene, moment: Moment) -> Tried:
    """A bit of a file of the run is another; then the build goes on, as if nobody had noticed."""
    path = _flip(scene)
    command = scene.start(moment)
    scene.reach(command, moment)
    command.signal_all(signal.SIGKILL)
    return Tried(path is not None, command.wait(), note=f"{path}")


def flipped_bit_verified(scene: Scene, _: Moment) -> Tried:
    """A bit of a finished file is another; `webtext verify` says which file, and what to do."""
    path = _flip(scene, committed=True)
    if path is None:
        return Tried(False, Ended(0, ""))
    ended = scene.do("verify", "run")
    complaints = []
    if ended.status != 1 or str(path.relative_to(scene.run)) not in ended.said:
        complaints.append(f"verify does not name {path.relative_to(scene.run)}: {ended.said[-300:]}")
    return Tried(True, ended, tuple(complaints), f"{path.relative_to(scene.run)}, and verify was asked")


def _flip(scene: Scene, *, committed: bool = False) -> Path | None:
    files = [path for path in scene.finished_files() if path.stat().st_size and path.parent != scene.run]
    if committed:
        files = [path for path in files if (path.parent / "manifest.json").exists()]
        files = [path for path in files if path.parent.name in FOLDERS.values()]
    if not files:
        return None
    # Every folder and kind of file as often as any other, however many there are of it.
    kinds: dict[tuple[str, str], list[Path]] = {}
    for path in files:
        kinds.setdefault((path.parent.name, path.name.partition(".")[2]), []).append(path)
    path = scene.chance.choice(kinds[scene.chance.choice(sorted(kinds))])
    data = bytearray(path.read_bytes())
    data[scene.chance.randrange(len(data))] ^= 1 << scene.chance.randrange(8)
    path.write_bytes(data)
    return path


def other_clock(scene: Scene, moment: Moment) -> Tried:
    """The clock is years ahead, or behind, or jumps in the middle; and files have times in the future."""
    library = faketime()
    future = time.time() + 10 * 365 * 86_400
    for path in scene.finished_files():
        if scene.chance.random() < 0.3:
            os.utime(path, (future, future))
    if library is None:
        command = scene.start(moment)
        struck = scene.reach(command, moment)
        command.signal_all(signal.SIGKILL)
        return Tried(struck, command.wait())
    shift = scene.folder / "shift.txt"
    ahead = ["+400d", "+3000d"] if moment.stage == "fetch" else ["+400d", "-3000d"]
    shift.write_text(scene.chance.choice(["+0", *ahead]) + "\n")
    environment = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(shift),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_DONT_RESET": "1",
        "NO_FAKE_STAT": "1",
    }
    command = scene.start(moment, Limits(environment=environment))
    struck = scene.reach(command, moment)
    shift.write_text(scene.chance.choice(ahead) + "\n")
    time.sleep(scene.chance.choice([0.5, 2.0]))
    command.signal_all(signal.SIGKILL)
    return Tried(struck, command.wait())


def faketime() -> Path | None:
    """The library that shifts a process's clock, where it is installed."""
    return next((path for pattern in _FAKETIME for path in Path("/").glob(pattern[1:])), None)


def leftovers(scene: Scene, moment: Moment) -> Tried:
    """Halves of files, as a power cut leaves them: temporary names, torn journals, WARC files without end."""
    for folder in (scene.run, scene.run / FOLDERS.get(moment.stage, "")):
        if folder.is_dir():
            (folder / f"part-00000.parquet.{'0' * 32}.tmp").write_bytes(b"PAR1 half")
            (folder / f"part-00001.json.{'1' * 32}.tmp").write_bytes(b'{"name": "part-0')
    opened = scene.run / "pages" / "open"
    for path in [*opened.glob("*.journal"), *opened.glob("*.warc.gz")] if opened.is_dir() else []:
        with path.open("ab") as file:
            file.write(b"0123456789abcdef half a li")
    command = scene.start(moment)
    struck = scene.reach(command, moment)
    command.signal_all(signal.SIGKILL)
    return Tried(struck, command.wait())


def failing_web(mode: Mode) -> Fault:
    """The web answers as the mode says, some of it or all of it, for a while; then the build is killed."""

    def fault(scene: Scene, moment: Moment) -> Tried:
        scene.web.share = scene.chance.choice([0.1, 0.3, 1.0])
        command = scene.start(moment)
        struck = scene.reach(command, moment)
        scene.web.mode = mode
        time.sleep(scene.chance.uniform(0.3, 2.0))
        command.signal_all(signal.SIGKILL)
        ended = command.wait()
        scene.web.mode = Mode.HONEST
        return Tried(struck, ended)

    fault.__doc__ = f"{mode.value}."
    return fault


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _wait_for_the_end(pids: list[int]) -> list[int]:
    deadline = time.monotonic() + _ORPHANS_END_S
    left = pids
    while left and time.monotonic() < deadline:
        left = [pid for pid in left if _is_alive(pid)]
        time.sleep(0.05)
    return left


def _is_alive(pid: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:4]
    except OSError:
        return False
