-- Forgets finished runs in what the named workers have seen.
-- KEYS    1 generation (hash), 2 lease:leader (hash), 3 seen (hash), 4 runs (zset)
-- ARGV    1 generation, 2 clock, 3 4 the leader's token, then short worker names
-- Returns STALE | COUNT n: workers of whom nothing is known any more
-- Keeps   I7, I11.
--@ guard clock int holds
if not holds(KEYS[2], ARGV[3], ARGV[4], now) then
  return { 'STALE' }
end
local gone, changed = {}, {}
for i = 5, #ARGV do
  local known = redis.call('HGET', KEYS[3], ARGV[i])
  if known then
    local last, kept = string.sub(known, 1, 24), {}
    for run in string.gmatch(string.sub(known, 25), '%x+') do
      if redis.call('ZSCORE', KEYS[4], run) then
        kept[#kept + 1] = ' ' .. run
      end
    end
    if #kept == 0 and not redis.call('ZSCORE', KEYS[4], last) then
      gone[#gone + 1] = ARGV[i]
    elseif known ~= last .. table.concat(kept) then
      changed[#changed + 1] = ARGV[i]
      changed[#changed + 1] = last .. table.concat(kept)
    end
  end
end
if #changed > 0 then
  redis.call('HSET', KEYS[3], unpack(changed))
end
return { 'COUNT', int(#gone > 0 and redis.call('HDEL', KEYS[3], unpack(gone)) or 0) }
