-- How many tasks have a version that isn't durable.
-- KEYS    1 generation (hash), 2 dirty (zset)
-- ARGV    1 generation, 2 clock (unused)
-- Returns COUNT n
local refused = guard(false)
return refused or { 'COUNT', int(redis.call('ZCARD', KEYS[2])) }
