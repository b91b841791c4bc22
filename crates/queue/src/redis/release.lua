-- Releases a lease, if the token still holds it.
--
-- KEYS: lease
-- ARGV: token
-- Replies: {ok}, {fenced}, {wrongtype, detail}
local wrong = wrong_type(KEYS, { 'string' })
if wrong then return wrong end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return { 'fenced' } end
redis.call('DEL', KEYS[1])
return { 'ok' }
