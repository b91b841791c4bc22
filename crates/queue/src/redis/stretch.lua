-- Reads a part of a list, and how many elements left it before.
--
-- Changes nothing. Runs with allow-oom, as snapshot.lua does.
--
-- KEYS: list, ledger, meta
-- ARGV: position of the first element, empty for the newest ones; how many; the counters of elements
--   that left the list
-- Replies: {ok, {instance, position after the last element of the list, position of the first element
--   that is returned, elements}}
local wrong = wrong_type(KEYS, { 'list', 'hash', 'hash' })
if wrong then return wrong end
local gone = 0
for place = 3, #ARGV do
  gone = gone + tonumber(redis.call('HGET', KEYS[2], ARGV[place]) or '0')
end
local length = redis.call('LLEN', KEYS[1])
local first = length - ARGV[2]
if ARGV[1] ~= '' then first = ARGV[1] - gone end
first = math.max(first, 0)
return { 'ok', {
  redis.call('HGET', KEYS[3], 'instance') or '',
  gone + length,
  gone + first,
  redis.call('LRANGE', KEYS[1], first, first + ARGV[2] - 1),
} }
