#!lua flags=no-writes
-- Returns the newest rows of a set, the newest first: of each its member, and its fields with their values.
--
-- KEYS: the set, the newest rows of all
-- ARGV: how many
local rows = {}
for place, row in ipairs(redis.call('ZREVRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)) do
  rows[place] = { row, redis.call('HGETALL', KEYS[2] .. ':row:' .. row) }
end
return rows
