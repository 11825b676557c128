-- Grants a lease to a holder if it is free, has expired, or is the holder's own.
-- KEYS    1 generation (hash), 2 lease (hash), 3 the counter of grants (string)
-- ARGV    1 the generation that the caller knows from the store, 2 clock, 3 holder, 4 time to live in ms
-- Returns HELD g n | TAKEN holder g n expires
-- Keeps   I2: tokens (g, n) only increase. The counter begins at the server's time in microseconds, so that they do even
--         where the counter itself was lost. P4: one holder at a time.
--@ clock int
local there = redis.call('HMGET', KEYS[2], 'holder', 'g', 'n', 'expires')
if there[1] and tonumber(there[4]) > now then
  if there[1] ~= ARGV[3] then
    return { 'TAKEN', there[1], there[2], there[3], there[4] }
  end
else
  local g = redis.call('HGET', KEYS[1], 'g')
  if not g or tonumber(g) < tonumber(ARGV[1]) then
    g = ARGV[1]
  end
  if redis.call('EXISTS', KEYS[3]) == 0 then
    local time = redis.call('TIME')
    redis.call('SET', KEYS[3], int(tonumber(time[1]) * 1000000 + tonumber(time[2])))
  end
  there[2] = g
  there[3] = int(redis.call('INCR', KEYS[3]))
end
redis.call('HSET', KEYS[2], 'holder', ARGV[3], 'g', there[2], 'n', there[3], 'expires', int(now + tonumber(ARGV[4])))
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return { 'HELD', there[2], there[3] }
