-- Closes some active tasks of a run that is being finished.
-- KEYS    1 generation (hash), 2 run (hash), 3 tasks (hash), 4 live (zset), 5 ranking (hash), 6 active (zset), 7 connections (hash),
--         8 dirty (zset)
-- ARGV    1 generation, 2 clock, 3 run, 4 id of the operation, 5 at most so many, 6 write id
-- Returns STALE | CLOSED remaining (member task seen)*
-- Keeps   P3: only the operation that is under way closes; every slice can be repeated.
--@ guard clock int task write counts rank aggregates release
local run = redis.call('HMGET', KEYS[2], 'ph', 'opid')
if not run[1] then
  return { 'CLOSED', '0' }
end
if run[2] ~= ARGV[4] or run[1] == 'running' then
  return { 'STALE' }
end
local at = { run = KEYS[2], live = KEYS[4], ranking = KEYS[5], active = KEYS[6], connections = KEYS[7] }
local slice = redis.call('ZRANGE', KEYS[4], 0, tonumber(ARGV[5]) - 1)
local answer = { 'CLOSED', int(redis.call('ZCARD', KEYS[4]) - #slice) }
for _, n in ipairs(slice) do
  local member = ARGV[3] .. '/' .. string.format('%010d', n)
  local task = held(KEYS[3], n)
  release(at, aggregates(KEYS[2]), ARGV[3], n, member, task, games_of(counts(task[STATS])), ARGV[6])
  close(task, now, '', '', '')
  local kept = write(KEYS[3], n, member, task, ARGV[6], KEYS[8], now)
  local last = #answer
  answer[last + 1], answer[last + 2], answer[last + 3] = member, kept, task[LU]
end
return answer
