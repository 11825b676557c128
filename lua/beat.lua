-- A worker's sign of life.
-- KEYS    1 generation (hash), 2 run (hash), 3 its tasks (hash), 4 active (zset)
-- ARGV    1 generation, 2 clock, 3 task number, 4 member, 5 unique key, 6 username
-- Returns NORUN | NOTASK next | MISMATCH field stored | ALIVE 1 or 0
-- Keeps   I14: `active` holds active tasks only. Its cost depends on nothing but the task's size.
--@ guard int task identify
local run = redis.call('HMGET', KEYS[2], 'nt', 'ph')
local task, absent = identify(run[1], KEYS[3], ARGV[3], ARGV[5], ARGV[6])
if absent then
  return absent
end
if task[ACT] ~= '1' or run[2] ~= 'running' then
  return { 'ALIVE', '0' }
end
--@ clock
redis.call('ZADD', KEYS[4], int(now), ARGV[4])
-- Who knows of the task has had the answer to its claim.
if task[ANS] ~= '1' then
  task[ANS] = '1'
  keep(KEYS[3], ARGV[3], task)
end
return { 'ALIVE', '1' }
