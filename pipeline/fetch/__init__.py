"""fetch: links to pages in WARC files, from the web or from WARC files that are at hand."""
