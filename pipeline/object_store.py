"""Folders that are not local: how they are opened, how files appear in them, and what goes wrong, in words.

An object store knows no rename, no append and no lock. An object is there once its upload is complete, and
not before; a listing may be older than that.
"""

import ctypes
import os
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import IO, TypeVar
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pyarrow.fs

from pipeline.errors import InputError, RunError

_Asked = TypeVar("_Asked")
_Answer = TypeVar("_Answer")

_SMALL_AT_ONCE = "allow_delayed_open=true"  # a small file is one request, not three
_WITHOUT_FOLDERS = ("s3", "gcs")  # making one would be more requests than the file
_AT_ONCE = 16  # requests: a store answers each in tens of milliseconds
_UPLOADED_BYTES = 1 << 26  # at once: what is not sent yet is in memory

# By its name, an option of a URI that holds a secret; there is none that pyarrow knows.
_SECRET_OPTION = re.compile(r"(?i)(?:^|&)[^=&]*(?:key|secret|token|password|signature|sas)[^=&]*=")


def refuse_credentials(uri: str) -> None:
    """Raises InputError for a URI with a key or a password in it: URIs are shown, and written to runs."""
    scheme, _, rest = uri.partition("://")
    scheme = scheme.lower()
    path, _, options = (unquote(piece) for piece in rest.partition("?"))
    host = path.partition("/")[0]  # where a secret has a slash in it, it goes on behind
    is_no_bucket = scheme == "s3" and (":" in host or "@" in host)
    is_no_user = scheme == "gs" and "@" in host and not host.startswith("anonymous@")
    is_in_options = "@" in options or _SECRET_OPTION.search(options) is not None
    if is_no_bucket or is_no_user or (":" in host and "@" in path) or is_in_options:
        raise InputError(
            f"{scheme}://…: a key in a URI would be written to manifests and shown. Leave it out, and give "
            "it by the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY) or in ~/.aws/credentials. (A "
            "store's host and port are given as s3://bucket/run?endpoint_override=HOST:PORT.)"
        )


