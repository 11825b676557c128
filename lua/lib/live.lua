-- The worker that has the name already (spec/scheduling.md section 3.2).

-- The member of the live task that the worker map leads to, its last sign of life, or nil.
local function live_member(wtt, active, ranking, name)
  local member = redis.call('HGET', wtt, name)
  if not member then
    return nil, nil
  end
  local seen = redis.call('ZSCORE', active, member)
  if not seen or redis.call('HEXISTS', ranking, string.sub(member, 1, 24)) == 0 then
    return nil, nil
  end
  return member, seen
end
