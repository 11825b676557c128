-- Moves a run to another phase, once.
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list), 4 ranking (hash)
-- ARGV    1 generation, 2 clock (unused), 3 run, 4 phase it must be in, 5 phase it gets, 6 operation, 7 its id, 8 write id
-- Returns NORUN | REFUSED run | CHANGED run
-- Keeps   P3: a run is finished once; I8: what isn't running gets no task (it leaves the ranking).
local refused = guard(false)
if refused then
  return refused
end
local run = redis.call('HMGET', KEYS[2], 'ph', 'opid', 'v')
if not run[1] then
  return { 'NORUN' }
end
local answer = 'REFUSED'
if run[1] == ARGV[4] and (run[2] == '' or run[2] == ARGV[7]) then
  answer = 'CHANGED'
  local running = ARGV[5] == 'running'
  -- A finished run keeps its operation until it leaves: its last write may have to be repeated.
  redis.call('HSET', KEYS[2], 'ph', ARGV[5], 'op', running and '' or ARGV[6], 'opid', running and '' or ARGV[7],
    'v', int(tonumber(run[3]) + 1), 'w', ARGV[8])
  if ARGV[5] == 'finished' then
    redis.call('HSET', KEYS[2], 'nps', '0', 'gpm', '0')
  end
  if running then
    rank(KEYS[4], KEYS[2], ARGV[3])
  else
    redis.call('HDEL', KEYS[4], ARGV[3])
  end
end
local fields = run_view(KEYS[2], KEYS[3])
table.insert(fields, 1, answer)
return fields
