-- Gives the lease to who asks, unless another holds it.
--
-- Promises: at most one holder at a time, by this server's clock; a token is never given twice, as
-- it ends in the asker's nonce, which is new for every tenure; asking again with the same nonce
-- gives the same token. Makes the instance id where there is none. A queue that was made with
-- another number of partitions is refused, and so are lists that another pipeline consumes: two
-- consumers of one list that don't know of each other would trim what the other has only looked at.
-- A lease that lasts longer than it was given for is cut to that: this server's clock was put back.
--
-- KEYS: lease, consumer, meta, owners of lists
-- ARGV: nonce, milliseconds, instance id to use if there is none, partitions, pipeline, the lists
-- Replies: {ok, token}, {held}, {partitions, number}, {owned, list and pipeline}, {wrongtype, what}
local lease, consumer, meta, owners = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local wrong = wrong_type(KEYS, { 'string', 'hash', 'hash', 'hash' })
if wrong then return wrong end

for place = 6, #ARGV do
  local owner = redis.call('HGET', owners, ARGV[place])
  if owner and owner ~= ARGV[5] then return { 'owned', ARGV[place] .. ' is of pipeline ' .. owner } end
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
redis.call('HSETNX', meta, 'partitions', ARGV[4])
redis.call('HSET', consumer, 'given', ARGV[2])
if held then
  redis.call('PEXPIRE', lease, ARGV[2])
  return { 'ok', held }
end
local token = redis.call('HINCRBY', consumer, 'tokens', 1) .. '-' .. ARGV[1]
redis.call('SET', lease, token, 'PX', ARGV[2])
return { 'ok', token }
