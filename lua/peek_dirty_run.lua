-- The same for one run's tasks, which is asked when a run is finished or purged.
-- KEYS    1 generation (hash), 2 dirty (zset), 3 the run's tasks (hash)
-- ARGV    1 generation, 2 clock (unused), 3 run
-- Returns DIRTY (member since)*
--@ guard
local answer = { 'DIRTY' }
for _, n in ipairs(redis.call('HKEYS', KEYS[3])) do
  local member = ARGV[3] .. '/' .. string.format('%010d', tonumber(n))
  local since = redis.call('ZSCORE', KEYS[2], member)
  if since then
    answer[#answer + 1] = member
    answer[#answer + 1] = since
  end
end
return answer
