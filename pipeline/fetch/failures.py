"""What a failed request comes down to: aiohttp's exceptions as reasons.

aiohttp's parsers tell much only in words; what is looked for in them is tested against real answers.
"""

import re

import aiohttp
from aiohttp import http_exceptions

from pipeline.fetch.coding import CodingError
from pipeline.fetch.exchange import Refusal
from pipeline.fetch.resolver import NoSuchNameError
from pipeline.records import Reason

MAX_DETAIL = 200
ABSENT_NAME = "there is no such name"

# The first that fits: what stands above is more special than what stands below.
_BY_TYPE: tuple[tuple[type[BaseException], Reason], ...] = (
    (aiohttp.ClientConnectorDNSError, Reason.DNS),
    (aiohttp.ClientConnectorCertificateError, Reason.CERTIFICATE),
    (aiohttp.ClientSSLError, Reason.TLS),
    (aiohttp.ClientOSError, Reason.CONNECT),
    (aiohttp.InvalidURL, Reason.BAD_URL),
    (aiohttp.ServerTimeoutError, Reason.TIMEOUT),
    (CodingError, Reason.BAD_ENCODING),
)
_CUT_SHORT = (http_exceptions.ContentLengthError, http_exceptions.TransferEncodingError)
_TOO_LARGE = re.compile(r"Too many headers|Got more than \d+ bytes")
# A page without a status line or header, as HTTP/0.9 had it.
_BARE_PAGE = re.compile(r"Bad status line:\s*Expected HTTP/.*?b['\"](\\[rnt]|\s)*<", re.S)


def refusal_of(error: Exception) -> Refusal:
    """Why a request brought nothing."""
    if isinstance(getattr(error, "os_error", None), NoSuchNameError):
        return Refusal(Reason.DNS, ABSENT_NAME)
    return Refusal(_reason(error), " ".join(str(error).split())[:MAX_DETAIL])


def _reason(error: Exception) -> Reason:
    for kind, reason in _BY_TYPE:
        if isinstance(error, kind):
            return reason
    if isinstance(error.__cause__, _CUT_SHORT):
        return Reason.CUT_SHORT
    words = str(error.__cause__ or error)
    if _TOO_LARGE.search(words):
        return Reason.HEADER_TOO_LARGE
    if _BARE_PAGE.search(words):
        return Reason.HTTP_09
    return Reason.PROTOCOL if isinstance(error, aiohttp.ClientError) else Reason.BAD_URL