@lru_cache(maxsize=256)
def open_filesystem(address: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """What opens the files below a URI, which may end in ``?`` and options, and its path there.

    Raises:
        InputError: The URI is none that can be opened, or has credentials in it.
        RunError: The store cannot be reached.
    """
    refuse_credentials(address)
    uri, _, options = address.partition("?")
    scheme, _, rest = uri.partition("://")
    root, _, path = rest.partition("/")
    if scheme == "s3" and not root:
        raise InputError(f"{uri} cannot be opened: it names no bucket, as in s3://bucket/run.")
    if scheme == "file":
        root, path = rest, ""
    filesystem, above = _open_root(f"{scheme}://{root}", options)
    return filesystem, f"{above}/{unquote(path)}".rstrip("/") if path else above


@lru_cache(maxsize=64)
def _open_root(uri: str, options: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """One file system for all folders of a bucket: it keeps its connections."""
    if uri.startswith("s3://") and "allow_delayed_open=" not in options:
        options = f"{options}&{_SMALL_AT_ONCE}".removeprefix("&")
    try:
        with in_words(uri):
            filesystem, path = pyarrow.fs.FileSystem.from_uri(f"{uri}?{options}" if options else uri)
    except (pa.ArrowException, OSError) as error:
        advice = _HDFS_NEEDS if uri.startswith("hdfs://") else "give a path, s3://, gs:// or hdfs://"
        raise InputError(f"{uri} cannot be opened ({str(error).partition(chr(10))[0]}); {advice}.") from error
    return filesystem, path.rstrip("/")


def beside(address: str, purpose: str) -> Path:
    """The folder on the local disk, in the user's cache, for what a store cannot hold of a folder of it."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "webtext" / purpose / sha256(address.encode()).hexdigest()


def require_bucket(uri: str, filesystem: pyarrow.fs.FileSystem, path: str) -> None:
    """Raises InputError where a path is in a bucket of S3 that is not there."""
    if filesystem.type_name != "s3":
        return
    bucket = path.partition("/")[0]
    with in_words(uri):
        info = filesystem.get_file_info(bucket)
    if info.type == pyarrow.fs.FileType.NotFound:
        raise _no_bucket(uri)


def upload(file: IO[bytes], filesystem: pyarrow.fs.FileSystem, path: str) -> None:
    """Sends a file that is complete, from where it stands; it appears under its path once all is sent.

    pyarrow has no way to give an upload up: a stream that is let go of shows what it has. So whatever stops
    this process in between (Ctrl-C) waits for the rest. After a kill, a store that fails, or a second Ctrl-C
    (which closes the file before it is read) nothing is shown: the stream is then never let go of.
    """
    with ThreadPoolExecutor(1) as pool:  # which no signal interrupts
        pool.submit(_send, file, filesystem, path).result()


def _send(file: IO[bytes], filesystem: pyarrow.fs.FileSystem, path: str) -> None:
    if filesystem.type_name not in _WITHOUT_FOLDERS:
        filesystem.create_dir(path.rpartition("/")[0], recursive=True)
    stream = filesystem.open_output_stream(path, compression=None)
    try:
        while chunk := file.read(_UPLOADED_BYTES):
            stream.write(chunk)
            stream.flush()
    except BaseException:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(stream))  # or it would show what it has
        raise
    stream.close()


def side_by_side(
    ask: Callable[[_Asked], _Answer], what: Iterable[_Asked], *, is_local: bool
) -> Iterator[_Answer]:
    """What is answered, in order: of a store several things are asked at once."""
    if is_local:
        yield from map(ask, what)
        return
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        yield from pool.map(ask, what)


_HDFS_NEEDS = (
    "hdfs:// needs Java and Hadoop's client: set JAVA_HOME, HADOOP_HOME, and CLASSPATH to what "
    "`hadoop classpath --glob` prints"
)

_GOOGLE = re.compile(
    r"google::cloud::Status\((?P<code>[A-Z_]+): (?:[^\n]*?with a last message of )?(?P<why>.*?)"
    r"(?: error_info=.*|\)[^)]*)\Z",
    re.S,
)
_AWS = re.compile(
    r"AWS Error (?P<code>\w+)(?: \(HTTP status (?P<status>\d+)\))? during (?P<operation>\w+) operation: "
    r"(?:Unable to parse ExceptionName: )?(?P<why>.*?)(?: \(Request ID: .*|; Details: .*)?\Z",
    re.S,
)
_NO_BUCKET = re.compile(r"Bucket '[^']*' not found")
_KEYS = {
    "INVALID_ACCESS_KEY_ID",
    "INVALID_CLIENT_TOKEN_ID",
    "INVALID_SIGNATURE",
    "MISSING_AUTHENTICATION_TOKEN",
    "SIGNATURE_DOES_NOT_MATCH",
    "UNRECOGNIZED_CLIENT",
}


@contextmanager
def in_words(uri: str) -> Iterator[None]:
    """Tells in words what a store answers, once it has been asked several times.

    Raises:
        InputError: There is no such bucket, no right to it, or no key that it knows.
        RunError: It cannot be reached, or fails.
    """
    try:
        yield
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowInvalid) as error:
        said = _meaning(uri, str(error))
        if said is None:
            raise
        raise said from error


def _no_bucket(uri: str) -> InputError:
    return InputError(f"{uri}: there is no bucket {urlsplit(uri).netloc}: make it first, or name another.")


def _meaning(uri: str, message: str) -> Exception | None:
    """What an error of the store's means; None where it is none of a store's."""
    google = _GOOGLE.search(message)
    if google is not None:
        return _meaning_of_google(uri, google["code"], google["why"].strip().rstrip("."))
    found = _AWS.search(message)
    if _NO_BUCKET.search(message) or (found and found["code"] == "NO_SUCH_BUCKET"):
        return _no_bucket(uri)
    if found is None:
        return None
    code, status, operation = found["code"], found["status"], found["operation"]
    why = found["why"].strip().rstrip(".")
    if code in _KEYS or "expired" in why:
        return InputError(
            f"{uri}: the store does not take the key that it was given ({why}): see AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE and ~/.aws/credentials."
        )
    if status == "301" or "region" in why:
        return InputError(f"{uri}: the bucket is in another region ({why}): add ?region=… to the URI.")
    if code == "ACCESS_DENIED" or status in {"401", "403"}:
        return InputError(
            f"{uri}: the store refuses {operation}: the key (AWS_ACCESS_KEY_ID, AWS_PROFILE) needs the right "
            f"to list {urlsplit(uri).netloc}, and to read, write and delete in it."
        )
    if status == "400":
        return InputError(f"{uri}: the store does not take {operation} ({why}): see the region and the key.")
    if code == "NETWORK_CONNECTION":
        return RunError(
            f"{uri}: the store cannot be reached ({why}): see the network, and for a store that is not "
            "Amazon's endpoint_override in the URI or AWS_ENDPOINT_URL. Then run the same again: whole parts "
            "stay."
        )
    return RunError(
        f"{uri}: the store failed at {operation}, several times ({why}): run the same again later; whole "
        "parts stay."
    )


def _meaning_of_google(uri: str, code: str, why: str) -> Exception:
    """What an error of Google's storage means."""
    if code in {"UNAUTHENTICATED", "PERMISSION_DENIED"}:
        bucket = urlsplit(uri).netloc.rpartition("@")[2]
        return InputError(
            f"{uri}: the store refuses the account ({why}): give one that may list {bucket}, and read, write "
            "and delete in it, by GOOGLE_APPLICATION_CREDENTIALS or `gcloud auth application-default login`."
        )
    if code == "INVALID_ARGUMENT":
        return InputError(f"{uri}: the store does not take what it is asked ({why}): see the bucket's name.")
    return RunError(
        f"{uri}: the store fails or cannot be reached, however often it is asked ({why}): see the network "
        "and the account's credentials, and run the same again later; whole parts stay."
    )
