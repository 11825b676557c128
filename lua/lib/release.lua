-- What a task takes with it when it is closed. Wants `rank` and `task`.

-- Takes an active task that will have played `games` out of the run's aggregates and of the tables.
-- `at`: run, live, ranking, active, connections: their keys; `there`: the aggregates as they are.
local function release(at, there, id, n, member, task, games, write_id)
  local cores = int(math.max(0, there[2] - task[CONC]))
  local committed = int(math.max(0, there[3] + games - task[NG]))
  redis.call('HSET', at.run,
    'workers', int(math.max(0, there[1] - 1)),
    'cores', cores,
    'committed', committed,
    'v', int(there[4] + 1),
    'w', write_id)
  redis.call('ZREM', at.active, member)
  redis.call('ZREM', at.live, n)
  if there[5] == 'running' then
    rank_as(at.ranking, id, there[6], cores, committed, there[7], there[8], there[9])
  end
  if task[HAS] == '1' and redis.call('HINCRBY', at.connections, task[ADDR], -1) <= 0 then
    redis.call('HDEL', at.connections, task[ADDR])
  end
end

-- The task's side of its closing.
local function close(task, now, kind, message, ids)
  task[ACT] = '0'
  task[LU] = int(now)
  task[ROUND] = ''
  task[RSIG] = ''
  task[CK] = kind
  task[CM] = message
  task[CT] = kind ~= '' and int(now) or ''
  task[CI] = ids
end
