-- Begins or ends the loading of a generation.
-- KEYS    1 generation (hash)
-- ARGV    1 generation, 2 clock (unused), 3 loading | loaded
-- Returns YES | NO
-- Keeps   I2: `loading` only over a smaller generation; `loaded` only over the same one, in the same history of the
--         server. Every other key but the leases carries its generation, so that a new one begins empty.
local there = redis.call('HMGET', KEYS[1], 'g', 'state', 'replid')
if ARGV[3] == 'loading' then
  if there[1] and tonumber(there[1]) >= tonumber(ARGV[1]) then
    return { 'NO' }
  end
  local id = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  redis.call('HSET', KEYS[1], 'g', ARGV[1], 'state', 'loading', 'replid', id)
  return { 'YES' }
end
--@ serves
if there[1] ~= ARGV[1] or not serves then
  return { 'NO' }
end
redis.call('HSET', KEYS[1], 'state', 'loaded')
return { 'YES' }
