-- Signs of life of several workers, each by itself.
-- KEYS    1 generation (hash), 2 active (zset), then for each run that is named: run (hash), its tasks (hash)
-- ARGV    1 generation, 2 clock, then for each worker six: place of the run among those named (from 0), task number, member,
--         what a packed task begins with that is theirs, alive, and known to them, unique key, username
-- Returns BEATS, then for each worker: ALIVE 1 or 0 | NORUN | NOTASK next | MISMATCH field stored
-- Keeps   I14: `active` holds active tasks only. Its cost depends on nothing but the number of workers and their tasks' sizes.
local refused = guard(false)
if refused then
  return refused
end
local runs, answer, alive = {}, { 'BEATS' }, {}
for i = 3, #ARGV, 6 do
  local place, n = ARGV[i], ARGV[i + 1]
  local run, tasks = runs[place], KEYS[4 + 2 * place]
  if not run then
    run = redis.call('HMGET', KEYS[3 + 2 * place], 'nt', 'ph')
    runs[place] = run
  end
  local there = run[1] and redis.call('HGET', tasks, n)
  if there and run[2] == 'running' and string.sub(there, 1, #ARGV[i + 3]) == ARGV[i + 3] then
    alive[#alive + 1] = ARGV[i + 2]
    answer[#answer + 1] = 'ALIVE'
    answer[#answer + 1] = '1'
  else
    local task, absent = identify(run[1], tasks, n, ARGV[i + 4], ARGV[i + 5])
    if absent then
      for _, word in ipairs(absent) do
        answer[#answer + 1] = word
      end
    else
      local living = task[ACT] == '1' and run[2] == 'running'
      if living then
        alive[#alive + 1] = ARGV[i + 2]
        -- Who knows of the task has had the answer to its claim.
        if task[ANS] ~= '1' then
          task[ANS] = '1'
          keep(tasks, n, task)
        end
      end
      answer[#answer + 1] = 'ALIVE'
      answer[#answer + 1] = living and '1' or '0'
    end
  end
end
if #alive > 0 then
  local now, marks = int(clock()), {}
  for i, member in ipairs(alive) do
    marks[2 * i - 1], marks[2 * i] = now, member
  end
  redis.call('ZADD', KEYS[2], unpack(marks))
end
return answer
