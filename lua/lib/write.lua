-- Wants `task`.

-- Gives a changed task its new version and keeps it; `dirty` holds the age of the oldest version that isn't durable.
-- Returns it as it is kept.
local function write(tasks, n, member, task, write_id, dirty, now)
  task[G] = ARGV[1]
  task[V] = int(task[V] + 1)
  task[W] = write_id
  if task[DS] == '' then
    task[DS] = int(now)
    redis.call('ZADD', dirty, task[DS], member)
  end
  return keep(tasks, n, task)
end
