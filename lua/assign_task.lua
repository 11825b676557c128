-- Creates a task for a worker, closes the worker's stale one, frees the slot (spec/scheduling.md section 3.5).
-- KEYS    1 generation (hash), 2 lease:request_task (hash), 3 blocked (hash), 4 wtt (hash), 5 active (zset), 6 connections (hash),
--         7 ranking (hash), 8 seen (hash), 9 slots (zset), 10 dirty (zset), 11 run (hash), 12 its tasks (hash), 13 its live
--         tasks (zset), 14 15 16 the same of the run of the worker's live task, as far as the caller knows it
-- ARGV    1 generation, 2 clock, 3 run, 4 version of its arguments, 5 short worker name, 6 unique key, 7 username,
--         8 concurrency, 9 remote address, 10 worker information, 11 machine limit, 12 largest size, 13 slot, 14 write id,
--         15 write id of the stale task, 16 ids of its log entries, 17 the run that KEYS[14..16] are of, or "", 18 most pairs
--         of a batch
-- Returns LOCKED | BLOCKED message | DUPLICATE seconds member task seen | MACHINE | STALERUN | NOGAMES | REPEATED member task seen |
--         CLAIMED member task seen itp record (member stale seen)? | LOOK run: call again with that run's keys
-- Keeps   I1, I2, I8, I13, I20: the only place that hands out numbers and openings.
--@ guard clock int held_until live task rank
if held_until(KEYS[2], now) then
  return { 'LOCKED' }
end
local message = redis.call('HGET', KEYS[3], ARGV[5])
if message then
  return { 'BLOCKED', message }
end
local member, seen = live_member(KEYS[4], KEYS[5], KEYS[7], ARGV[5])
local old, old_id, old_n, old_keys
if member then
  --@ member standing
  old_id, old_n = of_member(member)
  if old_id == ARGV[3] then
    old_keys = { run = KEYS[11], tasks = KEYS[12], live = KEYS[13] }
  elseif old_id == ARGV[17] then
    old_keys = { run = KEYS[14], tasks = KEYS[15], live = KEYS[16] }
  else
    return { 'LOOK', old_id }
  end
  old_keys.ranking, old_keys.active, old_keys.connections = KEYS[7], KEYS[5], KEYS[6]
  old = held(old_keys.tasks, old_n)
  local what, seconds = standing(old, seen, ARGV[6], now)
  if what == 'duplicate' then
    return { 'DUPLICATE', int(seconds), member, cmsgpack.pack(old), seen }
  end
  if what == 'unanswered' then
    local packed = cmsgpack.pack(old)
    redis.call('ZREM', KEYS[9], ARGV[13])
    deliver(old_keys.tasks, old_n, old)
    return { 'REPEATED', member, packed, seen }
  end
end
if tonumber(redis.call('HGET', KEYS[6], ARGV[9]) or '0') >= tonumber(ARGV[11]) then
  return { 'MACHINE' }
end
local run = redis.call('HMGET', KEYS[11], 'ph', 'av', 'kind', 'ng', 'committed', 'nt', 'ns', 'workers', 'cores', 'total', 'v', 'itp', 'rec',
  'prio')
if run[1] ~= 'running' or run[2] ~= ARGV[4] then
  return { 'STALERUN' }
end
local remaining = run[4] - run[5]
if remaining <= 0 then
  return { 'NOGAMES' }
end
-- The end of a sequential test is rounded up to a whole batch (section 3.6; domain::capacity::task_size).
local batch = string.match(run[3], '^sprt:(%d+)$')
if batch then
  local unit = math.min(math.max(tonumber(batch), 1), tonumber(ARGV[18])) * 2
  remaining = math.ceil(remaining / unit) * unit
end
local size = math.min(tonumber(ARGV[12]), remaining)
local n = run[6]
local new = ARGV[3] .. '/' .. string.format('%010d', n)
local cores, committed = int(run[9] + ARGV[8]), int(run[5] + size)
local workers, version = int(run[8] + 1), int(run[11] + 1)
local there, played
if old then
  --@ counts aggregates
  played = games_of(counts(old[STATS]))
  -- Of this run, as they will be then.
  there = old_id == ARGV[3] and { workers, cores, committed, version, run[1], run[2], run[4], run[14], run[12] }
    or aggregates(old_keys.run)
end
-- What the worker has seen: the latest run, then each of them once.
local known = redis.call('HGET', KEYS[8], ARGV[5])
local runs = known and string.sub(known, 25) or ''
if not string.find(runs, ARGV[3], 1, true) then
  runs = runs .. ' ' .. ARGV[3]
end

-- Everything is read and checked; from here on nothing can fail.
redis.call('HSET', KEYS[11],
  'nt', int(n + 1),
  'ns', int(run[7] + size),
  'workers', workers,
  'cores', cores,
  'committed', committed,
  'total', int(run[10] + size),
  'v', version,
  'w', ARGV[14])
rank_as(KEYS[7], ARGV[3], run[2], cores, committed, run[4], run[14], run[12])
local at = int(now)
local task = { ARGV[6], ARGV[7], '1', '0', '1', '0', at, ARGV[1], ARGV[14], int(size), run[7], at, '0,0,0,0,0,0,0,0,0,0', '1', ARGV[5],
  ARGV[8], ARGV[9], '', '', '', '', '', '', '', '', ARGV[10], '' }
local kept = keep(KEYS[12], n, task)
redis.call('ZADD', KEYS[13], n, n)
redis.call('ZADD', KEYS[10], at, new)
redis.call('ZADD', KEYS[5], at, new)
redis.call('HINCRBY', KEYS[6], ARGV[9], 1)
local answer = { 'CLAIMED', new, kept, at, run[12], run[13] }
if old then
  --@ write release
  release(old_keys, there, old_id, old_n, member, old, played, ARGV[15])
  close(old, now, 'stale', '', ARGV[16])
  answer[7], answer[8], answer[9] = member, write(old_keys.tasks, old_n, member, old, ARGV[15], KEYS[10], now), at
end
redis.call('HSET', KEYS[4], ARGV[5], new)
redis.call('HSET', KEYS[8], ARGV[5], ARGV[3] .. runs)
redis.call('ZREM', KEYS[9], ARGV[13])
return answer
