-- Gives the lease to who asks, unless another holds it.
--
-- Promises: at most one holder at a time, by this server's clock; a token is never given twice, as
-- it ends in the asker's nonce, which is new for every tenure; asking again with the same nonce
-- gives the same token. Makes the instance id where there is none. A queue that was made with
-- another number of partitions is refused.
--
-- KEYS: lease, consumer, meta
-- ARGV: nonce, milliseconds, instance id to use if there is none, partitions
-- Replies: {ok, token}, {held}, {partitions, number}, {wrongtype, what}
local lease, consumer, meta = KEYS[1], KEYS[2], KEYS[3]
local wrong = wrong_type(KEYS, { 'string', 'hash', 'hash' })
if wrong then return wrong end

local partitions = redis.call('HGET', meta, 'partitions')
if partitions and partitions ~= ARGV[4] then return { 'partitions', partitions } end

local held = redis.call('GET', lease)
if held and string.sub(held, -#ARGV[1]) ~= ARGV[1] then return { 'held' } end

redis.call('HSETNX', meta, 'instance', ARGV[3])
redis.call('HSETNX', meta, 'partitions', ARGV[4])
if held then
  redis.call('PEXPIRE', lease, ARGV[2])
  return { 'ok', held }
end
local token = redis.call('HINCRBY', consumer, 'tokens', 1) .. '-' .. ARGV[1]
redis.call('SET', lease, token, 'PX', ARGV[2])
return { 'ok', token }
