-- Puts an unfinished run into the schedule, with the tasks that still matter.
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list), 4 runs (zset), 5 ranking (hash), 6 tasks (hash), 7 live (zset),
--         8 active (zset), 9 connections (hash), 10 wtt (hash)
-- ARGV    1 generation, 2 clock, 3 run, 4 its start, 5 identity of this loading, 6 number of pending entries, 7 number of
--         fields, then the entries, the fields' names and values, the tasks (lib/load.lua)
-- Returns YES | NO (it is here already)
-- Keeps   I14, I15. A rebuild loads before the generation is declared loaded, and may add tasks in slices by load_tasks;
--         whoever loads into a schedule that serves sends all tasks with this.
--@ guard_loading clock int rank load
if redis.call('EXISTS', KEYS[2]) == 1 then
  return { 'NO' }
end
local pending, fields = tonumber(ARGV[6]), tonumber(ARGV[7])
for i = 8, 7 + pending do
  redis.call('RPUSH', KEYS[3], ARGV[i])
end
local field = {}
for i = 8 + pending, 7 + pending + 2 * fields, 2 do
  redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1])
  field[ARGV[i]] = ARGV[i + 1]
end
redis.call('HSET', KEYS[2], 'load', ARGV[5])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[3])
if field.ph == 'running' then
  rank_as(KEYS[5], ARGV[3], field.av, field.cores, field.committed, field.ng, field.prio, field.itp)
end
local at = { tasks = KEYS[6], live = KEYS[7], active = KEYS[8], connections = KEYS[9], wtt = KEYS[10] }
add_tasks(at, ARGV[3], 8 + pending + 2 * fields, int(now))
return { 'YES' }
