"""Folders on an object store, over real HTTP: what appears when, what is said, and what is never written."""

import gc
import io
import itertools
import os
import pickle
import shlex
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from pipeline import object_store
from pipeline.errors import InputError, RunError
from pipeline.inputs import require_local
from pipeline.inspector.catalogue import place
from pipeline.object_store import open_filesystem, refuse_credentials
from pipeline.remove.check import find_remains
from pipeline.remove.removal import refuse_while_pending
from pipeline.remove.tombstones import PENDING, REMOVED
from pipeline.runs import Counts, Folder, PartWriter, finished
from pipeline.seal import seal
from pipeline.status import require_run
from pipeline.verify import verify
from tests import s3_server
from tests.command import webtext
from tests.s3_server import Server
from tests.synthetic_run import write_run
from webtext.paths import refuse_uri
from webtext.settings import Settings
from webtext.training import local_run


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with s3_server.serving(tmp_path_factory.mktemp("s3") / "log") as one:
        one.make_bucket("bucket")
        yield one


@pytest.fixture
def folder(server: Server, request: pytest.FixtureRequest) -> Folder:
    """A folder of its own for each test."""
    return Folder(server.uri(f"bucket/{request.node.name}"))


# --- names ------------------------------------------------------------------------------------------------


def test_a_folder_keeps_the_options_of_its_uri() -> None:
    run = Folder("s3://bucket/run?endpoint_override=localhost:9000&scheme=http")
    links = run / "links"
    assert links.uri == "s3://bucket/run/links"
    assert links.address == "s3://bucket/run/links?endpoint_override=localhost:9000&scheme=http"
    assert links.path("part-00000.parquet") == "bucket/run/links/part-00000.parquet"
    assert Folder(links.address) == links == pickle.loads(pickle.dumps(links))  # noqa: S301 - ours
    assert Folder("s3://bucket/run/?region=eu-west-1") / "links" == Folder(
        "s3://bucket/run/links?region=eu-west-1"
    )
    assert (Folder("a?b") / "c").uri == "a?b/c"  # a local folder may be called so


def test_folders_of_a_bucket_share_their_connections() -> None:
    run = Folder("s3://bucket/run?region=eu-west-1")
    assert (run / "links").filesystem is (run / "pages").filesystem is run.filesystem
    assert Folder("s3://bucket/run?region=eu-west-2").filesystem is not run.filesystem


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("s3://bucket?region=eu-west-1", "bucket"),
        ("s3://bucket/a%20run/?region=eu-west-1", "bucket/a run"),
        ("file:///some/where", "/some/where"),
    ],
)
def test_paths_are_those_of_pyarrow(uri: str, path: str) -> None:
    assert open_filesystem(uri)[1] == path


def test_what_is_kept_beside_a_store_is_told_apart_by_its_endpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    uris = ["s3://bucket/run?endpoint_override=one:1", "s3://bucket/run/?endpoint_override=one:1"]
    one, same = (place.place(Folder(uri)) for uri in uris)
    assert one == same != place.place(Folder("s3://bucket/run?endpoint_override=other:1"))


# --- files ------------------------------------------------------------------------------------------------


def test_files_are_written_read_listed_and_removed(folder: Folder) -> None:
    table = pa.table({"n": range(1000)})
    writer = PartWriter(folder, "part-00000", "print")
    writer.table("parquet", table)
    part = writer.commit(Counts(1000, 1000), seconds=0)
    assert folder.read_table("part-00000.parquet") == table
    assert folder.sizes().keys() == folder.times().keys() == {"part-00000.parquet", "part-00000.json"}
    assert folder.size("part-00000.parquet") == part.files[0].bytes
    assert folder.size("part-00001.parquet") is None
    assert finished(folder, {"part-00000": "print", "part-00001": "print"}) == {"part-00000": part}
    assert finished(folder, {"part-00000": "another"}) == {}
    folder.remove(["part-00000.json", "never-there", "part-00000.parquet"])
    assert folder.sizes() == {}
    with pytest.raises(FileNotFoundError):
        folder.read("part-00000.json")


