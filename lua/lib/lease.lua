-- Leases: who holds one, by the server's clock.

-- Until when the lease is held, or nil.
local function held_until(lease, now)
  local expires = redis.call('HGET', lease, 'expires')
  if expires and tonumber(expires) > now then
    return expires
  end
  return nil
end

-- Whether (g, n) is the token of whoever holds the lease now.
local function holds(lease, g, n, now)
  local there = redis.call('HMGET', lease, 'g', 'n', 'expires')
  return there[1] == g and there[2] == n and tonumber(there[3]) > now
end
