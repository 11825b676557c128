-- Adds more tasks to a run that is being loaded, while the generation isn't loaded yet.
-- KEYS    1 generation (hash), 2 run (hash), 3 tasks (hash), 4 live (zset), 5 active (zset), 6 connections (hash), 7 wtt (hash)
-- ARGV    1 generation, 2 clock, 3 run, 4 identity of the loading, then the tasks (lib/load.lua)
-- Returns YES | NO (somebody else loaded the run)
-- Keeps   I14, I15.
--@ guard_loading clock int load
if redis.call('HGET', KEYS[2], 'load') ~= ARGV[4] then
  return { 'NO' }
end
local at = { tasks = KEYS[3], live = KEYS[4], active = KEYS[5], connections = KEYS[6], wtt = KEYS[7] }
add_tasks(at, ARGV[3], 5, int(now))
return { 'YES' }
