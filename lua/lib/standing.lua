-- What is asked of the task that has the worker's name already (spec/scheduling.md section 3.2). Wants `task`.

-- What a live task of that name means to whoever asks: `duplicate` and the whole seconds since its last sign of life,
-- `unanswered`, or `replace`. A name is taken for 120 seconds.
local function standing(task, seen, unique_key, now)
  if task[UKEY] ~= unique_key then
    local seconds = math.floor((now - tonumber(seen)) / 1000)
    if seconds <= 120 then
      return 'duplicate', seconds
    end
    return 'replace', nil
  end
  if task[ANS] ~= '1' then
    return 'unanswered', nil
  end
  return 'replace', nil
end

-- A repeated claim that is durable is answered with this; nothing will be acknowledged for it later.
local function deliver(tasks, n, task)
  if tonumber(task[DV]) >= tonumber(task[V]) then
    task[ANS] = '1'
    keep(tasks, n, task)
  end
end
