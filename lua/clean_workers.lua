-- Drops entries of the worker map whose task isn't live, of those that are named.
-- KEYS    1 generation (hash), 2 lease:leader (hash), 3 wtt (hash), 4 active (zset), 5 ranking (hash)
-- ARGV    1 generation, 2 clock, 3 4 the leader's token, then short worker names
-- Returns STALE | COUNT n
-- Keeps   I7, I11.
--@ guard clock int holds live
if not holds(KEYS[2], ARGV[3], ARGV[4], now) then
  return { 'STALE' }
end
local dead = {}
for i = 5, #ARGV do
  if redis.call('HEXISTS', KEYS[3], ARGV[i]) == 1 and not live_member(KEYS[3], KEYS[4], KEYS[5], ARGV[i]) then
    dead[#dead + 1] = ARGV[i]
  end
end
return { 'COUNT', int(#dead > 0 and redis.call('HDEL', KEYS[3], unpack(dead)) or 0) }
