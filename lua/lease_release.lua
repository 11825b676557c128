-- Gives a lease back before its time.
-- KEYS    1 generation (hash, not looked at), 2 lease (hash)
-- ARGV    1 unused, 2 clock, 3 g, 4 n
-- Returns YES | NO (somebody else's already)
-- Keeps   I7: a stale holder releases nothing.
--@ clock holds
if not holds(KEYS[2], ARGV[3], ARGV[4], now) then
  return { 'NO' }
end
redis.call('DEL', KEYS[2])
return { 'YES' }
