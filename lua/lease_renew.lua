-- Extends a lease that is still held with this token.
-- KEYS    1 generation (hash, not looked at: leases outlive generations), 2 lease (hash)
-- ARGV    1 unused, 2 clock, 3 g, 4 n, 5 time to live in ms
-- Returns YES | NO
-- Keeps   I7: a stale holder changes nothing.
--@ clock int holds
if not holds(KEYS[2], ARGV[3], ARGV[4], now) then
  return { 'NO' }
end
redis.call('HSET', KEYS[2], 'expires', int(now + tonumber(ARGV[5])))
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return { 'YES' }
