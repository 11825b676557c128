-- Numbers about the state as a whole; for an operator, not for every request: it walks the worker map.
-- KEYS    1 generation (hash), 2 runs (zset), 3 active (zset), 4 connections (hash), 5 wtt (hash), 6 slots (zset), 7 dirty (zset),
--         8 ranking (hash)
-- ARGV    1 generation, 2 clock (unused)
-- Returns CENSUS runs active addresses connections workers slots dirty (name member)* of live names
--@ guard int live
local connections = 0
for _, open in ipairs(redis.call('HVALS', KEYS[4])) do
  connections = connections + tonumber(open)
end
local answer = { 'CENSUS', int(redis.call('ZCARD', KEYS[2])), int(redis.call('ZCARD', KEYS[3])), int(redis.call('HLEN', KEYS[4])),
  int(connections), int(redis.call('HLEN', KEYS[5])), int(redis.call('ZCARD', KEYS[6])), int(redis.call('ZCARD', KEYS[7])) }
for _, name in ipairs(redis.call('HKEYS', KEYS[5])) do
  local member = live_member(KEYS[5], KEYS[3], KEYS[8], name)
  if member then
    answer[#answer + 1] = name
    answer[#answer + 1] = member
  end
end
return answer
