-- Which generation is there, and the server's clock.
-- KEYS    1 generation (hash)
-- ARGV    1 unused, 2 clock
-- Returns NONE now | HERE g state now | FOREIGN
--@ clock int
local there = redis.call('HMGET', KEYS[1], 'g', 'state', 'replid')
if not there[1] then
  return { 'NONE', int(now) }
end
--@ serves
if not serves then
  return { 'FOREIGN' }
end
return { 'HERE', there[1], there[2], int(now) }
