-- Signs of life of several workers whose tasks are what they think: most of what workers send.
-- KEYS    1 generation (hash), 2 active (zset), then for each run that is named: run (hash), its tasks (hash)
-- ARGV    1 generation, 2 clock, then for each run: how many of its tasks, the number of each, the member of each, and for each
--         what the packed task begins with if it is its caller's, alive, and known to them (lua/lib/task.lua)
-- Returns BEATS, then for each task 1: it lives, and that is noted; or 0: ask `beat` about it
-- Keeps   I14: `active` holds active tasks only. Its cost depends on nothing but the number of tasks named.
--@ guard clock int
local answer, marks, mark, i = { 'BEATS' }, {}, int(now), 3
for place = 3, #KEYS, 2 do
  local count = tonumber(ARGV[i])
  local running = redis.call('HGET', KEYS[place], 'ph') == 'running'
  local tasks = running and redis.call('HMGET', KEYS[place + 1], unpack(ARGV, i + 1, i + count)) or {}
  for at = 1, count do
    local there, head = tasks[at], ARGV[i + 2 * count + at]
    local alive = there and string.sub(there, 1, #head) == head
    if alive then
      marks[#marks + 1] = mark
      marks[#marks + 1] = ARGV[i + count + at]
    end
    answer[#answer + 1] = alive and '1' or '0'
  end
  i = i + 3 * count + 1
end
if #marks > 0 then
  redis.call('ZADD', KEYS[2], unpack(marks))
end
return answer
