"""A Flink cluster, asked over HTTP: is it there, which is it, has it room, what does it complain of."""

import http.client
import json
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

from pipeline.engines.endpoint import A_LOCAL_CLUSTER, ANSWERS_WITHIN_S, reason
from pipeline.errors import InputError

_OVER_WITHIN_S = 20.0
_OVER = {"FINISHED", "FAILED", "CANCELED"}

_NO_ANSWER = (OSError, http.client.HTTPException, ValueError, KeyError, TypeError)


@dataclass(frozen=True, slots=True)
class Flink:
    """A cluster by the address of its REST service."""

    address: str

    @classmethod
    def at(cls, master: str | None) -> "Flink | None":
        """The cluster that ``--flink_master`` names; None where Beam is to start one in its own process."""
        if not master or master.startswith("["):
            return None
        return cls(master if "://" in master else f"http://{master}")

    def version(self) -> str:
        """Flink's version, such as 1.19.3.

        Raises:
            InputError: No Flink is there.
        """
        try:
            return str(self._ask("/config")["flink-version"])
        except _NO_ANSWER as error:
            raise InputError(
                f"--flink_master={self.address}: no Flink answers there ({reason(error)}). Name the REST "
                f"service of one that runs (HOST:8081); {A_LOCAL_CLUSTER}."
            ) from error

    def slots(self) -> str:
        """How many slots are free, in words."""
        try:
            overview = self._ask("/overview")
            return f"{overview['slots-available']} of {overview['slots-total']} are free"
        except _NO_ANSWER as error:
            return f"{self.address} does not answer: {reason(error)}"

    def complaint(self, name: str) -> str:
        """The exceptions that the jobs of this name met last; empty if none, or if it cannot be asked."""
        try:
            ids = [job["jid"] for job in self._ask("/jobs/overview")["jobs"] if job["name"] == name]
            return "\n".join(self._ask(f"/jobs/{one}/exceptions").get("root-exception") or "" for one in ids)
        except _NO_ANSWER:
            return ""

    def cancel(self, name: str) -> None:
        """Cancels the jobs of this name that are not over, and waits a while until they are.

        Raises:
            OSError: The cluster does not answer.
        """
        for job in self._at_work(name):
            self._ask(f"/jobs/{job}?mode=cancel", "PATCH")
        deadline = time.monotonic() + _OVER_WITHIN_S
        while self._at_work(name) and time.monotonic() < deadline:
            time.sleep(0.2)

    def _at_work(self, name: str) -> list[str]:
        """The ids of the jobs of this name that are not over."""
        jobs = self._ask("/jobs/overview")["jobs"]
        return [job["jid"] for job in jobs if job["name"] == name and job["state"] not in _OVER]

    def _ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(self.address.rstrip("/") + path, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=ANSWERS_WITHIN_S) as answer:  # noqa: S310
            return json.loads(answer.read() or b"{}")
