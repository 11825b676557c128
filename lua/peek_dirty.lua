-- Tasks with a version that isn't known to be durable, longest first, without taking them.
-- KEYS    1 generation (hash), 2 dirty (zset)
-- ARGV    1 generation, 2 clock (unused), 3 only those dirty since before, or "+inf", 4 at most so many
-- Returns DIRTY member*
--@ guard
local answer = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[3], 'LIMIT', 0, ARGV[4])
table.insert(answer, 1, 'DIRTY')
return answer
