"""2. Decide whether a rationale reaches the gold answer."""

from feints.verify.fingerprint import code_hash
from feints.verify.pool import check

__all__ = ["check", "code_hash"]
