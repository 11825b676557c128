-- What `release` is to begin with, since nothing may be read once something is written; and whether the run is here at all.
local function aggregates(run)
  return redis.call('HMGET', run, 'workers', 'cores', 'committed', 'v', 'ph', 'av', 'ng', 'prio', 'itp', 'nt')
end
