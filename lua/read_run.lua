-- A run as the schedule knows it.
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list)
-- ARGV    1 generation, 2 clock (unused)
-- Returns NORUN | RUN fields
--@ guard int run_view
if redis.call('EXISTS', KEYS[2]) == 0 then
  return { 'NORUN' }
end
local answer = run_view(KEYS[2], KEYS[3])
table.insert(answer, 1, 'RUN')
return answer
