-- Until when the lease is held by the server's clock, or nil.
local function held_until(lease, now)
  local expires = redis.call('HGET', lease, 'expires')
  if expires and tonumber(expires) > now then
    return expires
  end
  return nil
end
