-- Wants `task`.

-- The task, or nil and the refusal to return (spec/worker-api.md section 1.8, steps 5 to 7). `next` is the run's next
-- number, false if the run isn't here.
local function identify(next, tasks, n, unique_key, username)
  if not next then
    return nil, { 'NORUN' }
  end
  local task = held(tasks, n)
  if not task then
    return nil, { 'NOTASK', next }
  end
  if task[UKEY] ~= unique_key then
    return nil, { 'MISMATCH', 'unique_key', task[UKEY] }
  end
  if task[USER] ~= username then
    return nil, { 'MISMATCH', 'username', task[USER] }
  end
  return task, nil
end
