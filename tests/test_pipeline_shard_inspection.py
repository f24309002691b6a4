"""`webtext inspect-shard`: figures, documents and their origins, against the corpus; damage told in words."""

import contextlib
import json
import shutil
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pipeline.config import ShardSettings
from pipeline.errors import InputError
from pipeline.plain_table import visible
from pipeline.records import CORPUS
from pipeline.runs import Folder, Manifest
from pipeline.shard.inspection import Inspection, inspect_shard
from pipeline.shard.lineage import ORIGIN, origins
from pipeline.stages import BY_NAME, Job, execute
from tests.command import webtext
from tests.document_parts import document, table, write_parts
from tokenizer.config import TokenizerSettings
from tokenizer.encode import Tokenizer
from tokenizer.errors import TokenizerError
from tokenizer.files import write_tokenizer
from tokenizer.tokenfile import TokenFile, document_index, index_bytes, read_index
from tokenizer.vocabulary import Vocabulary
from webtext.inspecting import render

HOSTILE = "Red \x1b[31malert\x1b]0;title\x07. Left \u202eright\x9b2J.\r\nNul \0 is here."
TEXTS = [
    "Hello there. This is Dr. Smith's café! Was it?",
    "",
    " \n ",
    HOSTILE,
    "これは文です。これも。",
    "word " * 400,
]
EXCERPT = 300
NUM_DOCUMENTS = 60


