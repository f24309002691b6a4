"""SQL in the inspector: it reads the run's tables and does nothing else, whatever is tried."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from pipeline.errors import InputError
from pipeline.inspector.catalogue.build import make
from pipeline.inspector.catalogue.catalogue import Catalogue, Opened
from pipeline.inspector.catalogue.place import place
from pipeline.inspector.catalogue.sql import ask
from pipeline.report.queries import QUERIES
from pipeline.report.statistics import measure
from pipeline.runs import Folder
from tests.synthetic_run import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    return write_run(tmp_path_factory.mktemp("sql") / "run")


@pytest.fixture(scope="module")
def opened(run: Folder) -> list[Opened]:
    """The run from its files, and from its catalogue."""
    before = Catalogue(run).now()
    make(run, place(run))
    return [before, Catalogue(run).now()]


@pytest.fixture(autouse=True)
def nothing_is_written(
    opened: list[Opened], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Whatever is asked, no file comes, goes or changes; relative paths lead into an empty folder."""
    monkeypatch.chdir(tmp_path)
    root = Path(opened[0].contents.run.path())

    def files() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in root.rglob("*") if path.is_file()}

    before = files()
    yield
    assert files() == before
    assert list(tmp_path.iterdir()) == []


def test_questions_are_answered_alike_before_and_after(opened: list[Opened]) -> None:
    for sql in (
        "SELECT language, count(*) AS num, sum(num_words) FROM documents GROUP BY ALL ORDER BY language;",
        "WITH kept AS (FROM documents WHERE karma > 20) SELECT max(karma), max(domain) FROM kept",
        "FROM links SELECT id, len(submissions) ORDER BY id",
        "SELECT stage, reason, count(*) FROM rejected GROUP BY ALL ORDER BY ALL",
        "SELECT d.id, s.split FROM documents d JOIN shard_documents s USING (id) ORDER BY d.id",
        "VALUES (1), (NULL)",
        "DESCRIBE documents",
    ):
        before, after = (ask(one, sql) for one in opened)
        assert (before.columns, before.rows) == (after.columns, after.rows)
        assert not after.is_cut


def test_answers_are_duckdbs_own(run: Folder, opened: list[Opened]) -> None:
    sql = "SELECT id, karma, language, created FROM {} ORDER BY id"
    right = duckdb.execute(sql.format(f"read_parquet('{run.path('corpus')}/part-?????.parquet')")).fetchall()
    for one in opened:
        answer = ask(one, sql.format("documents"))
        assert list(answer.rows) == right
        assert answer.columns == ("id", "karma", "language", "created")


def test_every_query_of_the_report_can_be_asked(run: Folder, opened: list[Opened]) -> None:
    measured = measure(run).measured
    assert len(measured) > len(QUERIES) / 2
    for query in QUERIES:
        if query.name not in measured:
            continue
        for one in opened:
            answer = ask(one, query.sql)
            rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
            assert rows == [dict(row) for row in measured[query.name].rows], query.name


def test_tables_that_are_not_there_yet_are_named(tmp_path_factory: pytest.TempPathFactory) -> None:
    young = Catalogue(write_run(tmp_path_factory.mktemp("young") / "run", num_links=20, upto="link")).now()
    assert ask(young, "SELECT count(*) FROM links").rows[0][0] > 0
    with pytest.raises(InputError, match="corpus does not exist"):
        ask(young, "SELECT count(*) FROM corpus")


