-- Commits a folded record if nobody has folded since.
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list)
-- ARGV    1 generation, 2 clock (unused), 3 position it started from, 4 position it reached, 5 record, 6 write id
-- Returns NORUN | MOVED position | COMMITTED
-- Keeps   I9, I10: entries are folded once, in order.
--@ guard int
local run = redis.call('HMGET', KEYS[2], 'pos', 'seq', 'v')
if not run[1] then
  return { 'NORUN' }
end
if run[1] ~= ARGV[3] or tonumber(ARGV[4]) > tonumber(run[2]) then
  return { 'MOVED', run[1] }
end
local first = redis.call('LINDEX', KEYS[3], 0)
if first then
  local folded = tonumber(ARGV[4]) - tonumber(string.match(first, '^%d+')) + 1
  if folded > 0 then
    redis.call('LTRIM', KEYS[3], folded, -1)
  end
end
redis.call('HSET', KEYS[2], 'rec', ARGV[5], 'pos', ARGV[4], 'v', int(run[3] + 1), 'w', ARGV[6])
return { 'COMMITTED' }
