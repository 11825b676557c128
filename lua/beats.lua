-- Signs of life of several workers whose tasks are what they think: most of what workers send.
-- KEYS    1 generation (hash), 2 active (zset), then for each run that is named: run (hash), its tasks (hash)
-- ARGV    1 generation, 2 clock, then for each run: how many of its tasks, and for each of these three: task number, member,
--         what the packed task begins with if it is its caller's, alive, and known to them (lua/lib/task.lua)
-- Returns BEATS, then for each task 1: it lives, and that is noted; or 0: ask `beat` about it
-- Keeps   I14: `active` holds active tasks only. Its cost depends on nothing but the number of tasks named.
local refused = guard(false)
if refused then
  return refused
end
local answer, marks, now, i = { 'BEATS' }, {}, int(clock()), 3
for place = 3, #KEYS, 2 do
  local running = redis.call('HGET', KEYS[place], 'ph') == 'running'
  for at = i + 1, i + 3 * ARGV[i], 3 do
    local there, head = running and redis.call('HGET', KEYS[place + 1], ARGV[at]), ARGV[at + 2]
    local alive = there and string.sub(there, 1, #head) == head
    if alive then
      marks[#marks + 1] = now
      marks[#marks + 1] = ARGV[at + 1]
    end
    answer[#answer + 1] = alive and '1' or '0'
  end
  i = i + 3 * ARGV[i] + 1
end
if #marks > 0 then
  redis.call('ZADD', KEYS[2], unpack(marks))
end
return answer