REFUSED = [
    "COPY documents TO 'documents.csv'",
    "COPY (SELECT 1) TO 'one.csv'",
    "EXPORT DATABASE 'all'",
    "ATTACH 'other.duckdb'",
    "ATTACH ':memory:' AS other",
    "DETACH documents",
    "USE memory",
    "CREATE TABLE mine AS SELECT 1",
    "CREATE TEMP TABLE mine AS SELECT 1",
    "CREATE OR REPLACE VIEW documents AS SELECT 1",
    "CREATE MACRO one() AS 1",
    "CREATE FUNCTION one() AS 1",
    "CREATE SECRET (TYPE s3)",
    "INSERT INTO documents SELECT * FROM documents",
    "UPDATE documents SET karma = 0",
    "DELETE FROM documents",
    "TRUNCATE documents",
    "DROP TABLE documents",
    "ALTER TABLE documents DROP COLUMN url",
    "WITH one AS (SELECT 1) INSERT INTO links SELECT * FROM links",
    "SET memory_limit = '100GB'",
    "SET GLOBAL enable_external_access = true",
    "SET VARIABLE x = 1",
    "RESET lock_configuration",
    "PRAGMA database_list",
    "PRAGMA memory_limit = '100GB'",
    "CALL pragma_version()",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN TRANSACTION",
    "PREPARE one AS SELECT 1",
    "EXECUTE one",
    "EXPLAIN ANALYZE CREATE TABLE mine AS SELECT 1",
    "EXPLAIN ANALYZE DELETE FROM documents",
    "EXPLAIN (FORMAT json) COPY documents TO 'documents.csv'",
    "/* EXPLAIN */ EXPLAIN ANALYZE DROP TABLE documents",
]


@pytest.mark.parametrize("sql", REFUSED)
def test_what_is_no_question_is_refused(opened: list[Opened], sql: str) -> None:
    for one in opened:
        with pytest.raises(InputError, match=r"and not a query: SQL only reads here"):
            ask(one, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_blob('{run}/webtext.toml')",
        "SELECT * FROM read_parquet('{run}/corpus/part-00000.parquet')",
        "SELECT * FROM parquet_metadata('{run}/corpus/part-00000.parquet')",
        "SELECT * FROM read_json('{run}/corpus/manifest.json')",
        "SELECT * FROM 'part-00000.parquet'",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT * FROM query('SELECT * FROM read_text(''/etc/passwd'')')",
        "EXPLAIN ANALYZE SELECT * FROM read_text('/etc/passwd')",
    ],
)
def test_no_file_is_read(run: Folder, opened: list[Opened], sql: str) -> None:
    for one in opened:
        with pytest.raises(InputError, match="SQL reads the run's tables here, no files and no settings"):
            ask(one, sql.format(run=run.path()))


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("", "There is no query"),
        (" ;; ", "There is no query"),
        ("-- nothing", "There is no query"),
        ("SELECT 1; SELECT 2", "One query at a time: these are 2"),
        ("SELECT 1; DROP TABLE documents", "One query at a time"),
        ("SELEC 1", "syntax error"),
        ("EXPLAIN SELEC 1", "syntax error"),
        ("SELECT nothing FROM documents", 'column "nothing" not found'),
        ("SELECT * FROM '/etc/passwd'", "/etc/passwd does not exist"),
        ("SELECT * FROM opened", "opened does not exist"),  # a variable of this test
        ("SELECT getenv('HOME')", "getenv does not exist"),
        ("SELECT 'many' + 1", "many"),
        ("SELECT error('oh')", "oh"),
        ("SELECT " + "1," * 60_000 + "1", "at most 100,000 characters"),
        ("SELECT list(range) FROM range(150000000)", "takes more memory"),
    ],
)
def test_what_is_wrong_is_told(opened: list[Opened], sql: str, said: str) -> None:
    for one in opened:
        with pytest.raises(InputError) as raised:
            ask(one, sql)
        assert said in str(raised.value)


def test_deep_brackets_are_told(opened: list[Opened]) -> None:
    with pytest.raises(InputError):
        ask(opened[1], "SELECT " + "(" * 40_000 + "1" + ")" * 40_000)


def test_a_query_is_ended_in_time(opened: list[Opened]) -> None:
    endless = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b WHERE a.range * b.range = 7"
    for one in opened:
        with pytest.raises(InputError, match=r"a query may take 0\.2 seconds"):
            ask(one, endless, max_seconds=0.2)
    assert ask(opened[1], "SELECT 1").rows == ((1,),)


def test_long_answers_are_cut(opened: list[Opened]) -> None:
    answer = ask(opened[1], "SELECT * FROM range(1000000000000)", max_rows=10)
    assert (answer.rows, answer.is_cut) == (tuple((n,) for n in range(10)), True)
    assert not ask(opened[1], "SELECT * FROM range(10)", max_rows=10).is_cut
