-- Notes what became durable; drops tasks that are closed and durable.
-- KEYS    1 generation (hash), 2 dirty (zset), then for each run that is named: run (hash), its tasks (hash)
-- ARGV    1 generation, 2 clock (unused), then for each acknowledgement five: T, place of the run among those named (from 0),
--         task number, version, 1 if somebody waits for it to answer the worker; or R, place, run version, position, ""
-- Returns YES
-- Keeps   I6, P8. Old and repeated acknowledgements change nothing: versions known to be durable only increase.
--@ guard task
for i = 3, #ARGV, 5 do
  local run, tasks = KEYS[3 + 2 * ARGV[i + 1]], KEYS[4 + 2 * ARGV[i + 1]]
  if ARGV[i] == 'R' then
    local there = redis.call('HMGET', run, 'dv', 'dpos')
    if there[1] then
      if tonumber(ARGV[i + 2]) > tonumber(there[1]) then
        redis.call('HSET', run, 'dv', ARGV[i + 2])
      end
      if tonumber(ARGV[i + 3]) > tonumber(there[2]) then
        redis.call('HSET', run, 'dpos', ARGV[i + 3])
      end
    end
  else
    local n = ARGV[i + 2]
    local task = held(tasks, n)
    if task then
      local version = tonumber(ARGV[i + 3])
      if version > tonumber(task[DV]) then
        task[DV] = ARGV[i + 3]
      end
      if ARGV[i + 4] == '1' then
        task[ANS] = '1'
      end
      local durable = tonumber(task[DV]) >= tonumber(task[V])
      if durable and task[DS] ~= '' then
        task[DS] = ''
        -- The member ends in the number, and the run's identity is the end of its key.
        redis.call('ZREM', KEYS[2], string.sub(run, -24) .. '/' .. string.format('%010d', tonumber(n)))
      end
      -- A closed task leaves once it is durable.
      if durable and task[ACT] ~= '1' then
        redis.call('HDEL', tasks, n)
      else
        keep(tasks, n, task)
      end
    end
  end
end
return { 'YES' }
