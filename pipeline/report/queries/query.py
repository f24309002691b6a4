"""A statistic as it is written down."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Shared:
    """A table that several statistics begin with, made once for all of them: its name and its SQL."""

    name: str
    sql: str


@dataclass(frozen=True, slots=True)
class Query:
    """A statistic: its section, a name, how people call it, what it is, and the SQL (DuckDB's) for it.

    ``tables`` are the run's tables that it reads: where one is not there yet, it is left out. ``body`` is the
    SQL that follows once the ``shared`` tables are there.
    """

    section: str
    name: str
    title: str
    definition: str
    tables: tuple[str, ...]
    body: str
    shared: tuple[Shared, ...] = ()

    @property
    def sql(self) -> str:
        """All of the SQL: it needs the run's tables and nothing else."""
        if not self.shared:
            return self.body
        before = ", ".join(f"{one.name} AS (\n    {_indented(one.sql)}\n)" for one in self.shared)
        is_with = self.body.startswith("WITH ")
        return f"WITH {before}{', ' if is_with else chr(10)}{self.body.removeprefix('WITH ')}"


def _indented(sql: str) -> str:
    return sql.replace("\n", "\n    ")