def make_run(run: Folder) -> dict[str, dict[str, Any]]:
    """A run with a corpus of three parts, a tokenizer and shards; the documents by id."""

    def stage(name: str, settings: Any, **inputs: Manifest) -> Manifest:
        job = Job(BY_NAME[name], run, settings, inputs)
        return execute(job, beam_options=[], watch=lambda *_: contextlib.nullcontext())

    rows = [
        document(
            f"{i:032x}",
            TEXTS[i % len(TEXTS)] + " More." * (i // len(TEXTS)),
            title=f"Number {i} \x1b[0m" if i % 2 else None,
            karma=i,
            submissions=[f"post{i}a", f"post{i}b"],
            created=datetime(2019, 1, 1 + i % 28, tzinfo=UTC) if i % 3 else None,
            warc=f"part-{i // 20:05d}.warc.gz",
            offset=100 * i,
            length=50 + i,
        )
        for i in range(NUM_DOCUMENTS)
    ]
    corpus = write_parts(
        run, "dedupe", [table(rows[i : i + 20], CORPUS) for i in range(0, NUM_DOCUMENTS, 20)]
    )
    tokenizer = stage("tokenizer", TokenizerSettings(vocab_size=280), dedupe=corpus)
    settings = ShardSettings(val_fraction=0.3, tokens_per_shard=3_000)
    stage("shard", settings, dedupe=corpus, tokenizer=tokenizer)
    return {row["id"]: row for row in rows}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("made") / "run"
    return folder, make_run(Folder(str(folder)))


@pytest.fixture(scope="module")
def shards(made: tuple[Path, dict[str, dict[str, Any]]]) -> Path:
    return made[0] / "shards"


@pytest.fixture
def copied(shards: Path, tmp_path: Path) -> Path:
    """The run's shards in a copy of the run, to be damaged."""
    shutil.copytree(shards.parent, tmp_path / "run")
    return tmp_path / "run" / "shards"


@pytest.fixture(scope="module")
def tokenizer(shards: Path) -> Tokenizer:
    return Tokenizer.load(shards.parent / "tokenizer")


def printed(found: Inspection) -> str:
    """What the command prints, as on a terminal."""
    console = Console(file=StringIO(), soft_wrap=True, highlight=False, width=200, color_system=None)
    console.print(*render(found), sep="\n")
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_every_document_leads_back_to_its_row_of_the_corpus(
    made: tuple[Path, dict[str, dict[str, Any]]], tokenizer: Tokenizer
) -> None:
    folder, rows = made
    seen = []
    for path in sorted((folder / "shards").glob("*.bin")):
        found = inspect_shard(path, count=100)
        assert (found.problems, found.remarks) == ((), ())
        assert found.num_documents == len(found.documents) == len(found.origins)
        tokens = np.fromfile(path, "<u2")
        for one in found.documents:
            origin = found.origins[one.number]
            row = rows[origin["id"]]
            assert origin == {name: row[name] for name in ORIGIN}
            own = tokens[one.first_token : one.first_token + one.num_tokens].tolist()
            assert own == [*tokenizer.encode(row["text"]), tokenizer.eot_id]
            assert one.tokens == tuple(own[:16])
            assert one.text is not None
            assert "".join(one.text) == row["text"][:EXCERPT]
            assert one.goes_on == (len(row["text"]) > EXCERPT)
            assert one.num_sentences is not None
            assert len(one.text) == one.num_sentences or one.goes_on
            seen.append(origin["id"])
    assert sorted(seen) == sorted(rows)


def test_sentences_are_shown_as_they_are_cut(shards: Path, tokenizer: Tokenizer) -> None:
    path = shards / "train-00000.bin"
    sentences = TokenFile(path, read_index(shards / "train-00000.sentences.idx"))
    bounds = sentences.index.documents.tolist()
    shown = [one for one in inspect_shard(path, count=100).documents if not one.goes_on]
    assert max(one.num_sentences or 0 for one in shown) > 2
    for one in shown:
        own = [tokenizer.decode(sentences[i]) for i in range(*bounds[one.number : one.number + 2])]
        assert one.text == tuple(own)


@pytest.mark.parametrize("end", [".bin", ".idx", ".sentences.idx"])
def test_any_file_of_a_shard_shows_the_same(shards: Path, end: str) -> None:
    assert inspect_shard(shards / f"train-00000{end}") == inspect_shard(shards / "train-00000.bin")


def test_the_figures_are_those_of_the_files(shards: Path, tokenizer: Tokenizer) -> None:
    found = inspect_shard(shards / "train-00000.bin")
    tokens = np.fromfile(shards / "train-00000.bin", "<u2")
    ends = np.flatnonzero(tokens == tokenizer.eot_id)
    lengths = np.diff(np.concatenate(([-1], ends)))
    assert found.num_tokens == len(tokens)
    assert found.highest_id == tokens.max()
    assert found.vocab_size == tokenizer.vocab_size
    assert found.num_end_of_text == found.num_documents == len(lengths)
    assert found.lengths is not None
    assert (found.lengths.mean, found.lengths.min, found.lengths.median, found.lengths.max) == (
        lengths.mean(), lengths.min(), np.median(lengths), lengths.max()
    )  # fmt: skip
    sentences = read_index(shards / "train-00000.sentences.idx")
    assert found.num_sentences == len(sentences.lengths)
    assert [(one.name, one.bytes, one.sequences, one.checksum) for one in found.files] == [
        ("train-00000.bin", 2 * len(tokens), None, "ok"),
        ("train-00000.idx", (shards / "train-00000.idx").stat().st_size, len(lengths), "ok"),
        ("train-00000.sentences.idx", (shards / "train-00000.sentences.idx").stat().st_size,
         len(sentences.lengths), "ok"),
    ]  # fmt: skip


def test_documents_are_shown_from_the_one_asked_for(shards: Path) -> None:
    path = shards / "train-00000.bin"
    every = inspect_shard(path, count=100).documents
    assert inspect_shard(path, first=2, count=2).documents == every[2:4]
    assert inspect_shard(path, first=len(every) - 1).documents == every[-1:]
    assert inspect_shard(path, count=0).documents == ()
    with pytest.raises(InputError, match=f"no document {len(every)}; it has {len(every)}, from 0"):
        inspect_shard(path, first=len(every))


def test_a_token_leads_to_its_document_and_sentence(shards: Path, tokenizer: Tokenizer) -> None:
    path = shards / "val-00000.bin"
    tokens = np.fromfile(path, "<u2").tolist()
    sentences = read_index(shards / "val-00000.sentences.idx")
    expected = []
    for number, (first, last) in enumerate(zip(sentences.documents, sentences.documents[1:], strict=False)):
        within = [k for k, n in enumerate(sentences.lengths[first:last].tolist()) for _ in range(n)]
        expected += [(number, place, k) for place, k in enumerate([*within, None])]
    assert len(expected) == len(tokens)
    ends = [number for number, token in enumerate(tokens) if token == tokenizer.eot_id]
    for number in {*ends, *(one + 1 for one in ends[:-1]), *range(0, len(tokens), 9)}:
        document_number, place, sentence = expected[number]
        found = inspect_shard(path, token=number)
        token = found.token
        assert token is not None
        assert (token.id, token.document, token.place, token.sentence) == (
            tokens[number], document_number, place, sentence
        )  # fmt: skip
        assert [one.number for one in found.documents] == [document_number]
        around = [*token.before, token.id, *token.after]
        at = number - len(token.before)
        assert around == tokens[at : at + len(around)]
        assert tokenizer.eot_id not in around[: len(token.before)]
        assert token.text is not None
        assert token.text[1] == tokenizer.decode([token.id])
    with pytest.raises(InputError, match="there is no token"):
        inspect_shard(path, token=len(tokens))


def test_the_document_table_s_word_is_held_against_the_index(copied: Path) -> None:
    index = read_index(copied / "train-00000.idx")
    lengths = index.lengths.copy()
    lengths[:2] = [lengths[0] - 1, lengths[1] + 1]
    (copied / "train-00000.idx").write_bytes(index_bytes(document_index("<u2", lengths)))
    found = inspect_shard(copied / "train-00000.bin", count=1)
    assert [one.checksum for one in found.files] == ["ok", "differs", "ok"]
    assert found.problems[0] == "train-00000.idx is not what the manifest lists"
    assert "by the document table" in found.problems[1]
    assert "✗ train-00000.idx is not what the manifest lists" in printed(found)


def test_a_file_that_the_manifest_does_not_list_says_so(copied: Path) -> None:
    for end in (".bin", ".idx"):
        shutil.copy(copied / f"train-00000{end}", copied / f"train-00099{end}")
    found = inspect_shard(copied / "train-00099.bin")
    assert [one.checksum for one in found.files] == ["not listed", "not listed"]
    assert found.origins == {}
    assert found.documents[0].text is not None


def test_a_shard_without_the_corpus_tells_what_it_can(copied: Path) -> None:
    shutil.rmtree(copied.parent / "corpus")
    found = inspect_shard(copied / "train-00000.bin", count=1)
    assert list(found.origins[0]) == ["id"]
    assert found.remarks[0].startswith(f"{copied.parent}/corpus does not have {found.origins[0]['id']}")
    assert found.origins[0]["id"] in printed(found)


def test_another_tokenizer_does_not_decode(copied: Path, tmp_path: Path) -> None:
    write_tokenizer(Vocabulary(()), tmp_path / "other")
    with pytest.raises(InputError, match="other: is another tokenizer"):
        inspect_shard(copied / "train-00000.bin", tokenizer=tmp_path / "other")
    write_tokenizer(Vocabulary(()), copied.parent / "tokenizer")
    found = inspect_shard(copied / "train-00000.bin")
    assert "is not the tokenizer of these shards" in found.remarks[0]
    assert found.documents[0].text is None
    assert found.origins[0]["id"]
    shutil.rmtree(copied.parent / "tokenizer")
    assert inspect_shard(copied / "train-00000.bin").remarks[0].startswith("not decoded: ")


def test_a_shard_whose_index_is_gone_is_not_taken_for_another_form(copied: Path) -> None:
    (copied / "train-00000.idx").unlink()
    assert "train-00000.idx is missing" in inspect_shard(copied / "train-00000.bin").remarks[0]
    (copied / "train-00000.sentences.idx").unlink()
    with pytest.raises(TokenizerError, match=r"train-00000\.idx: is missing.*webtext verify"):
        inspect_shard(copied / "train-00000.bin")


def test_a_pair_by_others_is_read_without_a_run(shards: Path, tmp_path: Path) -> None:
    for theirs, ours in (("a_text.bin", "train-00000.bin"), ("a_text.idx", "train-00000.sentences.idx")):
        shutil.copy(shards / ours, tmp_path / theirs)
    found = inspect_shard(tmp_path / "a_text.idx")
    assert (found.run, found.num_sentences) == (None, len(read_index(tmp_path / "a_text.idx").lengths))
    assert found.documents[0].text is None
    assert "--tokenizer" in found.remarks[0]
    decoded = inspect_shard(tmp_path / "a_text.bin", count=100, tokenizer=shards.parent / "tokenizer")
    ours_decoded = inspect_shard(shards / "train-00000.bin", count=100)
    assert [one.text for one in decoded.documents] == [one.text for one in ours_decoded.documents]


def llm_c(tokens: np.ndarray[Any, np.dtype[np.uint16]], magic: int = 20240520, version: int = 1) -> bytes:
    header = np.zeros(256, "<i4")
    header[:3] = [magic, version, len(tokens)]
    return header.tobytes() + tokens.tobytes()


@pytest.mark.parametrize("rolled", [0, 1])
def test_llm_c_s_and_nanogpt_s_files_are_told_apart(shards: Path, tmp_path: Path, rolled: int) -> None:
    """Rolled by one, end-of-text stands before each document, as llm.c's scripts put it."""
    tokens = np.roll(np.fromfile(shards / "train-00000.bin", "<u2"), rolled)
    (tmp_path / "nano.bin").write_bytes(tokens.tobytes())
    (tmp_path / "llmc.bin").write_bytes(llm_c(tokens))
    ours = inspect_shard(shards / "train-00000.bin", count=100)
    for name, form in (("nano.bin", "headerless"), ("llmc.bin", "llm.c")):
        bare = inspect_shard(tmp_path / name, token=3)
        assert (bare.form, bare.num_tokens, bare.num_documents) == (form, len(tokens), None)
        assert bare.first_tokens == tuple(tokens[:16].tolist())
        assert bare.token is not None
        assert (bare.token.id, bare.token.document, bare.token.text) == (tokens[3], None, None)
        with pytest.raises(InputError, match="no index tells documents apart"):
            inspect_shard(tmp_path / name, first=1)
        found = inspect_shard(tmp_path / name, count=100, tokenizer=shards.parent / "tokenizer")
        assert found.lengths == ours.lengths
        texts = [["".join(one.text or ()) for one in each.documents] for each in (found, ours)]
        assert texts[0] == texts[1]
    assert "uint16 tokens as nanoGPT stores them" in inspect_shard(tmp_path / "nano.bin").remarks[0]


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.bin", b"\1\2\3", "a.bin: has 3 bytes, and no index or header"),
        ("a.txt", b"plain text", "a.txt: offset 0: begins with b'plain tex'"),
        ("a.idx", b"plain text", "a.idx: offset 0: no Megatron index"),
        ("a.idx", index_bytes(document_index("<u2", [3])), r"a.bin: cannot be read: No such file"),
        ("a.bin", llm_c(np.arange(5, dtype="<u2"))[:-1], "offset 8: llm.c's header tells of 5 tokens"),
        ("a.bin", llm_c(np.arange(5, dtype="<u2"))[:99], "offset 99: ends within llm.c's 1024-byte header"),
        ("a.bin", llm_c(np.arange(5, dtype="<u2"), version=2), "offset 4: version 2 of llm.c's form"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_tokens_is_refused(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TokenizerError, match=message):
        inspect_shard(tmp_path / name)


def test_indexes_of_two_shards_do_not_go_together(copied: Path) -> None:
    shorter = document_index("<u2", [1])
    (copied / "train-00000.sentences.idx").write_bytes(index_bytes(shorter))
    with pytest.raises(TokenizerError, match=r"train-00000"):
        inspect_shard(copied / "train-00000.bin")


def test_an_empty_file_has_no_tokens(tmp_path: Path) -> None:
    (tmp_path / "a.bin").touch()
    found = inspect_shard(tmp_path / "a.bin")
    assert (found.num_tokens, found.highest_id, found.first_tokens) == (0, None, ())
    assert "tokens        0 uint16" in printed(found)


def test_ids_outside_the_vocabulary_are_told(shards: Path, tmp_path: Path) -> None:
    np.array([5, -1, 7], "<i4").tofile(tmp_path / "a.bin")
    (tmp_path / "a.idx").write_bytes(index_bytes(document_index("<i4", [1, 2])))
    found = inspect_shard(tmp_path / "a.bin", tokenizer=shards.parent / "tokenizer")
    assert found.problems == (
        f"id {2**32 - 1:,} is in no vocabulary of 285 ids: the file is damaged, or of another tokenizer",
    )
    assert [one.text is None for one in found.documents] == [False, True]


FILES = [
    "shards/train-00000.bin",
    "shards/train-00000.idx",
    "shards/train-00000.sentences.idx",
    "shards/part-00000.documents.parquet",
    "shards/manifest.json",
    "corpus/part-00000.parquet",
    "corpus/manifest.json",
    "tokenizer/tokenizer.json",
]


@given(
    name=st.sampled_from(FILES),
    at=st.floats(0, 1, exclude_max=True),
    damage=st.binary(max_size=8),
    cut=st.booleans(),
    token=st.none() | st.integers(0, 400),
)
def test_damage_is_told_and_never_a_traceback(
    damaged: Path, name: str, at: float, damage: bytes, *, cut: bool, token: int | None
) -> None:
    path = damaged / name
    sound = path.read_bytes()
    place = int(at * len(sound))
    path.write_bytes(sound[:place] + damage + (b"" if cut else sound[place + len(damage) :]))
    try:
        found = inspect_shard(damaged / "shards" / "train-00000.bin", token=token)
    except (TokenizerError, InputError) as error:
        assert str(damaged) in str(error)  # noqa: PT017  # damage may leave the file sound
    else:
        json.dumps(found.to_json())
        assert all(char.isprintable() or char == "\n" for char in printed(found))
        if name.startswith("shards/train") and path.read_bytes() != sound:
            assert "differs" in {one.checksum for one in found.files}
    finally:
        path.write_bytes(sound)


@pytest.fixture(scope="module")
def damaged(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run; each example puts back what it damages."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(shards.parent, folder)
    return folder


@given(st.text())
def test_nothing_visible_moves_a_terminal(text: str) -> None:
    shown = visible(text)
    assert shown.isprintable()
    assert len(shown) >= len(text)
    assert visible(shown) == shown


def test_the_command_prints_documents_and_where_they_come_from(
    made: tuple[Path, dict[str, dict[str, Any]]],
) -> None:
    folder, rows = made
    path = str(folder / "shards" / "train-00000.bin")
    answer = webtext("inspect-shard", path, "--documents", "100")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert all(char.isprintable() or char == "\n" for char in answer.stdout)
    assert "Red ␛[31malert␛]0;title␇." in answer.stdout
    as_json = json.loads(webtext("inspect-shard", path, "--documents", "100", "--json").stdout)
    assert as_json["run"] == str(folder)
    for one in as_json["documents"]:
        row = rows[one["origin"]["id"]]
        assert one["origin"]["created"] == (row["created"] and row["created"].isoformat())
        for shown in (
            row["id"],
            row["url"],
            f"{row['submissions'][0]}, {row['submissions'][1]}",
            f"karma {row['karma']:,}",
            f"pages/{row['warc']}, offset {row['offset']:,}, {row['length']:,} bytes",
        ):
            assert shown in answer.stdout


def test_the_command_shows_a_token(shards: Path) -> None:
    path = shards / "train-00000.idx"
    index = read_index(path)
    document = int(np.argmax(index.lengths))
    number = int(index.pointers[document]) // 2 + 2
    answer = webtext("inspect-shard", str(path), "--token", str(number))
    assert f"token {number:,} has id" in answer.stdout
    assert f"document {document}, its token 2 from 0, in sentence 1 of it" in answer.stdout
    assert (
        f"document {document}: {index.lengths[document]:,} tokens from token {number - 2:,}" in answer.stdout
    )
    both = webtext("inspect-shard", str(shards / "train-00000.idx"), "--token", "2", "--from", "1")
    assert both.returncode == 2
    assert "give --from or --token" in both.stderr
    damaged = webtext("inspect-shard", str(shards / "manifest.json"))
    assert damaged.returncode == 2
    assert "neither a Megatron index nor llm.c's header" in damaged.stderr


def test_a_part_of_the_corpus_without_documents_is_passed_over(tmp_path: Path) -> None:
    run = Folder(str(tmp_path))
    rows = [document(f"{1:032x}", "text", cluster=f"{1:032x}")]
    write_parts(run, "dedupe", [table([], CORPUS), table(rows, CORPUS)])
    assert list(origins(run, [f"{1:032x}", f"{2:032x}"])) == [f"{1:032x}"]