def test_large_files_go_in_several_parts(
    folder: Folder, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(object_store, "_UPLOADED_BYTES", 7 << 20)
    data = os.urandom(1 << 20)
    with folder.writing("large") as sink:
        for _ in range(24):
            sink.write(data)
    assert folder.read("large") == data * 24
    assert sum("/large?partNumber=" in one for one in server.requests()) > 1


def test_a_local_file_is_taken_over(folder: Folder, tmp_path: Path) -> None:
    path = tmp_path / "made"
    path.write_bytes(b"bytes")
    file = folder.adopt("taken", path, 7)
    assert (file.bytes, file.rows, folder.read("taken")) == (5, 7, b"bytes")
    assert not path.exists()


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_half_written_is_ever_seen(folder: Folder, error: type[BaseException]) -> None:
    folder.write("kept", b"as it was")
    for name in ("kept", "new"):
        with pytest.raises(error):
            _write_half(folder, name, error)
    assert folder.sizes() == {"kept": 9}
    assert folder.read("kept") == b"as it was"


def _write_half(folder: Folder, name: str, error: type[BaseException]) -> None:
    with folder.writing(name) as sink:
        sink.write(b"x" * (12 << 20))  # more than a store takes at once
        raise error


def test_a_store_that_fails_in_the_middle_shows_nothing(
    folder: Folder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server dies after the first part of the upload, and comes back with what it has."""
    monkeypatch.setattr(object_store, "_UPLOADED_BYTES", 6 << 20)
    with s3_server.serving(tmp_path / "log") as server:
        server.make_bucket("bucket")
        folder = Folder(server.uri("bucket/run"))
        send = object_store._send

        class Dying:
            """A file whose second piece is read when the server is gone."""

            def __init__(self, file: object) -> None:
                self._file, self._reads = file, 0

            def read(self, num: int) -> bytes:
                self._reads += 1
                if self._reads == 2:
                    os.kill(server.process.pid, 19)  # SIGSTOP: it answers nothing more
                    server.process.kill()
                return self._file.read(num)  # type: ignore[attr-defined, no-any-return]

        monkeypatch.setattr(
            object_store,
            "_send",
            lambda file, *rest: send(Dying(file), *rest),  # type: ignore[arg-type]
        )
        with pytest.raises(RunError, match=r"cannot be reached .*\. Then run the same again"):
            folder.write("file", b"x" * (20 << 20))
        assert not [one for one in server.requests() if one.endswith("/file") and one.startswith("PUT")]
        completed = [one for one in server.requests() if "POST" in one and "uploadId=" in one]
        assert completed == []


class _Closed(io.BytesIO):
    """A file that is closed while it is sent: by a second Ctrl-C, which does not wait for the sending."""

    def read(self, _: int | None = -1) -> bytes:
        data = super().read(12 << 20)
        self.close()
        return data


def test_a_file_that_is_closed_while_it_is_sent_is_never_seen(folder: Folder, server: Server) -> None:
    path = folder.path("file")
    with pytest.raises(ValueError, match="closed file"):
        object_store.upload(_Closed(bytes(20 << 20)), folder.filesystem, path)
    gc.collect()  # what is let go of shows what it has
    assert any(f"{path}?partNumber=" in one for one in server.requests())
    assert folder.size("file") is None


# --- words ------------------------------------------------------------------------------------------------


def test_no_bucket_no_run(server: Server) -> None:
    with pytest.raises(InputError, match=r"s3://nowhere/run: there is no bucket nowhere: make it first"):
        require_run(Folder(server.uri("nowhere/run")))
    with pytest.raises(InputError, match="there is no bucket nowhere"):
        Folder(server.uri("nowhere/run")).write("file", b"")
    with pytest.raises(InputError, match=r"s3://bucket/nothing: there is no run here"):
        require_run(Folder(server.uri("bucket/nothing")))


def test_what_to_run_tells_where_the_store_is(folder: Folder) -> None:
    (folder / "removed").write("pending.json", seal({"moves": {}, "gone": {}, "told": {}}))
    command = rf"webtext remove '{folder.uri}\?endpoint_override=[\d.:]+&scheme=http' --resume"
    with pytest.raises(InputError, match=command):
        refuse_while_pending(folder)


def test_an_unknown_key(tmp_path: Path) -> None:
    with s3_server.serving(tmp_path / "log", INITIAL_NO_AUTH_ACTION_COUNT="1") as server:
        server.make_bucket("bucket")
        folder = Folder(server.uri("bucket/run"))
        for ask in (folder.sizes, lambda: folder.write("file", b"data")):
            with pytest.raises(InputError, match=r"does not take the key .*AWS_ACCESS_KEY_ID"):
                ask()
        for name in ("read", "size"):  # to which S3 answers nothing but that it refuses
            with pytest.raises(
                InputError, match=r"the store refuses HeadObject: .* needs the right to list bucket"
            ):
                getattr(folder, name)("file")


def test_a_key_that_expires_while_a_run_is_verified_is_no_damage(tmp_path: Path) -> None:
    """At whichever request: good files must not be deleted for it."""
    made = write_run(tmp_path / "made", num_links=200, upto="collect")
    with s3_server.serving(tmp_path / "log") as server:
        server.make_bucket("bucket")
        run = Folder(server.uri("bucket/run"))
        for path in Path(made.uri).rglob("*.*"):
            run.write(str(path.relative_to(made.uri)), path.read_bytes())
        for num_requests in itertools.count():
            server.know_keys(num_requests)
            try:
                assert verify(run) == []
            except (InputError, RunError) as error:  # a refusal longer than a small file is told as a failure
                assert "the store" in str(error)  # noqa: PT017 - each but the last time
            else:
                break
        assert num_requests > 10


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: folder.read_table("table.parquet"),
        lambda folder: list(folder.read_batches("table.parquet", ["n"], 100)),
    ],
)
def test_what_fails_while_a_table_is_read_is_told_too(
    folder: Folder, server: Server, read: Callable[[Folder], object]
) -> None:
    PartWriter(folder, "table", "print").table("parquet", pa.table({"n": range(1000)}))
    server.know_keys(1)  # to open it
    try:
        with pytest.raises(InputError, match=r"the store (refuses GetObject|does not take the key)"):
            read(folder)
    finally:
        server.know_keys(float("inf"))


def test_commands_to_copy_name_the_store(folder: Folder) -> None:
    (folder / REMOVED).write(PENDING, b"{}")
    [(_, _, remedy)] = find_remains(folder, {})
    assert folder.address in shlex.split(remedy.replace("`", " "))


def test_no_store_there_ends_soon_and_in_words() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run = Folder(f"s3://bucket/run?endpoint_override=127.0.0.1:{port}&scheme=http")
    with pytest.raises(RunError, match=r"s3://bucket/run: the store cannot be reached \(.*endpoint_override"):
        require_run(run)


@pytest.mark.parametrize("uri", ["s4://bucket/run", "s3://bucket/run?nonsense=1", "s3:///run"])
def test_what_is_no_uri_of_a_store(uri: str) -> None:
    with pytest.raises(InputError, match="cannot be opened"):
        Folder(uri).sizes()


def test_no_key_is_taken_from_a_uri_or_written(tmp_path: Path) -> None:
    keyed = "s3://AKIAKEY:secret/key@bucket/run"
    for uri in (
        keyed,
        "s3://AKIAKEY:secretkey@bucket/run",
        "s3://AKIAKEY@bucket/run",
        "hdfs://me:secretkey@host/run",
        "hdfs://me:secret/key@host/run",
    ):
        with pytest.raises(InputError, match="a key in a URI would be written") as told:
            Folder(uri).sizes()
        assert "AKIAKEY" not in str(told.value)
        assert "secret" not in str(told.value)
    (tmp_path / "RS_2019-06.ndjson").write_text("{}\n")
    for place_ in ("[run]\ndir", "[dedupe]\nagainst"):
        value = f'"{keyed}"' if "run" in place_ else f'["{keyed}"]'
        (tmp_path / "webtext.toml").write_text(
            f'{place_} = {value}\n[collect]\ndumps = ["RS_2019-06.ndjson"]\n[fetch]\ncontact = "a@b.org"\n'
        )
        answer = webtext("build", "webtext.toml", "--until", "collect", "--run", "run", cwd=tmp_path)
        assert answer.returncode == 2, answer
        assert "a key in a URI" in answer.stderr
        assert "secret" not in answer.stderr + answer.stdout
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "refuse",
    [
        lambda uri: require_local(uri, "collect.dumps"),
        lambda uri: refuse_uri(Path(uri)),
        lambda uri: local_run(uri, Settings().train),
    ],
)
def test_no_key_is_shown_where_a_local_disk_is_wanted(refuse: Callable[[str], object]) -> None:
    with pytest.raises(InputError, match=r"^s3://…: a key in a URI") as told:
        refuse("s3://AKIAKEY:secret/key@bucket/run")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("uri", ["hdfs://host:8020/run", "gs://anonymous@bucket/run", "s3://bucket/a:b@c"])
def test_not_every_colon_is_a_keys(uri: str) -> None:
    refuse_credentials(uri)


# --- what wants local files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["pretrain", "webtext.toml", "--run", "s3://bucket/run"], "training maps shards into memory"),
        (["tokenizer", "train", "x.txt", "--out", "s3://bucket/run"], "this command wants a local path"),
        (
            ["tokenizer", "encode", "s3://bucket/run/tokenizer", "x"],
            "aws s3 cp --recursive s3://bucket/run/tok",
        ),
        (
            ["inspect-shard", "s3://bucket/run/shards/train-00000.bin"],
            "train-00000.bin is a URI",
        ),
        (
            ["generate", "s3://bucket/run/checkpoints", "--prompt", "x"],
            "s3://bucket/run/checkpoints is a URI",
        ),
        (["init", "s3://bucket/webtext.toml"], "is a URI"),
        (
            ["build", "webtext.toml", "--run", "run"],
            "collect.dumps: s3://bucket/RS.zst is a URI",
        ),
    ],
)
def test_commands_say_what_wants_a_local_disk(tmp_path: Path, command: list[str], said: str) -> None:
    (tmp_path / "webtext.toml").write_text('[collect]\ndumps = ["s3://bucket/RS.zst"]\n')
    answer = webtext(*command, cwd=tmp_path)
    assert answer.returncode == 2, answer
    assert said in answer.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["webtext.toml"]


def test_checkpoints_are_written_to_a_local_disk(tmp_path: Path) -> None:
    (tmp_path / "webtext.toml").write_text('[train]\ndir = "s3://bucket/checkpoints"\n')
    answer = webtext("pretrain", "webtext.toml", cwd=tmp_path)
    assert answer.returncode == 2, answer
    assert "s3://bucket/checkpoints is a URI" in answer.stderr
