-- Whether (g, n) is the token of whoever holds the lease now.
local function holds(lease, g, n, now)
  local there = redis.call('HMGET', lease, 'g', 'n', 'expires')
  return there[1] == g and there[2] == n and tonumber(there[3]) > now
end
