-- Takes elements off the head of a list, appends outputs and dead letters, writes state, adds to
-- the ledger, and increments the list's commit number.
--
-- Guarantees: all or nothing. Token, number and the type of every key are checked before the first
-- write. Elements are trimmed last. Renews the lease. Runs with allow-oom, so that consumers can
-- drain a Redis at its memory limit.
--
-- KEYS: lease, consumer, source, output, dead, state, ledger
-- ARGV: 1 token, 2 expected number, 3 lease in milliseconds, 4 elements to take,
--       5 and 6 limits of the dead letters (count, bytes),
--       7 to 11 numbers of outputs, dead letters, puts, deletes and additions,
--       12 whether to check the last element to take (1 or 0), 13 its expected value; then
--       the outputs, the dead letters, the puts as key and value, the keys to delete,
--       the additions as counter and amount
-- Replies: {ok}, {fenced}, {conflict, number}, {shifted}, {wrongtype, detail}
local lease, consumer, source = KEYS[1], KEYS[2], KEYS[3]
local output, dead, state, ledger = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local wrong = wrong_type(KEYS, { 'string', 'hash', 'list', 'list', 'list', 'hash', 'hash' })
if wrong then return wrong end

if redis.call('GET', lease) ~= ARGV[1] then return { 'fenced' } end
local number = redis.call('HGET', consumer, 'number') or '0'
if number ~= ARGV[2] then return { 'conflict', tonumber(number) } end

-- If another program pushed to the head or popped from it, the trim would remove elements that
-- weren't read.
local take = tonumber(ARGV[4])
if take > 0 and ARGV[12] == '1' and redis.call('LINDEX', source, take - 1) ~= ARGV[13] then
  return { 'shifted' }
end

local first_output = 14
local first_dead = first_output + tonumber(ARGV[7])
local first_put = first_dead + tonumber(ARGV[8])
local first_delete = first_put + 2 * tonumber(ARGV[9])
local first_addition = first_delete + tonumber(ARGV[10])

local counters = { 'trimmed', 'dead_bytes' }
for place = first_addition, #ARGV, 2 do counters[#counters + 1] = ARGV[place] end
wrong = not_a_number(ledger, counters)
if wrong then return wrong end

send('RPUSH', output, first_output, first_dead - 1)
append_dead(dead, ledger, first_dead, first_put - 1, tonumber(ARGV[5]), tonumber(ARGV[6]))
send('HSET', state, first_put, first_delete - 1)
send('HDEL', state, first_delete, first_addition - 1)
for place = first_addition, #ARGV, 2 do
  redis.call('HINCRBY', ledger, ARGV[place], ARGV[place + 1])
end
redis.call('PEXPIRE', lease, ARGV[3])
redis.call('HSET', consumer, 'number', tonumber(number) + 1, 'by', ARGV[1])
if take > 0 then redis.call('LTRIM', source, take, -1) end
return { 'ok' }
