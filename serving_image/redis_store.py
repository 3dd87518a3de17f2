"""The state store of a cluster whose processes do not share a disk: Redis."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis

from serving_image.store import Conflict, StoreUnavailable

DEFAULT_NAMESPACE = "clipper"
TIMEOUT_S = 10.0

# KEYS: hash of key to value, sorted set of key to revision, newest revision. A deleted key leaves the hash but stays
# in the sorted set, so that a follower learns of the deletion. Redis runs a script without anything in between.
CHANGES_SINCE = """
local changed = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf')
local answer = {redis.call('GET', KEYS[3]) or '0'}
for _, key in ipairs(changed) do
  answer[#answer + 1] = key
  answer[#answer + 1] = redis.call('HGET', KEYS[1], key)
end
return answer
"""

# ARGV: base revision, then keys and values in turn; '-' before a key deletes it, '+' sets it.
COMMIT = """
local newest = tonumber(redis.call('GET', KEYS[3]) or '0')
if newest ~= tonumber(ARGV[1]) then return {0, newest} end
if #ARGV == 1 then return {1, newest} end
for i = 2, #ARGV, 2 do
  local key = string.sub(ARGV[i], 2)
  if string.sub(ARGV[i], 1, 1) == '+' then
    redis.call('HSET', KEYS[1], key, ARGV[i + 1])
  else
    redis.call('HDEL', KEYS[1], key)
  end
  redis.call('ZADD', KEYS[2], newest + 1, key)
end
redis.call('SET', KEYS[3], newest + 1)
return {1, newest + 1}
"""


class RedisStore:
    """A versioned key-value store in a Redis database (see `serving_image.store.Store`).

    Parameters
    ----------
    url : str
        ``redis://host:port/db?namespace=NAME``. All keys start with the namespace, ``clipper`` if there is none.

    Raises
    ------
    StoreUnavailable
        From every method, if Redis does not answer.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        namespace = parse_qs(parts.query).get("namespace", [DEFAULT_NAMESPACE])[0]
        self._keys = [f"{namespace}:{part}" for part in ("entries", "changes", "revision")]
        # Without its own retries: a commit whose answer was lost must not be made twice.
        self._redis = redis.Redis.from_url(
            urlunsplit(parts._replace(query="")),
            retry=None,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
        )
        self._changes_since = self._redis.register_script(CHANGES_SINCE)
        self._commit = self._redis.register_script(COMMIT)

    @contextmanager
    def _available(self) -> Iterator[None]:
        try:
            yield
        except redis.RedisError as exc:
            raise StoreUnavailable(f"Redis: {exc}") from exc

    def revision(self) -> int:
        """Return the number of the newest commit; 0 for an empty store."""
        with self._available():
            return int(self._redis.get(self._keys[2]) or 0)

    def changes_since(self, revision: int) -> tuple[int, dict[str, bytes | None]]:
        """Return the newest revision, and what changed after ``revision``."""
        with self._available():
            newest, *flat = self._changes_since(self._keys, [revision])
        return int(newest), {key.decode(): value for key, value in zip(flat[::2], flat[1::2], strict=True)}

    def commit(self, base_revision: int, changes: Mapping[str, bytes | None]) -> int:
        """Write all of ``changes``, or nothing; raise `Conflict` if ``base_revision`` is not the newest."""
        flat: list[str | bytes] = []
        for key, value in changes.items():
            flat += [f"-{key}", b""] if value is None else [f"+{key}", value]
        with self._available():
            done, newest = self._commit(self._keys, [base_revision, *flat])
        if not done:
            raise Conflict(f"The store is at revision {newest}, not {base_revision}")
        return int(newest)

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
