-- What every script begins with: is this the schedule that the caller means, and what time is it?
--
-- KEYS[1] generation (hash: g, state, replid); ARGV[1] the caller's generation; ARGV[2] "" for the server's own clock,
-- or a time in ms (tests that move the clock).
-- Integers travel as decimal strings: Lua's numbers print large ones in exponents. `%d` is half the work of `%.0f`, and
-- holds 64 bits wherever the server is a 64-bit program, which is asked at the connection (src/state/redis/facts.rs).

local function int(number)
  return string.format('%d', number)
end

-- Milliseconds since the epoch by the server's clock.
local function clock()
  if ARGV[2] ~= '' then
    return tonumber(ARGV[2])
  end
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Whether the server serves the history with that replication id: a primary that was demoted and promoted again serves another
-- one.
local function serves(id)
  return id and string.find(redis.call('INFO', 'replication'), 'master_replid:' .. id, 1, true)
end

-- The refusal to return, or nil. `loading` lets a generation be changed that isn't loaded yet.
local function guard(loading)
  local there = redis.call('HMGET', KEYS[1], 'g', 'state', 'replid')
  if not there[1] then
    return { 'NOTLOADED' }
  end
  if there[1] ~= ARGV[1] then
    return { 'WRONGGEN', there[1] }
  end
  if there[2] ~= 'loaded' and not loading then
    return { 'NOTLOADED' }
  end
  if not serves(there[3]) then
    return { 'FOREIGN' }
  end
  return nil
end
