"""datatrove's Trafilatura step over a WARC file; prints what it took. Needs only datatrove's own Python."""

import json
import sys
import time
from collections.abc import Iterator
from typing import Any

from datatrove.pipeline.extractors import Trafilatura  # type: ignore[import-not-found]
from datatrove.pipeline.readers import WarcReader  # type: ignore[import-not-found]


def main() -> None:
    """``extract_datatrove.py FOLDER FILE``: a JSON object on the last line."""
    folder, name = sys.argv[1:]
    reader = WarcReader(folder, glob_pattern=name, compression="gzip")
    extractor = Trafilatura(favour_precision=False, deduplicate=False, timeout=20)
    num_pages = 0

    def pages() -> Iterator[Any]:
        nonlocal num_pages
        for page in reader.run():
            num_pages += 1
            yield page

    started = time.monotonic()
    num_texts = sum(1 for _ in extractor.run(pages()))
    print(json.dumps({"seconds": time.monotonic() - started, "pages": num_pages, "texts": num_texts}))


if __name__ == "__main__":
    main()
