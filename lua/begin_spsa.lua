-- Notes the tuning round handed to a task.
-- KEYS    1 generation (hash), 2 run (hash), 3 tasks (hash), 4 active (zset), 5 dirty (zset)
-- ARGV    1 generation, 2 clock, 3 task number, 4 member, 5 unique key, 6 username, 7 the round, 8 checksum of its flips,
--         9 write id
-- Returns NORUN | NOTASK next | MISMATCH field stored | INACTIVE task seen | DONE task seen
-- Keeps   I10: a later round replaces an earlier one, whose result then counts as games only.
--@ guard int task identify view
local run = redis.call('HMGET', KEYS[2], 'nt', 'ph')
local task, absent = identify(run[1], KEYS[3], ARGV[3], ARGV[5], ARGV[6])
if absent then
  return absent
end
if task[ACT] ~= '1' or run[2] ~= 'running' then
  return { 'INACTIVE', view(task, KEYS[4], ARGV[4]) }
end
task[ANS], task[ROUND], task[RSIG] = '1', ARGV[7], ARGV[8]
local _, seen = view(task, KEYS[4], ARGV[4], '')
--@ clock write
return { 'DONE', write(KEYS[3], ARGV[3], ARGV[4], task, ARGV[9], KEYS[5], now), seen }
