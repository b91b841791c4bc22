-- Puts what a dead letter holds into a list once more, and marks the letter.
--
-- Promises: all or nothing; nothing if the letter isn't there as it was read, or if the list is at its
-- limit. Runs without allow-oom: it brings something new in.
--
-- KEYS: dead, list, ledger
-- ARGV: limit of the list, counter, where the letter was, the letter, the marked letter, the element
-- Replies: {ok, 1}, {ok, 0} if the letter is gone, {full, length of the list}, {wrongtype, what}
local dead, list, ledger = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(KEYS, { 'list', 'list', 'hash' })
wrong = wrong or not_a_number(ledger, { ARGV[2], 'dead_bytes' })
if wrong then return wrong end

local length = redis.call('LLEN', list)
if length >= tonumber(ARGV[1]) then return { 'full', length } end
-- Where it was, unless older ones have been trimmed since.
local letter, marked, element = ARGV[4], ARGV[5], ARGV[6]
local place = ARGV[3]
if redis.call('LINDEX', dead, place) ~= letter then place = redis.call('LPOS', dead, letter) end
if not place then return { 'ok', 0 } end

redis.call('LSET', dead, place, marked)
redis.call('HINCRBY', ledger, 'dead_bytes', #marked - #letter)
redis.call('RPUSH', list, element)
redis.call('HINCRBY', ledger, ARGV[2], 1)
return { 'ok', 1 }
