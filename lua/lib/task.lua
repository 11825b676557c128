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
