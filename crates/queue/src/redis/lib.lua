-- Helpers in front of every script. A script is atomic for other clients and in the append-only file.
-- Redis has no rollback, so scripts check everything before their first write.

-- Lua's unpack fails near 8,000 values.
local CHUNK = 4000

-- Calls `command key` with ARGV[first..last], a chunk at a time.
local function send(command, key, first, last)
  while first <= last do
    local upto = math.min(first + CHUNK - 1, last)
    redis.call(command, key, unpack(ARGV, first, upto))
    first = upto + 1
  end
end

-- Returns the reply for the first of `keys` that exists with another type than in `types`.
local function wrong_type(keys, types)
  for place, key in ipairs(keys) do
    local found = redis.call('TYPE', key).ok
    if found ~= 'none' and found ~= types[place] then
      return { 'wrongtype', key .. ' is a ' .. found .. ', not a ' .. types[place] }
    end
  end
  return nil
end

-- Returns the reply for the first of these fields of the ledger that isn't a number: incrementing it
-- would fail in the middle of the writes.
local function not_a_number(ledger, fields)
  for _, field in ipairs(fields) do
    local found = redis.call('HGET', ledger, field)
    if found and not string.match(found, '^-?%d+$') then
      return { 'wrongtype', field .. ' in ' .. ledger .. ' isn\'t a number' }
    end
  end
  return nil
end

-- Appends ARGV[first..last] to the dead letters, trims the oldest ones above the limits, and counts the
-- trimmed ones. The ledger's `dead_bytes` holds the size of all dead letters.
local function append_dead(dead, ledger, first, last, max_count, max_bytes)
  if first > last then return end
  local count = redis.call('LLEN', dead)
  local bytes = 0
  if count > 0 then bytes = tonumber(redis.call('HGET', ledger, 'dead_bytes') or '0') end
  for place = first, last do bytes = bytes + #ARGV[place] end
  send('RPUSH', dead, first, last)
  count = count + last - first + 1
  local trimmed = 0
  while count > 0 and (count > max_count or bytes > max_bytes) do
    bytes = bytes - #redis.call('LPOP', dead)
    count = count - 1
    trimmed = trimmed + 1
  end
  redis.call('HSET', ledger, 'dead_bytes', math.max(bytes, 0))
  if trimmed > 0 then redis.call('HINCRBY', ledger, 'trimmed', trimmed) end
end
