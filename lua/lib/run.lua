-- A run's hash, and its row in the ranking table, which holds running runs only.

-- Writes the row: `id|av|cores|committed|ng|prio|itp`.
local function rank_as(ranking, id, av, cores, committed, ng, prio, itp)
  redis.call('HSET', ranking, id, table.concat({ id, av, cores, committed, ng, prio, itp }, '|'))
end

-- What the caller gets of a run; the order is the one of src/state/redis/run_codec.rs.
local function run_view(run, pending)
  local fields = redis.call('HMGET', run, 'av', 'kind', 'ph', 'op', 'v', 'dv', 'w', 'res', 'workers', 'cores', 'committed', 'total',
    'ng', 'prio', 'st', 'lu', 'itp', 'nps', 'gpm', 'nt', 'rec', 'pos')
  fields[#fields + 1] = int(redis.call('LLEN', pending))
  return fields
end

-- What is to be folded, behind what the caller answers: kind, phase, record, position, games, results, and at most a thousand
-- entries; whoever folds comes again for the rest.
local function add_fold(answer, fields, entries)
  local there = #answer
  for i = 1, 6 do
    answer[there + i] = fields[i]
  end
  for i = 1, #entries do
    answer[there + 6 + i] = entries[i]
  end
  return answer
end

local function waiting(pending)
  return redis.call('LRANGE', pending, 0, 999)
end

local function fold_view(run, pending, answer)
  return add_fold(answer, redis.call('HMGET', run, 'kind', 'ph', 'rec', 'pos', 'ng', 'res'), waiting(pending))
end

-- What `release` is to begin with: nothing may be read once something is written.
local function aggregates(run)
  return redis.call('HMGET', run, 'workers', 'cores', 'committed', 'v', 'ph', 'av', 'ng', 'prio', 'itp')
end

-- Takes an active task that will have played `games` out of the run's aggregates and of the tables.
-- `at`: run, live, ranking, active, connections: their keys; `there`: the aggregates as they are.
local function release(at, there, id, n, member, task, games, write_id)
  local cores = int(math.max(0, tonumber(there[2]) - tonumber(task[CONC])))
  local committed = int(math.max(0, tonumber(there[3]) + games - tonumber(task[NG])))
  redis.call('HSET', at.run,
    'workers', int(math.max(0, tonumber(there[1]) - 1)),
    'cores', cores,
    'committed', committed,
    'v', int(tonumber(there[4]) + 1),
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
