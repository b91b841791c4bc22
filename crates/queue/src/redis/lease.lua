-- Acquires the lease, unless another consumer holds it.
--
-- Guarantees: at most one holder at a time, by this server's clock. A token is never reused: it ends
-- with the caller's nonce, which is new for every lease. A retry with the same nonce returns the same
-- token. Creates the instance id if there is none. Refuses a queue with another number of partitions,
-- and lists of another pipeline: two independent consumers of one list would trim elements that the
-- other one hasn't processed. Shortens a lease that lasts longer than it was granted for, which means
-- that this server's clock was set back. Adds the counters that a ledger of version 0.1 lacks.
--
-- KEYS: lease, consumer, meta, owners of lists, ledger
-- ARGV: nonce, milliseconds, instance id to use if there is none, partitions, pipeline, the lists
-- Replies: {ok, token}, {held}, {partitions, number}, {owned, list and pipeline}, {wrongtype, detail}
local lease, consumer, meta, owners, ledger = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local wrong = wrong_type(KEYS, { 'string', 'hash', 'hash', 'hash', 'hash' })
if wrong then return wrong end

for place = 6, #ARGV do
  local owner = redis.call('HGET', owners, ARGV[place])
  if owner and owner ~= ARGV[5] then return { 'owned', ARGV[place] .. ' belongs to pipeline ' .. owner } end
end

local partitions = redis.call('HGET', meta, 'partitions')
if partitions and partitions ~= ARGV[4] then return { 'partitions', partitions } end

local held = redis.call('GET', lease)
if held and string.sub(held, -#ARGV[1]) ~= ARGV[1] then
  local given = tonumber(redis.call('HGET', consumer, 'given') or ARGV[2])
  if redis.call('PTTL', lease) > given then redis.call('PEXPIRE', lease, given) end
  return { 'held' }
end

for place = 6, #ARGV do redis.call('HSETNX', owners, ARGV[place], ARGV[5]) end
redis.call('HSETNX', meta, 'instance', ARGV[3])
if redis.call('HEXISTS', ledger, 'raw_taken') == 1 and redis.call('HEXISTS', ledger, 'samples') == 0 then
  -- In version 0.1 each element held one reading.
  local function count(field) return tonumber(redis.call('HGET', ledger, field) or '0') or 0 end
  local samples = count('raw_taken') - count('dead_transformer')
  redis.call('HSET', ledger, 'samples', samples, 'readings', samples)
end
redis.call('HSETNX', meta, 'partitions', ARGV[4])
redis.call('HSET', consumer, 'given', ARGV[2])
if held then
  redis.call('PEXPIRE', lease, ARGV[2])
  return { 'ok', held }
end
local token = redis.call('HINCRBY', consumer, 'tokens', 1) .. '-' .. ARGV[1]
redis.call('SET', lease, token, 'PX', ARGV[2])
return { 'ok', token }
