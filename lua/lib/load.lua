-- Adding tasks to a run that is being loaded.

-- Adds what ARGV holds from `from` on, six for each task: number, 1 if active, 1 if it has a worker, remote address, short
-- worker name, the packed task. Nobody is dead for having been asleep: clocks start afresh.
local function add_tasks(at, id, from, now)
  for i = from, #ARGV, 6 do
    local n = ARGV[i]
    if redis.call('HSETNX', at.tasks, n, ARGV[i + 5]) == 1 and ARGV[i + 1] == '1' then
      local member = id .. '/' .. string.format('%010d', n)
      redis.call('ZADD', at.live, n, n)
      redis.call('ZADD', at.active, now, member)
      if ARGV[i + 2] == '1' then
        redis.call('HINCRBY', at.connections, ARGV[i + 3], 1)
        redis.call('HSET', at.wtt, ARGV[i + 4], member)
      end
    end
  end
end
