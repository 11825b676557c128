-- Takes over arguments that a person changed, never older ones, or gauges that a job of the leader's computed.
-- KEYS    1 generation (hash), 2 run (hash), 3 ranking (hash), 4 lease:leader (hash)
-- ARGV    1 generation, 2 clock, 3 run, 4 5 the leader's token or "" "", 6 version of the arguments or "", 7 games wanted,
--         8 priority, 9 internal throughput or "", 10 nodes per second or "", 11 games per minute
-- Returns STALE | YES | NO (the run isn't here)
-- Keeps   I7.
--@ guard
if ARGV[4] ~= '' then
  --@ clock holds
  if not holds(KEYS[4], ARGV[4], ARGV[5], now) then
    return { 'STALE' }
  end
end
local run = redis.call('HMGET', KEYS[2], 'ph', 'av', 'cores', 'committed', 'ng', 'prio', 'itp')
if not run[1] then
  return { 'NO' }
end
local av, ng, prio, itp = run[2], run[5], run[6], run[7]
if ARGV[6] ~= '' and tonumber(ARGV[6]) > tonumber(av) then
  av, ng, prio = ARGV[6], ARGV[7], ARGV[8]
  redis.call('HSET', KEYS[2], 'av', av, 'ng', ng, 'prio', prio)
end
if ARGV[9] ~= '' then
  itp = ARGV[9]
  redis.call('HSET', KEYS[2], 'itp', itp)
end
if run[1] == 'running' then
  --@ rank
  if ARGV[10] ~= '' then
    redis.call('HSET', KEYS[2], 'nps', ARGV[10], 'gpm', ARGV[11])
  end
  rank_as(KEYS[3], ARGV[3], av, run[3], run[4], ng, prio, itp)
end
return { 'YES' }
