-- The task as it goes to the caller: packed (again, unless the caller has it), and its last sign of life, which is kept in
-- `active` while it is active.
local function view(task, active, member, packed)
  local seen = task[ACT] == '1' and redis.call('ZSCORE', active, member)
  return packed or cmsgpack.pack(task), seen or task[LU]
end
