"""Tables of one row group each, a group for every table or batch: each can be read by itself."""

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.runs import PartWriter
from pipeline.stages import Job


def write_groups(writer: PartWriter, suffix: str, schema: pa.Schema, groups: Iterable[pa.Table]) -> None:
    """Writes tables of one schema as the row groups of a part's file, in their order."""
    num_rows = 0
    with writer.open(suffix) as sink, pq.ParquetWriter(sink, schema, compression="zstd") as file:
        for group in groups:
            file.write_table(group, row_group_size=max(1, group.num_rows))
            num_rows += group.num_rows
    writer.rows(num_rows)


def read_group(job: Job, name: str, index: int) -> pa.Table:
    """One row group of a file of this stage."""
    with job.folder.open(name) as stream:
        return pq.ParquetFile(stream).read_row_group(index)
