"""Starts the build again and again, lets each fault strike it, and compares what it comes to."""

import os
import random
import time
from collections import Counter
from itertools import groupby
from pathlib import Path

from rich.console import Console

from tests.drill import faults
from tests.drill.comparison import build_from_its_pages, differences, other_bytes, times_answered
from tests.drill.deal import Round, Wanted, deal
from tests.drill.disk import Disk, small_disk
from tests.drill.process import Ended
from tests.drill.scene import REASONS, SETTINGS, Scene
from tests.drill.table import IN_BETWEEN, THE_END, Line, never_struck
from tests.drill.web import Web, between
from tests.drill.words import complaints, ending
from webtext.demo.dump import write_dump
from webtext.demo.run import demo_settings
from webtext.demo.server import serve
from webtext.demo.site import build_site
from webtext.settings import render

_DISK_BYTES = 400_000_000
_MOST_MENDING = 12
_READ_ONLY = ("read-only on the way", "read-only from the start")  # for which root needs a mount


class Supervisor:
    """Drills one build.

    Args:
        folder: For all of it; made where it is not there.
        wanted: How much of it.
        seed: Of all that is by chance.
        console: Where to say how it goes.
    """

    def __init__(self, folder: Path, wanted: Wanted, seed: int, console: Console) -> None:
        self._folder = folder
        self._wanted = wanted
        self._seed = seed
        self._console = console
        self._led_to: frozenset[str] = frozenset()
        self.lines: dict[str, Line] = {}
        self.not_tried: list[str] = []

    def drill(self) -> bool:
        """Does it all; whether everything was survived."""
        self._folder.mkdir(parents=True, exist_ok=True)
        site = build_site(self._wanted.pages)
        # Other pages lead there too, so that they may well be asked for again.
        self._led_to = frozenset(page.target for page in site.pages.values() if page.target)
        dump = self._folder / "RS_2019-06.zst"
        write_dump(site, dump)
        with (
            serve(site) as server,
            between(server.address, self._seed) as web,
            small_disk(self._folder / "disk", _DISK_BYTES) as disk,
        ):
            undisturbed = self._scene(self._folder / "undisturbed", dump, server.resolve, web, disk)
            self._say("an undisturbed build")
            self._must(undisturbed, "build", SETTINGS)
            before = times_answered(web.answers)
            scene = self._scene(disk.path / "drilled", dump, server.resolve, web, disk)
            self._all_rounds(scene)
            self._conclude(scene, undisturbed)
            self._blame_what_never_struck(disk)
            self._say_what_was_asked_again(times_answered(web.answers) - before - before)
        return not any(line.complaints for line in self.lines.values())

    def _scene(self, folder: Path, dump: Path, resolve: dict[str, str], web: Web, disk: Disk) -> Scene:
        (folder / "tmp").mkdir(parents=True)
        settings = demo_settings(dict.fromkeys(resolve, web.address))
        changed = {  # small parts, so that there are many; a crawl that takes a while
            "link": settings.link.model_copy(update={"submissions_per_part": 60}),
            "fetch": settings.fetch.model_copy(update={"delay_s": 0.1}),
            "tokenizer": settings.tokenizer.model_copy(update={"vocab_size": 1000}),
            "shard": settings.shard.model_copy(update={"tokens_per_shard": 60_000}),
        }
        text = render(settings.model_copy(update=changed)).replace('dumps = ["', f'dumps = ["{dump.parent}/')
        (folder / SETTINGS).write_text(text, "utf-8")
        return Scene(folder, web, disk, self._folder / "said.txt")

    # --- the rounds ---------------------------------------------------------------------------------------

    def _all_rounds(self, scene: Scene) -> None:
        if not scene.disk.is_mounted:
            self.not_tried.append("ENOSPC and a read-only file system for root: nothing may be mounted here")
        if faults.faketime() is None:
            self.not_tried.append("another clock: libfaketime is not installed (make drill installs it)")
        for stage, rounds in groupby(deal(self._wanted, self._seed), lambda one: one.moment.stage):
            for one in rounds:
                self._round(scene, one)
            if stage == "fetch":
                self._heal(scene)

    def _round(self, scene: Scene, dealt: Round) -> None:
        """One fault, and what is against the rules in what came of it."""
        name, fault, moment, seed = dealt
        self._begin(scene)
        scene.chance = random.Random(seed)
        began = time.monotonic()
        tried = fault(scene, moment)
        line = self.lines.setdefault(name, Line())
        line.tried += 1
        if tried.struck:
            line.struck += 1
            line.stages[moment.stage] = line.stages.get(moment.stage, 0) + 1
            how = ending(tried.ended)
            line.ended[how] = line.ended.get(how, 0) + 1
        wrong = [*tried.complaints, *complaints(tried.ended), *self._fetched_twice(scene)]
        line.complaints += [f"round {scene.web.round}, {moment.stage}: {one}" for one in wrong]
        deleted = scene.obey(tried.ended.said)
        self._say(
            f"{scene.web.round:3d} {moment.stage:9s} {name}: {ending(tried.ended)}"
            f"{'' if tried.struck else ' (missed)'}, {time.monotonic() - began:.1f} s {tried.note}"
            f"{' deleted ' + ' '.join(path.name for path in deleted) if deleted else ''}"
            f"{' ✗ ' + wrong[0] if wrong else ''}"
        )

    def _begin(self, scene: Scene) -> None:
        scene.count_settled()
        scene.web.round += 1

    def _fetched_twice(self, scene: Scene) -> list[str]:
        """Pages that the run had when the round began, and that came through in it all the same."""
        came = [one for one in scene.web.answers if one.round == scene.web.round and one.status == 200]
        places = {(one.host, one.path) for one in came if one.url not in self._led_to}
        again = sorted(places & scene.settled)
        return [f"{len(again)} pages were fetched twice, as {again[0]}"] if again else []

    # --- what comes after ---------------------------------------------------------------------------------

    def _heal(self, scene: Scene) -> None:
        """Brings fetch to its end, and has what the network's faults cost tried again, as a person would."""
        self._finish(scene, "build", SETTINGS, "--until", "fetch")
        self._finish(scene, "retry", "run", "--reason", REASONS)

    def _finish(self, scene: Scene, *arguments: str) -> None:
        """Runs a command until it ends well, doing what it says each time it does not."""
        line = self.lines.setdefault(IN_BETWEEN, Line())
        for _ in range(_MOST_MENDING):
            self._begin(scene)
            ended = scene.do(*arguments)
            line.tried += 1
            line.complaints += [*complaints(ended), *self._fetched_twice(scene)]
            if ended.status == 0:
                return
            deleted = scene.obey(ended.said)
            self._say(f"    {ended.said.strip()[-300:]} → {[path.name for path in deleted]}")
            if arguments[0] == "retry":
                self._finish(scene, "build", SETTINGS, "--until", "fetch")
            elif not deleted:
                break
        raise SystemExit(f"webtext {' '.join(arguments)} does not end well: {ended.said[-2000:]}")

    def _must(self, scene: Scene, *arguments: str) -> Ended:
        ended = scene.do(*arguments)
        if ended.status:
            raise SystemExit(f"webtext {' '.join(arguments)} failed: {ended.said[-3000:]}")
        return ended

    def _conclude(self, scene: Scene, undisturbed: Scene) -> None:
        """Has all damage mended that verify names, and compares."""
        line = self.lines.setdefault(THE_END, Line())
        self._finish(scene, "build", SETTINGS)
        for _ in range(_MOST_MENDING):
            verified = scene.do("verify", "run")
            if verified.status == 0:
                break
            self._say(f"    verify: {verified.said.strip()[-1500:]}")
            if not scene.obey(verified.said):
                line.complaints.append(f"verify finds what is not mended: {verified.said[-1500:]}")
                return
            self._finish(scene, "build", SETTINGS)
        line.complaints += differences(scene.run, undisturbed.run)
        again = Scene(self._folder / "again", scene.web, scene.disk, scene.log)
        again.temporary.mkdir(parents=True)
        (again.folder / SETTINGS).write_bytes((scene.folder / SETTINGS).read_bytes())
        build_from_its_pages(scene.run, again.run)
        self._must(again, "build", SETTINGS)
        others = other_bytes(scene.run, again.run)
        line.complaints += [f"{name}: other bytes from the same pages" for name in others]
        self._must(scene, "report", "run")
        left = sorted(path.name for path in scene.temporary.iterdir() if not _is_beams_and_empty(path))
        line.complaints += [f"left among temporary files: {name}" for name in left]

    def _blame_what_never_struck(self, disk: Disk) -> None:
        """A drill that strikes nothing has shown nothing."""
        excused = () if disk.is_mounted or os.geteuid() else _READ_ONLY
        for name, complaint in never_struck(self.lines, excused).items():
            self.lines.setdefault(name, Line()).complaints.append(complaint)

    def _say_what_was_asked_again(self, more: Counter[tuple[str, str]]) -> None:
        pages = [place for place in more if f"http://{place[0]}{place[1]}" not in self._led_to]
        self._say(
            f"pages that came through more than once: {len(pages)}; of none of them a line of a journal or a "
            "ledger told when the build before had ended"
        )

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _is_beams_and_empty(path: Path) -> bool:
    """Whether a kill came between two lines: where Beam makes its folder, and where ours deletes it."""
    return path.name.startswith("beam-pipeline-temp") and not any(path.iterdir())
