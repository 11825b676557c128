-- A worker's cumulative results (spec/scheduling.md section 6; durability.md sections 3 and 4).
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list), 4 tasks (hash), 5 live (zset), 6 ranking (hash), 7 active (zset),
--         8 connections (hash), 9 dirty (zset)
-- ARGV    1 generation, 2 clock, 3 run, 4 task number, 5 member, 6 unique key, 7 username, 8 statistics, 9 digest (8 bytes),
--         10 worker information, 11 write id, 12 ids of the log entries of a completed task, 13 games of the tuning round or
--         "", 14 its wins, 15 its losses, 16 its pairs, 17 its checksum or "", 18 games in all, 19 those modulo 2,
--         20 1 if every count can be told exactly from its neighbours (2^53), else 0
-- Returns NORUN | NOTASK next | MISMATCH field stored | INACTIVE task seen | MISSINGSPSA |
--         REPEATED alive task seen fold | REFUSED what before task seen | ACCEPTED alive task seen fold
-- Keeps   I3, I4, I5, I9, I10: a body counts once; task, run and record change together.
local MOST = 9007199254740992

-- Whether the digest is among the task's, each of eight bytes.
local function known(digests, digest)
  local at = string.find(digests, digest, 1, true)
  while at and at % 8 ~= 1 do
    at = string.find(digests, digest, at + 1, true)
  end
  return at
end

local refused = guard(false)
if refused then
  return refused
end
local now = clock()
local run = redis.call('HMGET', KEYS[2], 'nt', 'ph', 'kind', 'res', 'v', 'seq', 'dpos', 'rec', 'pos', 'ng')
local n, member, write_id = ARGV[4], ARGV[5], ARGV[11]
local task, absent = identify(run[1], KEYS[4], n, ARGV[6], ARGV[7])
if absent then
  return absent
end
local alive = task[ACT] == '1' and run[2] == 'running'
if known(task[DIG], ARGV[9]) then
  if alive then
    -- A repetition counts for nothing, but it is a sign of life. The answer shows the task as it was.
    local answer = fold_view(KEYS[2], KEYS[3], { 'REPEATED', '1', view(task, KEYS[7], member) })
    redis.call('ZADD', KEYS[7], int(now), member)
    return answer
  end
  return fold_view(KEYS[2], KEYS[3], { 'REPEATED', '0', view(task, KEYS[7], member) })
end
if not alive then
  return { 'INACTIVE', view(task, KEYS[7], member) }
end
local tuning = string.sub(run[3], 1, 5) == 'spsa:'
if tuning and ARGV[13] == '' then
  return { 'MISSINGSPSA' }
end

-- The rules of a report.
local old = counts(task[STATS])
local before, games = games_of(old), tonumber(ARGV[18])
local batch = tonumber(string.match(run[3], '^sprt:(%d+)$') or '')
local round = tuning and tonumber(ARGV[13]) or 0
local wrong
if games < before or (round > 0 and games <= before) then
  wrong = 'incompatible'
elseif tonumber(ARGV[19]) ~= before % 2 then
  wrong = 'odd'
elseif batch then
  -- Digit by digit: the count may be larger than what a number here holds exactly.
  local unit, rest = math.max(batch, 1) * 2, 0
  for digit in string.gmatch(ARGV[18], '%d') do
    rest = (rest * 10 + tonumber(digit)) % unit
  end
  if rest ~= 0 then
    wrong = 'batch'
  end
end
local new, results = counts(ARGV[8]), counts(run[4])
if not wrong and ARGV[20] ~= '1' then
  wrong = 'incompatible'
end
if not wrong then
  for i = 1, 10 do
    results[i] = results[i] - old[i] + new[i]
    if results[i] > MOST then
      wrong = 'incompatible'
    end
  end
  if games_of(results) > MOST then
    wrong = 'incompatible'
  end
end
local at = { run = KEYS[2], live = KEYS[5], ranking = KEYS[6], active = KEYS[7], connections = KEYS[8] }
if wrong then
  release(at, aggregates(KEYS[2]), ARGV[3], n, member, task, before, write_id)
  close(task, now, '', '', '')
  local kept = write(KEYS[4], n, member, task, write_id, KEYS[9], now)
  return { 'REFUSED', wrong, int(before), view(task, KEYS[7], member, kept) }
end

local complete = games >= tonumber(task[NG])
local there = complete and aggregates(KEYS[2])
-- What is numbered up to the record's position isn't pending any more.
local entries = run[6] ~= run[9] and waiting(KEYS[3]) or {}
for i = 1, 10 do
  results[i] = int(results[i])
end
local entry
if batch then
  local growth = {}
  for i, place in ipairs({ 1, 2, 3, 6, 7, 8, 9, 10 }) do
    growth[i] = int(new[place] - old[place])
  end
  entry = 's|' .. table.concat(growth, ',')
elseif tuning and task[ROUND] ~= '' and task[RSIG] == ARGV[17] then
  -- Without an outstanding round, or with another round's checksum, the games count and nothing else.
  entry = 'p|' .. task[ROUND] .. '|' .. ARGV[14] .. '|' .. ARGV[15] .. '|' .. ARGV[16]
end
local sequence, version, sums = run[6], int(tonumber(run[5]) + 1), table.concat(results, ',')

-- Everything is read and checked; from here on nothing can fail.
if entry then
  sequence = int(tonumber(sequence) + 1)
  entry = sequence .. '|' .. entry
  redis.call('RPUSH', KEYS[3], entry)
  if #entries < 1000 then
    entries[#entries + 1] = entry
  end
end
redis.call('HSET', KEYS[2], 'res', sums, 'lu', int(now), 'v', version, 'w', write_id, 'seq', sequence)
if complete then
  there[4] = version
  release(at, there, ARGV[3], n, member, task, games, write_id)
else
  redis.call('ZADD', KEYS[7], int(now), member)
end

task[STATS], task[INFO], task[ANS], task[ROUND], task[RSIG] = ARGV[8], ARGV[10], '1', '', ''
-- The last sixteen bodies are remembered.
task[DIG] = string.sub(task[DIG], -120) .. ARGV[9]
-- The tail holds what the durable record may lack.
local tail, durable = {}, tonumber(run[7])
for line in string.gmatch(task[TAIL], '[^\n]+') do
  if tonumber(string.match(line, '^%d+')) > durable then
    tail[#tail + 1] = line
  end
end
tail[#tail + 1] = entry
task[TAIL] = table.concat(tail, '\n')
if complete then
  close(task, now, 'completed', '', ARGV[12])
end
-- The report and the closing are one step, hence one version.
local kept = write(KEYS[4], n, member, task, write_id, KEYS[9], now)
local answer = { 'ACCEPTED', complete and '0' or '1', kept, int(now) }
return add_fold(answer, { run[3], run[2], run[8], run[9], run[10], sums }, entries)
