"""Scrapy over a list of URLs, as its users write it, with all that its documentation advises for speed.

Runs under another Python, which has Scrapy and nothing of ours; prints what it took as JSON. The settings are
those of "Broad Crawls" (cookies, retries and redirects off, the queue that knows the downloader's slots) and
more: no robots.txt, no delay, no extension or middleware that the task does not need. Hosts are found without
a name server: ``socket.getaddrinfo`` and ``gethostbyname`` answer 127.0.0.1 for all of them.
"""

import argparse
import json
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import scrapy  # type: ignore[import-not-found]
from scrapy.crawler import AsyncCrawlerProcess  # type: ignore[import-not-found]

_HANDLERS = {
    "twisted": "scrapy.core.downloader.handlers.http11.HTTP11DownloadHandler",
    "aiohttp": "scrapy.core.downloader.handlers._aiohttp.AiohttpDownloadHandler",
}


class FlatSpider(scrapy.Spider):  # type: ignore[misc]
    """Asks for every URL of a file and keeps each body until it is counted."""

    name = "flat"
    num_pages = num_bytes = 0
    began = ended = 0.0

    async def start(self) -> AsyncIterator[Any]:
        """The requests, in the order of the file."""
        self.began = time.monotonic()  # Scrapy's own start is not counted
        for url in self.urls:
            yield scrapy.Request(url, callback=self.parse, dont_filter=True)

    def parse(self, response: Any) -> None:
        """Counts a page."""
        self.num_pages += response.status == 200
        self.num_bytes += len(response.body)
        self.ended = time.monotonic()


def settings(connections: int, handler: str, loop: str) -> dict[str, Any]:
    """Scrapy's settings for speed."""
    chosen: dict[str, Any] = {
        "CONCURRENT_REQUESTS": connections,
        "CONCURRENT_REQUESTS_PER_DOMAIN": connections,
        "CONCURRENT_ITEMS": 1,  # tasks that Scrapy makes for each response, whatever it yields
        "DOWNLOAD_DELAY": 0,
        "DOWNLOAD_TIMEOUT": 30,
        "DOWNLOAD_MAXSIZE": 5_000_000,
        "DOWNLOAD_WARNSIZE": 0,
        "ROBOTSTXT_OBEY": False,
        "COOKIES_ENABLED": False,
        "RETRY_ENABLED": False,
        "REDIRECT_ENABLED": False,
        "REFERER_ENABLED": False,
        "HTTPPROXY_ENABLED": False,
        "METAREFRESH_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REACTOR_THREADPOOL_MAXSIZE": 20,
        "SCHEDULER_PRIORITY_QUEUE": "scrapy.pqueues.DownloaderAwarePriorityQueue",
        "SPIDER_MIDDLEWARES_BASE": {},
        "EXTENSIONS_BASE": {},
        "LOG_LEVEL": "WARNING",
        "DOWNLOAD_HANDLERS": {"http": _HANDLERS[handler]},
    }
    if loop != "asyncio":
        chosen["ASYNCIO_EVENT_LOOP"] = f"{loop}.Loop"
    return chosen


def main() -> None:
    """Crawls the URLs of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("urls", type=Path, help="one a line")
    parser.add_argument("--connections", type=int, default=100)
    parser.add_argument("--handler", choices=sorted(_HANDLERS), default="twisted")
    parser.add_argument("--loop", choices=["asyncio", "uvloop"], default="asyncio")
    arguments = parser.parse_args()
    _find_all_on_loopback()
    process = AsyncCrawlerProcess(settings(arguments.connections, arguments.handler, arguments.loop))
    crawler = process.create_crawler(FlatSpider)
    process.crawl(crawler, urls=arguments.urls.read_text().split())
    process.start()
    spider = crawler.spider
    print(
        json.dumps(
            {
                "pages": spider.num_pages,
                "bytes": spider.num_bytes,
                "seconds": spider.ended - spider.began,
                "peak_bytes": _peak_bytes(),
                "version": f"{scrapy.__version__}, {arguments.handler}, {arguments.loop}",
            }
        )
    )


def _peak_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])


def _find_all_on_loopback() -> None:
    asked = socket.getaddrinfo

    def getaddrinfo(_: Any, *arguments: Any, **named: Any) -> Any:
        return asked("127.0.0.1", *arguments, **named)

    def gethostbyname(_: Any) -> str:
        return "127.0.0.1"

    vars(socket).update(getaddrinfo=getaddrinfo, gethostbyname=gethostbyname)


if __name__ == "__main__":
    main()
