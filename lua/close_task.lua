-- Closes one task: given up by its worker, or dead.
-- KEYS    1 generation (hash), 2 run (hash), 3 tasks (hash), 4 live (zset), 5 ranking (hash), 6 active (zset), 7 connections (hash),
--         8 dirty (zset), 9 lease:leader (hash)
-- ARGV    1 generation, 2 clock, 3 run, 4 task number, 5 member, 6 write id, 7 kind of the cause or "", 8 its message,
--         9 ids of its log entries, 10 given | dead, then given: 11 unique key, 12 username; dead: 11 latest sign of life that
--         still counts as dead, 12 13 the leader's token
-- Returns NORUN | NOTASK next | MISMATCH field stored | STALE | STILL | INACTIVE task seen | DONE task seen
-- Keeps   I6, I7: only the leader declares tasks dead, and only those that still are.
--@ guard clock task aggregates
local run = aggregates(KEYS[2])
local n, member = ARGV[4], ARGV[5]
local task, absent
if ARGV[10] == 'given' then
  --@ identify
  task, absent = identify(run[10], KEYS[3], n, ARGV[11], ARGV[12])
  if absent then
    return absent
  end
else
  --@ holds
  if not holds(KEYS[9], ARGV[12], ARGV[13], now) then
    return { 'STALE' }
  end
  task = run[10] and held(KEYS[3], n)
  if not task then
    return { 'NORUN' }
  end
  local seen = task[ACT] == '1' and redis.call('ZSCORE', KEYS[6], member) or task[LU]
  if tonumber(seen) > tonumber(ARGV[11]) then
    return { 'STILL' }
  end
end
if task[ACT] ~= '1' or run[5] ~= 'running' then
  --@ view
  return { 'INACTIVE', view(task, KEYS[6], member) }
end
--@ int counts rank release write
local at = { run = KEYS[2], live = KEYS[4], ranking = KEYS[5], active = KEYS[6], connections = KEYS[7] }
release(at, run, ARGV[3], n, member, task, games_of(counts(task[STATS])), ARGV[6])
close(task, now, ARGV[7], ARGV[8], ARGV[9])
return { 'DONE', write(KEYS[3], n, member, task, ARGV[6], KEYS[8], now), task[LU] }
