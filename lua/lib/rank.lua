-- A run's row in the ranking table, which holds running runs only.

-- Writes the row: `id|av|cores|committed|ng|prio|itp`.
local function rank_as(ranking, id, av, cores, committed, ng, prio, itp)
  redis.call('HSET', ranking, id, id .. '|' .. av .. '|' .. cores .. '|' .. committed .. '|' .. ng .. '|' .. prio .. '|' .. itp)
end
