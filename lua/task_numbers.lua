-- The numbers of a run's tasks that the schedule holds, in no order.
-- KEYS    1 generation (hash), 2 tasks (hash)
-- ARGV    1 generation, 2 clock (unused)
-- Returns NUMBERS n*
--@ guard
local answer = redis.call('HKEYS', KEYS[2])
table.insert(answer, 1, 'NUMBERS')
return answer
