-- Admits a request for a task: a slot, the checks that precede the choice of a run, and the table for that choice.
-- KEYS    1 generation (hash), 2 slots (zset: holder by expiry), 3 lease:request_task (hash), 4 blocked (hash), 5 wtt (hash),
--         6 active (zset), 7 connections (hash), 8 ranking (hash), 9 seen (hash), 10 tasks of the run of the worker's live
--         task (hash), as far as the caller knows it
-- ARGV    1 generation, 2 clock, 3 holder, 4 slots, 5 time to live of a slot in ms, 6 short worker name, 7 unique key,
--         8 remote address, 9 machine limit, 10 the run whose tasks KEYS[10] are, or ""
-- Returns BUSY | BLOCKED message | DUPLICATE seconds member task seen | MACHINE | REPEATED member task seen |
--         OPEN seen rows | LOOK run: call again with that run's tasks
-- Keeps   I12: no more slots than there are; none outlives its expiry; a refusal keeps none. I13.
--@ guard clock int held_until live
-- Expired slots go last, whatever is answered.
local function answer(...)
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', int(now))
  return { ... }
end
if redis.call('ZCOUNT', KEYS[2], '(' .. int(now), '+inf') >= tonumber(ARGV[4]) or held_until(KEYS[3], now) then
  return answer('BUSY')
end
local message = redis.call('HGET', KEYS[4], ARGV[6])
if message then
  return answer('BLOCKED', message)
end
local member, seen = live_member(KEYS[5], KEYS[6], KEYS[8], ARGV[6])
if member then
  --@ task member standing
  local id, n = of_member(member)
  if id ~= ARGV[10] then
    return answer('LOOK', id)
  end
  local task = held(KEYS[10], n)
  local what, seconds = standing(task, seen, ARGV[7], now)
  if what == 'duplicate' then
    return answer('DUPLICATE', int(seconds), member, cmsgpack.pack(task), seen)
  end
  if what == 'unanswered' then
    local packed = cmsgpack.pack(task)
    deliver(KEYS[10], n, task)
    return answer('REPEATED', member, packed, seen)
  end
end
if tonumber(redis.call('HGET', KEYS[7], ARGV[8]) or '0') >= tonumber(ARGV[9]) then
  return answer('MACHINE')
end
-- One text: a thousand small ones cost more than what they say.
local known, rows = redis.call('HGET', KEYS[9], ARGV[6]) or '', table.concat(redis.call('HVALS', KEYS[8]), '\n')
redis.call('ZADD', KEYS[2], int(now + tonumber(ARGV[5])), ARGV[3])
return answer('OPEN', known, rows)
