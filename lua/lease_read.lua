-- Who holds a lease.
-- KEYS    1 generation (hash, not looked at), 2 lease (hash)
-- ARGV    1 unused, 2 clock
-- Returns HELD holder g n expires | FREE
--@ clock held_until
if not held_until(KEYS[2], now) then
  return { 'FREE' }
end
local there = redis.call('HMGET', KEYS[2], 'holder', 'g', 'n', 'expires')
return { 'HELD', there[1], there[2], there[3], there[4] }
