#!lua
-- Adds rows to the newest ones of their group and of all, and drops the rows that are too old. A row that
-- is there gets the new values of its fields. Without rows, only what is too old of all is dropped.
--
-- KEYS: the newest rows of all
-- ARGV: how many to keep; then of each row: its group, score, member, number of fields, and the fields
--       with their values
local all, keep = KEYS[1], tonumber(ARGV[1])
-- Lua's unpack fails near 8,000 values. This is even, so that a field and its value stay together.
local CHUNK = 4000

local place = 2
while place <= #ARGV do
  local group = all .. ':of:' .. ARGV[place]
  local score, row = ARGV[place + 1], ARGV[place + 2]
  local first = place + 4
  local last = first + 2 * tonumber(ARGV[place + 3]) - 1
  place = last + 1
  while first <= last do
    local upto = math.min(first + CHUNK - 1, last)
    redis.call('HSET', all .. ':row:' .. row, unpack(ARGV, first, upto))
    first = upto + 1
  end
  redis.call('ZADD', group, score, row)
  redis.call('ZADD', all, score, row)
  for _, old in ipairs(redis.call('ZRANGE', group, 0, -keep - 1)) do
    redis.call('UNLINK', all .. ':row:' .. old)
  end
  redis.call('ZREMRANGEBYRANK', group, 0, -keep - 1)
end
-- This drops what was dropped from its group, too: those that are newer in the group are enough.
redis.call('ZREMRANGEBYRANK', all, 0, -keep - 1)
return 'ok'
