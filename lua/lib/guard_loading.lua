-- The same for what may change a generation that isn't loaded yet.
do
  local there = redis.call('HMGET', KEYS[1], 'g', 'state', 'replid')
  if not there[1] then
    return { 'NOTLOADED' }
  end
  --@ same
end
