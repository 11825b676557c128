-- A worker's cumulative results (spec/scheduling.md section 6; durability.md sections 3 and 4).
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list), 4 tasks (hash), 5 live (zset), 6 ranking (hash), 7 active (zset),
--         8 connections (hash), 9 dirty (zset)
-- ARGV    1 generation, 2 clock, 3 run, 4 task number, 5 member, 6 unique key, 7 username, 8 statistics, 9 digest (8 bytes),
--         10 worker information, 11 write id, 12 ids of the log entries of a completed task, 13 games of the tuning round or
--         "", 14 its `wins|losses|pairs`, 15 its checksum or "", 16 games in all if a count can't be told exactly from its
--         neighbours (2^53), else ""
-- Returns NORUN | NOTASK next | MISMATCH field stored | INACTIVE task seen | MISSINGSPSA |
--         REPEATED alive task seen fold | REFUSED what before task seen | ACCEPTED alive task seen fold
-- Keeps   I3, I4, I5, I9, I10: a body counts once; task, run and record change together.
--@ guard clock int task identify counts write
local MOST = 9007199254740992
local run = redis.call('HMGET', KEYS[2], 'nt', 'ph', 'kind', 'res', 'v', 'seq', 'dpos', 'rec', 'pos', 'ng')
local n, member, write_id = ARGV[4], ARGV[5], ARGV[11]
local task, absent = identify(run[1], KEYS[4], n, ARGV[6], ARGV[7])
if absent then
  return absent
end
local alive = task[ACT] == '1' and run[2] == 'running'
-- Digests are of eight bytes each.
local digests, digest = task[DIG], ARGV[9]
local known = string.find(digests, digest, 1, true)
while known and known % 8 ~= 1 do
  known = string.find(digests, digest, known + 1, true)
end
if known or not alive then
  --@ view fold
  local packed, seen = view(task, KEYS[7], member)
  if not known then
    return { 'INACTIVE', packed, seen }
  end
  local answer = fold_view(KEYS[2], KEYS[3], { 'REPEATED', alive and '1' or '0', packed, seen })
  if alive then
    -- A repetition counts for nothing, but it is a sign of life. The answer shows the task as it was.
    redis.call('ZADD', KEYS[7], int(now), member)
  end
  return answer
end
local tuning = string.sub(run[3], 1, 5) == 'spsa:'
if tuning and ARGV[13] == '' then
  return { 'MISSINGSPSA' }
end

-- The rules of a report.
local old, new, results = counts(task[STATS]), counts(ARGV[8]), counts(run[4])
local before, exact = games_of(old), ARGV[16] == ''
local games = exact and games_of(new) or tonumber(ARGV[16])
local batch = not tuning and tonumber(string.match(run[3], '^sprt:(%d+)$') or '')
local round = tuning and tonumber(ARGV[13]) or 0
-- The rest of a division, digit by digit where the count may be larger than what a number here holds exactly.
local function rest_by(unit)
  if exact then
    return games % unit
  end
  local rest = 0
  for digit in string.gmatch(ARGV[16], '%d') do
    rest = (rest * 10 + tonumber(digit)) % unit
  end
  return rest
end
local wrong
if games < before or (round > 0 and games <= before) then
  wrong = 'incompatible'
elseif rest_by(2) ~= before % 2 then
  wrong = 'odd'
elseif batch and rest_by(math.max(batch, 1) * 2) ~= 0 then
  wrong = 'batch'
elseif not exact then
  wrong = 'incompatible'
else
  for i = 1, 10 do
    local sum = results[i] - old[i] + new[i]
    if sum > MOST then
      wrong = 'incompatible'
    end
    results[i] = sum
  end
  if games_of(results) > MOST then
    wrong = 'incompatible'
  end
end
local complete = not wrong and games >= tonumber(task[NG])
-- Nothing may be read once something is written.
local there, keys
if wrong or complete then
  --@ aggregates
  there = aggregates(KEYS[2])
  keys = { run = KEYS[2], live = KEYS[5], ranking = KEYS[6], active = KEYS[7], connections = KEYS[8] }
end
if wrong then
  --@ rank release view
  release(keys, there, ARGV[3], n, member, task, before, write_id)
  close(task, now, '', '', '')
  local kept = write(KEYS[4], n, member, task, write_id, KEYS[9], now)
  return { 'REFUSED', wrong, int(before), view(task, KEYS[7], member, kept) }
end

-- What is numbered up to the record's position isn't pending any more.
local entries = run[6] ~= run[9] and redis.call('LRANGE', KEYS[3], 0, 999) or {}
local entry
if batch then
  entry = string.format('s|%d,%d,%d,%d,%d,%d,%d,%d', new[1] - old[1], new[2] - old[2], new[3] - old[3], new[6] - old[6],
    new[7] - old[7], new[8] - old[8], new[9] - old[9], new[10] - old[10])
elseif tuning and task[ROUND] ~= '' and task[RSIG] == ARGV[15] then
  -- Without an outstanding round, or with another round's checksum, the games count and nothing else.
  entry = 'p|' .. task[ROUND] .. '|' .. ARGV[14]
end
local at, sequence, version = int(now), run[6], int(run[5] + 1)
local sums = string.format('%d,%d,%d,%d,%d,%d,%d,%d,%d,%d', unpack(results))
if entry then
  sequence = int(sequence + 1)
  entry = sequence .. '|' .. entry
end
-- The tail holds what the durable record may lack.
if task[TAIL] ~= '' then
  local tail, durable = {}, tonumber(run[7])
  for line in string.gmatch(task[TAIL], '[^\n]+') do
    if tonumber(string.match(line, '^%d+')) > durable then
      tail[#tail + 1] = line
    end
  end
  tail[#tail + 1] = entry
  task[TAIL] = table.concat(tail, '\n')
else
  task[TAIL] = entry or ''
end

-- Everything is read and checked; from here on nothing can fail.
if entry then
  redis.call('RPUSH', KEYS[3], entry)
  if #entries < 1000 then
    entries[#entries + 1] = entry
  end
end
redis.call('HSET', KEYS[2], 'res', sums, 'lu', at, 'v', version, 'w', write_id, 'seq', sequence)
task[STATS], task[INFO], task[ANS], task[ROUND], task[RSIG] = ARGV[8], ARGV[10], '1', '', ''
-- The last sixteen bodies are remembered.
task[DIG] = string.sub(digests, -120) .. digest
if complete then
  --@ rank release
  there[4] = version
  release(keys, there, ARGV[3], n, member, task, games, write_id)
  close(task, now, 'completed', '', ARGV[12])
else
  redis.call('ZADD', KEYS[7], at, member)
end
-- The report and the closing are one step, hence one version.
local kept = write(KEYS[4], n, member, task, write_id, KEYS[9], now)
return { 'ACCEPTED', complete and '0' or '1', kept, at, run[3], run[2], run[8], run[9], run[10], sums, unpack(entries) }
