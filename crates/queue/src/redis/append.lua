-- Appends readings and dead letters with their ledger, unless the raw list is full.
--
-- Promises: all or nothing; nothing at all above the limit, which is looked at before the call, so
-- that one call may overshoot it. Runs without allow-oom: a Redis at its memory limit takes nothing
-- new.
--
-- KEYS: raw, dead, ledger
-- ARGV: limit of the raw list, most dead letters, most bytes of them, number of readings,
--       the readings, the dead letters
-- Replies: {ok, {length of raw, accepted}}, {full, length of raw}, {wrongtype, what}
local raw, dead, ledger = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(KEYS, { 'list', 'list', 'hash' })
wrong = wrong or not_a_number(ledger, { 'accepted', 'dead_ingester', 'trimmed', 'dead_bytes' })
if wrong then return wrong end

local length = redis.call('LLEN', raw)
if length >= tonumber(ARGV[1]) then return { 'full', length } end

local readings = tonumber(ARGV[4])
local first_dead = 5 + readings
local letters = #ARGV - first_dead + 1
send('RPUSH', raw, 5, first_dead - 1)
bury(dead, ledger, first_dead, #ARGV, tonumber(ARGV[2]), tonumber(ARGV[3]))
local accepted = redis.call('HINCRBY', ledger, 'accepted', readings)
if letters > 0 then redis.call('HINCRBY', ledger, 'dead_ingester', letters) end
return { 'ok', { length + readings, accepted } }
