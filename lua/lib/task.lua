-- Tasks of a run: a hash from task number to a packed array of strings, so that a task is read and written in one call
-- and its key is known before its number is. A task is active or not yet durable, or it isn't here.
-- The order of the fields is the one of src/state/redis/task_codec.rs.

-- Whose it is, and that it is alive, come first: a heartbeat compares that beginning and unpacks nothing.

local UKEY, USER, ACT, ANS, V, DV, DS, G, W, NG, START, LU, STATS, HAS, NAME, CONC, ADDR, DIG, TAIL, ROUND, RSIG, CK, CM, CT, CI,
  INFO, REST = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27

local function held(tasks, n)
  local packed = redis.call('HGET', tasks, n)
  return packed and cmsgpack.unpack(packed)
end

-- Returns the task as it is kept.
local function keep(tasks, n, task)
  local packed = cmsgpack.pack(task)
  redis.call('HSET', tasks, n, packed)
  return packed
end

-- The task as it goes to the caller: packed (again, unless the caller has it), and its last sign of life, which is kept in
-- `active` while it is active.
local function view(task, active, member, packed)
  local seen = task[ACT] == '1' and redis.call('ZSCORE', active, member)
  return packed or cmsgpack.pack(task), seen or task[LU]
end

-- Members of `active`, `dirty` and the worker map: `<run>/<number in ten digits>`.
local function of_member(member)
  return string.sub(member, 1, 24), int(tonumber(string.sub(member, 26)))
end

-- The task, or nil and the refusal to return (spec/worker-api.md section 1.8, steps 5 to 7). `next` is the run's next
-- number, false if the run isn't here.
local function identify(next, tasks, n, unique_key, username)
  if not next then
    return nil, { 'NORUN' }
  end
  local task = held(tasks, n)
  if not task then
    return nil, { 'NOTASK', next }
  end
  if task[UKEY] ~= unique_key then
    return nil, { 'MISMATCH', 'unique_key', task[UKEY] }
  end
  if task[USER] ~= username then
    return nil, { 'MISMATCH', 'username', task[USER] }
  end
  return task, nil
end

-- Gives a changed task its new version and keeps it; `dirty` holds the age of the oldest version that isn't durable.
-- Returns it as it is kept.
local function write(tasks, n, member, task, write_id, dirty, now)
  task[G] = ARGV[1]
  task[V] = int(tonumber(task[V]) + 1)
  task[W] = write_id
  if task[DS] == '' then
    task[DS] = int(now)
    redis.call('ZADD', dirty, task[DS], member)
  end
  return keep(tasks, n, task)
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
