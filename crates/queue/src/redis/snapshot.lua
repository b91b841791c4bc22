-- Reads counters, lengths, instance and time at one instant.
--
-- Changes nothing. Runs with allow-oom: at its memory limit, Redis refuses a transaction of plain
-- commands, even if they only read.
--
-- KEYS: raw, normalized, dead, ledger, meta
-- Replies: {ok, {counters as name and value, length of raw, of normalized, of dead, instance, time}}
local wrong = wrong_type(KEYS, { 'list', 'list', 'list', 'hash', 'hash' })
if wrong then return wrong end
return { 'ok', {
  redis.call('HGETALL', KEYS[4]),
  redis.call('LLEN', KEYS[1]),
  redis.call('LLEN', KEYS[2]),
  redis.call('LLEN', KEYS[3]),
  redis.call('HGET', KEYS[5], 'instance') or '',
  redis.call('TIME'),
} }
