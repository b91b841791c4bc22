-- Renews a lease for its whole time, if the token still holds it.
--
-- KEYS: lease
-- ARGV: token, milliseconds
-- Replies: {ok}, {fenced}, {wrongtype, detail}
local wrong = wrong_type(KEYS, { 'string' })
if wrong then return wrong end
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return { 'fenced' } end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return { 'ok' }
