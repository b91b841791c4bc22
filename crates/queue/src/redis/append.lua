-- Appends readings and dead letters with their ledger, unless the raw list is full.
--
-- Guarantees: appends all or nothing, and nothing if the list is at its limit. The limit is checked
-- before the append, so one call may exceed it. Runs without allow-oom: at its memory limit, Redis
-- accepts no new data.
--
-- KEYS: raw, dead, ledger
-- ARGV: limit of the raw list, limits of the dead letters (count, bytes), number of readings,
--       number of inputs beyond their quota, the readings, the dead letters
-- Replies: {ok, {length of raw, accepted}}, {full, length of raw}, {wrongtype, detail}
local raw, dead, ledger = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(KEYS, { 'list', 'list', 'hash' })
wrong = wrong or not_a_number(ledger, { 'accepted', 'dead_ingester', 'trimmed', 'dead_bytes' })
if wrong then return wrong end

local length = redis.call('LLEN', raw)
if length >= tonumber(ARGV[1]) then return { 'full', length } end

local readings = tonumber(ARGV[4])
local over_quota = tonumber(ARGV[5])
local first_dead = 6 + readings
local dead_count = #ARGV - first_dead + 1 + over_quota
send('RPUSH', raw, 6, first_dead - 1)
append_dead(dead, ledger, first_dead, #ARGV, tonumber(ARGV[2]), tonumber(ARGV[3]))
local accepted = redis.call('HINCRBY', ledger, 'accepted', readings)
if dead_count > 0 then redis.call('HINCRBY', ledger, 'dead_ingester', dead_count) end
if over_quota > 0 then redis.call('HINCRBY', ledger, 'trimmed', over_quota) end
return { 'ok', { length + readings, accepted } }
