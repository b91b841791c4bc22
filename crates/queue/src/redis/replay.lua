-- Replaces a dead letter, which was replayed or discarded, by what is left of it, and appends the elements of a
-- replay to their list.
--
-- Guarantees: all or nothing, and nothing if the dead letter has changed since it was read or if the
-- list is at its limit. The limit is checked before the append, so one call may exceed it. Runs without allow-oom, because it adds data.
--
-- KEYS: dead, list, ledger
-- ARGV: limit of the list, counter, index of the dead letter, the dead letter, what replaces it,
--       the elements
-- Replies: {ok, 1}, {ok, 0} if the dead letter is gone, {full, length of the list}, {wrongtype, detail}
local dead, list, ledger = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(KEYS, { 'list', 'list', 'hash' })
wrong = wrong or not_a_number(ledger, { ARGV[2], 'dead_bytes' })
if wrong then return wrong end

local length = redis.call('LLEN', list)
if length >= tonumber(ARGV[1]) then return { 'full', length } end
-- The index is different if older dead letters were trimmed since.
local entry, marked = ARGV[4], ARGV[5]
local place = ARGV[3]
if redis.call('LINDEX', dead, place) ~= entry then place = redis.call('LPOS', dead, entry) end
if not place then return { 'ok', 0 } end

redis.call('LSET', dead, place, marked)
redis.call('HINCRBY', ledger, 'dead_bytes', #marked - #entry)
send('RPUSH', list, 6, #ARGV)
redis.call('HINCRBY', ledger, ARGV[2], #ARGV - 5)
return { 'ok', 1 }
