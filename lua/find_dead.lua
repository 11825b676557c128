-- Active tasks of running runs without a sign of life since a cut-off, oldest first.
-- KEYS    1 generation (hash), 2 active (zset), 3 ranking (hash)
-- ARGV    1 generation, 2 clock (unused), 3 cut-off, 4 at most so many
-- Returns DEAD member*
-- Keeps   L1. A range query: it costs what it finds, and what waits in runs that are being finished.
--@ guard
local answer, from, limit = { 'DEAD' }, 0, tonumber(ARGV[4])
repeat
  local slice = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[3], 'LIMIT', from, 500)
  for _, member in ipairs(slice) do
    if #answer <= limit and redis.call('HEXISTS', KEYS[3], string.sub(member, 1, 24)) == 1 then
      answer[#answer + 1] = member
    end
  end
  from = from + #slice
until #slice < 500 or #answer > limit
return answer
