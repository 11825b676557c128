-- How many tasks have a version that isn't durable, and since when the longest of them has waited.
-- KEYS    1 generation (hash), 2 dirty (zset)
-- ARGV    1 generation, 2 clock (unused)
-- Returns BACKLOG n [ms]
--@ guard int
local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
return { 'BACKLOG', int(redis.call('ZCARD', KEYS[2])), first[2] or '' }
