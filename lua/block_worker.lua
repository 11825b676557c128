-- Mirrors a block, or its end.
-- KEYS    1 generation (hash), 2 blocked (hash)
-- ARGV    1 generation, 2 clock (unused), 3 short worker name, 4 1 to block, 0 to end it, 5 message
-- Returns YES
--@ guard_loading
if ARGV[4] == '1' then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[5])
else
  redis.call('HDEL', KEYS[2], ARGV[3])
end
return { 'YES' }
