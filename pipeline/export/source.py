"""What an export is made from: the finished shards of a run, and the corpus and tokenizer they came from."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pipeline.errors import InputError, RunError
from pipeline.remove.removal import refuse_while_pending
from pipeline.runs import File, Folder, Manifest, true_size
from pipeline.shard.split import SPLITS
from pipeline.stages import BY_NAME
from pipeline.status import require_run, require_stage
from tokenizer.files import TOKENIZER_JSON, parse_tokenizer_json
from tokenizer.vocabulary import Vocabulary

_BLOCK_BYTES = 1 << 20  # read at once


@dataclass(frozen=True, slots=True)
class Source:
    """A run whose shards are finished.

    Attributes:
        run: The run directory.
        shards: The manifest of its shards.
        tokenizer_files: The files of the tokenizer that made the shards, by name.
        vocabulary: What they say.
    """

    run: Folder
    shards: Manifest
    tokenizer_files: Mapping[str, bytes]
    vocabulary: Vocabulary

    @property
    def folder(self) -> Folder:
        """Where the shards are."""
        return self.run / BY_NAME["shard"].folder

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that hold tokens, in their order."""
        return tuple(split for split in SPLITS if self.num_tokens(split))

    def num_tokens(self, split: str) -> int:
        """The tokens of a split, end-of-text with them."""
        return sum(file.rows for file in self.token_files(split))

    def num_documents(self, split: str) -> int:
        """The documents of a split."""
        return sum(file.rows for file in self._files(split, ".idx") if ".sentences" not in file.name)

    @property
    def vocab_size(self) -> int:
        """The number of ids, special tokens with them."""
        return self.vocabulary.vocab_size - 1 + len(self.vocabulary.specials)

    def token_files(self, split: str) -> list[File]:
        """The ``.bin`` files of a split, in the order of the shards."""
        return self._files(split, ".bin")

    def _files(self, split: str, suffix: str) -> list[File]:
        files = (file for part in self.shards.parts for file in part.files)
        return [file for file in files if file.name.startswith(f"{split}-") and file.name.endswith(suffix)]

    def token_blocks(self, split: str) -> Iterator[bytes]:
        """The tokens of a split as they lie in its shards, a block at a time.

        Raises RunError, before a file's last block is given, where its bytes are not those of the manifest.
        """
        for file in self.token_files(split):
            digest = hashlib.sha256()
            num_left = file.bytes
            with self.folder.open(file.name) as stream:
                while num_left:
                    block = stream.read(min(_BLOCK_BYTES, num_left))
                    digest.update(block)
                    num_left -= len(block)
                    if not block or (not num_left and digest.hexdigest() != file.sha256):
                        raise RunError(
                            f"{self.folder.uri}/{file.name} is damaged (its SHA-256 is not its manifest's): "
                            "`webtext verify` tells what to do."
                        )
                    yield block


def open_source(run: Folder) -> Source:
    """Opens a run to export from.

    Raises:
        InputError: There is no run, its shards are not finished, a file of them is missing or has another
            size than the manifest says, the tokenizer beside them is another, or a removal is under way.
    """
    require_run(run)
    refuse_while_pending(run)
    shards = finished_stage(run, "shard")
    folder = run / BY_NAME["shard"].folder
    check_sizes(folder, [file for part in shards.parts for file in part.files])
    files = _tokenizer_files(run, shards.facts["tokenizer"])
    name = f"{(run / BY_NAME['tokenizer'].folder).uri}/{TOKENIZER_JSON}"
    return Source(run, shards, files, parse_tokenizer_json(files[TOKENIZER_JSON], name))


def _tokenizer_files(run: Folder, made_by: str) -> dict[str, bytes]:
    """The tokenizer's files by name; InputError unless they are whole and ``made_by`` is their SHA-256."""
    folder = run / BY_NAME["tokenizer"].folder
    listed = {file.name: file for part in finished_stage(run, "tokenizer").parts for file in part.files}
    found = {name: data for name in listed if (data := _read(folder, name)) is not None}
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in found.items()}
    if digests.get(TOKENIZER_JSON, made_by) != made_by:
        raise InputError(
            f"{folder.uri}/{TOKENIZER_JSON} is not the tokenizer of the run's shards: its SHA-256 is "
            f"{digests[TOKENIZER_JSON][:12]}…, and theirs {made_by[:12]}…. Run `webtext build` with the "
            "run's settings, and it makes them match."
        )
    for name, file in listed.items():
        if digests.get(name) != file.sha256:
            raise InputError(
                f"{folder.uri}/{name} is missing or is not as its stage has written it: `webtext verify` "
                "tells what to do."
            )
    return found


def _read(folder: Folder, name: str) -> bytes | None:
    try:
        return folder.read(name)
    except FileNotFoundError:
        return None


def finished_stage(run: Folder, stage: str) -> Manifest:
    """The manifest of a finished stage; InputError, naming the command that finishes it, if it is not."""
    return require_stage(
        run,
        stage,
        "and an export is made from what it leaves. Finish it with the run's settings: webtext build FILE "
        f"--until {stage}",
    )


def check_sizes(folder: Folder, files: list[File]) -> None:
    """Raises InputError unless all files are there with their bytes."""
    sizes = folder.sizes()
    for file in files:
        size = true_size(folder, sizes, file.name, file.bytes)
        if size != file.bytes:
            has = "is missing" if size is None else f"has {size:,} bytes, and {file.bytes:,} by its manifest"
            raise InputError(
                f"{folder.uri}/{file.name} {has}: run `webtext build` with the run's settings again."
            )
