-- The runs in the schedule, by their start.
-- KEYS    1 generation (hash), 2 runs (zset)
-- ARGV    1 generation, 2 clock (unused)
-- Returns RUNS run*
--@ guard
local answer = redis.call('ZRANGE', KEYS[2], 0, -1)
table.insert(answer, 1, 'RUNS')
return answer
