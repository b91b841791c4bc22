-- Appends readings and dead letters with their ledger, unless the raw list is full, and sets the positions of
-- the source.
--
-- Guarantees: appends all or nothing, and nothing if the list is at its limit. The limit is checked
-- before the append, so one call may exceed it. Runs without allow-oom: at its memory limit, Redis
-- accepts no new data. With positions: applies only if each has the value `from`; if each has the value `to`
-- already, an earlier call with the same arguments was applied, and this one changes nothing.
--
-- KEYS: raw, dead, ledger, positions
-- ARGV: limit of the raw list, limits of the dead letters (count, bytes), number of readings,
--       number of inputs beyond their quota, number of positions, the positions (partition, from, to),
--       the readings, the dead letters
-- Replies: {ok, {length of raw, accepted}}, {full, length of raw}, {moved}, {wrongtype, detail}
local raw, dead, ledger, positions = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local wrong = wrong_type(KEYS, { 'list', 'list', 'hash', 'hash' })
wrong = wrong or not_a_number(ledger, { 'accepted', 'dead_ingester', 'trimmed', 'dead_bytes' })
if wrong then return wrong end

local length = redis.call('LLEN', raw)
local first_reading = 7 + 3 * tonumber(ARGV[6])
if first_reading > 7 then
  local before, after = true, true
  for place = 7, first_reading - 1, 3 do
    local found = redis.call('HGET', positions, ARGV[place]) or ''
    before = before and found == ARGV[place + 1]
    after = after and found == ARGV[place + 2]
  end
  if after then
    return { 'ok', { length, tonumber(redis.call('HGET', ledger, 'accepted') or '0') } }
  end
  if not before then return { 'moved' } end
end
if length >= tonumber(ARGV[1]) then return { 'full', length } end

local readings = tonumber(ARGV[4])
local over_quota = tonumber(ARGV[5])
local first_dead = first_reading + readings
local dead_count = #ARGV - first_dead + 1 + over_quota
send('RPUSH', raw, first_reading, first_dead - 1)
append_dead(dead, ledger, first_dead, #ARGV, tonumber(ARGV[2]), tonumber(ARGV[3]))
local accepted = redis.call('HINCRBY', ledger, 'accepted', readings)
if dead_count > 0 then redis.call('HINCRBY', ledger, 'dead_ingester', dead_count) end
for place = 7, first_reading - 1, 3 do
  redis.call('HSET', positions, ARGV[place], ARGV[place + 2])
end
if over_quota > 0 then redis.call('HINCRBY', ledger, 'trimmed', over_quota) end
return { 'ok', { length + readings, accepted } }
