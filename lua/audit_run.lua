-- All that the schedule holds of a run at one moment, for a recomputation (I1, I14, I20).
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list), 4 tasks (hash), 5 active (zset)
-- ARGV    1 generation, 2 clock (unused), 3 run
-- Returns NORUN | AUDIT next_start, 23 fields of the run, (number task seen or "")*
-- Costs   grow with the run's active tasks; the leader asks for one random run a minute.
--@ guard int run_view
local start = redis.call('HGET', KEYS[2], 'ns')
if not start then
  return { 'NORUN' }
end
local answer = run_view(KEYS[2], KEYS[3])
table.insert(answer, 1, start)
table.insert(answer, 1, 'AUDIT')
local tasks = redis.call('HGETALL', KEYS[4])
for i = 1, #tasks, 2 do
  local at = #answer
  answer[at + 1], answer[at + 2] = tasks[i], tasks[i + 1]
  answer[at + 3] = redis.call('ZSCORE', KEYS[5], ARGV[3] .. '/' .. string.format('%010d', tonumber(tasks[i]))) or ''
end
return answer
