"""What a removal has done, in words."""

from collections import Counter

from pipeline.remove.removal import Removal
from pipeline.remove.targets import NEAR_DUPLICATE, SAME_PAGE, SAME_TEXT

_NUM_SHOWN = 20  # links that are named

_WITH = {
    NEAR_DUPLICATE: "near-duplicates of them",
    SAME_TEXT: "with the very same text",
    SAME_PAGE: "that lead to the same page",
}


def render(removal: Removal, run: str, *, dry_run: bool) -> str:
    """The lines that ``webtext remove`` prints.

    Args:
        removal: What was removed, or would be.
        run: The run, as the user names it.
        dry_run: Whether nothing was changed.
    """
    lines = [_links(removal, dry_run=dry_run)]
    if dry_run:
        lines += _members(removal)
    if removal.records:
        lost = ", ".join(f"{stage} {num:,}" for stage, num in removal.records.items())
        lines.append(f"records fewer by stage: {lost}")
    if removal.parts:
        verb = "to be written anew" if dry_run else "written anew"
        parts = ", ".join(f"{stage} {num:,}" for stage, num in removal.parts.items())
        num_files = sum(len(names) for names in removal.files.values())
        lines.append(f"parts {verb}: {parts} ({_number(num_files, 'file')}); all others stay as they are")
    if dry_run:
        lines += [f"  {folder}/{name}" for folder, names in removal.files.items() for name in names]
    lines += [f"nothing in the run matches {where}" for where in removal.unmatched]
    if removal.refused:
        names = {"keys": "URL", "domains": "domain", "submissions": "submission"}
        refused = ", ".join(_number(num, names[what]) for what, num in removal.refused.items())
        lines.append(f"later builds of this run {'would ' if dry_run else ''}refuse {refused}")
    lines += _remarks(removal, run, dry_run=dry_run)
    return "\n".join(lines)


def _links(removal: Removal, *, dry_run: bool) -> str:
    if not removal.links:
        return "nothing in the run is to be removed" if dry_run else "nothing in the run was to be removed"
    reasons = Counter(link["why"] for link in removal.links)
    others = [f"{reasons[why]:,} {words}" for why, words in _WITH.items() if reasons[why]]
    verb = "would go" if dry_run else "removed"
    links = _number(len(removal.links), "link")
    links = f"{links} with {_number(removal.records.get('extract', 0), 'document')}"
    return f"{links} {verb}: {', '.join([f'{removal.num_asked:,} asked for', *others])}"


def _number(num: int, what: str) -> str:
    return f"{num:,} {what}{'' if num == 1 else 's'}"


def _members(removal: Removal) -> list[str]:
    shown = removal.links[:_NUM_SHOWN]
    lines = [f"  {one['id']}  {one['why']}" + (f" of {one['of']}" if one["of"] else "") for one in shown]
    more = len(removal.links) - _NUM_SHOWN
    return [*lines, f"  and {more:,} more (--json names all)"] if more > 0 else lines


def _remarks(removal: Removal, run: str, *, dry_run: bool) -> list[str]:
    lines = []
    if not removal.has_clusters and removal.links:
        lines.append(
            "dedupe is not finished, so that near-duplicates are not known: remove the same again when it is"
        )
    if removal.left:
        lines.append(
            f"not finished, and left to the next `webtext build`: {', '.join(removal.left)}; what these had "
            "of it goes all the same"
        )
    if removal.has_report:
        verb = "goes" if dry_run else "is gone"
        lines.append(f"the report {verb}, since it quotes texts: `webtext report {run}` makes it anew")
    if removal.has_checkpoints and removal.links:
        lines.append(f"{run}/checkpoints stays: models trained before have seen these texts")
    return lines
