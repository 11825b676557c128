-- Tasks of a run that the schedule holds.
-- KEYS    1 generation (hash), 2 run (hash), 3 tasks (hash), 4 active (zset)
-- ARGV    1 generation, 2 clock (unused), 3 run, then task numbers
-- Returns NORUN | TASKS next phase (number task seen)*: those that are held
--@ guard
local run = redis.call('HMGET', KEYS[2], 'nt', 'ph')
if not run[1] then
  return { 'NORUN' }
end
local answer = { 'TASKS', run[1], run[2] }
for i = 4, #ARGV do
  local packed = redis.call('HGET', KEYS[3], ARGV[i])
  if packed then
    local at = #answer
    answer[at + 1], answer[at + 2] = ARGV[i], packed
    answer[at + 3] = redis.call('ZSCORE', KEYS[4], ARGV[3] .. '/' .. string.format('%010d', tonumber(ARGV[i]))) or ''
  end
end
return answer
