"""A small web on loopback, and a month of Reddit that links to it: for trying the whole way offline.

`site.build_site` makes the web, `server.serve` serves it, `dump.write_dump` writes the submissions.
"""
