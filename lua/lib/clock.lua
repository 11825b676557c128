-- `now`: milliseconds since the epoch by the server's clock, or ARGV[2] (tests that move the clock).
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
