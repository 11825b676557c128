-- What nearly every script begins with: refuses unless this is the schedule that the caller means, and it is loaded.
-- KEYS[1] generation (hash: g, state, replid); ARGV[1] the caller's generation.
do
  local there = redis.call('HMGET', KEYS[1], 'g', 'state', 'replid')
  if not there[1] or (there[1] == ARGV[1] and there[2] ~= 'loaded') then
    return { 'NOTLOADED' }
  end
  --@ same
end
