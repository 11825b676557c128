-- Takes a finished run out of the schedule.
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list), 4 tasks (hash), 5 live (zset), 6 runs (zset), 7 ranking (hash),
--         8 dirty (zset)
-- ARGV    1 generation, 2 clock (unused), 3 run
-- Returns YES | NO (not here, not finished, or a task is active)
-- Keeps   P8: memory grows with active work only.
--@ guard
if redis.call('HGET', KEYS[2], 'ph') ~= 'finished' or redis.call('ZCARD', KEYS[5]) > 0 then
  return { 'NO' }
end
-- What is left of the tasks is closed and not known to be durable: a few.
for _, n in ipairs(redis.call('HKEYS', KEYS[4])) do
  redis.call('ZREM', KEYS[8], ARGV[3] .. '/' .. string.format('%010d', tonumber(n)))
end
redis.call('ZREM', KEYS[6], ARGV[3])
redis.call('HDEL', KEYS[7], ARGV[3])
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
return { 'YES' }
