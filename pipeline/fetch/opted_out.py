"""Where no redirect may lead: what owners asked to leave out, and what was removed from the run."""

from dataclasses import dataclass

from pipeline import urls
from pipeline.hosts import domain_hash, parents
from pipeline.stages import Job


@dataclass(frozen=True, slots=True)
class OptedOut:
    """Domains, with all under them, and URLs, by hash."""

    domains: frozenset[int] = frozenset()
    keys: frozenset[bytes] = frozenset()

    def covers(self, url: urls.Url) -> bool:
        """Whether a URL is one of theirs."""
        if self.domains and any(domain_hash(name) in self.domains for name in parents(url.host)):
            return True
        return bool(self.keys) and url.key in self.keys


def opted_out_of(job: Job) -> OptedOut:
    """What link has left out for its owners."""
    facts = job.inputs["link"].facts
    domains = frozenset(int(digits, 16) for digits in facts.get("opted_out_domains", ()))
    return OptedOut(domains, frozenset(bytes.fromhex(key) for key in facts.get("opted_out_keys", ())))
