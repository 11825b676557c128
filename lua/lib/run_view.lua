-- What the caller gets of a run; the order is the one of src/state/redis/run_codec.rs.
local function run_view(run, pending)
  local fields = redis.call('HMGET', run, 'av', 'kind', 'ph', 'op', 'v', 'dv', 'w', 'res', 'workers', 'cores', 'committed', 'total',
    'ng', 'prio', 'st', 'lu', 'itp', 'nps', 'gpm', 'nt', 'rec', 'pos')
  fields[#fields + 1] = int(redis.call('LLEN', pending))
  return fields
end
