-- Whether an address may make one more request: each request pushes the time at which the address would be even again
-- forward by a fixed step, and that time may not be further ahead than a burst. Needs no schedule to be loaded.
-- KEYS    1 generation (not looked at), 2 the address's time (string)
-- ARGV    1 generation (not looked at), 2 clock, 3 step in microseconds, 4 burst in microseconds
-- Returns YES or NO
--@ clock int
local at = now * 1000
local even = math.max(tonumber(redis.call('GET', KEYS[2]) or '0'), at) + tonumber(ARGV[3])
if even - at > tonumber(ARGV[4]) then
  return { 'NO' }
end
redis.call('SET', KEYS[2], int(even), 'PX', int(math.ceil((even - at) / 1000) + 1))
return { 'YES' }
