-- Moves a run to another phase, once.
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list), 4 ranking (hash)
-- ARGV    1 generation, 2 clock (unused), 3 run, 4 phase it must be in, 5 phase it gets, 6 operation, 7 its id, 8 write id
-- Returns NORUN | REFUSED run | CHANGED run
-- Keeps   P3: a run is finished once; I8: what isn't running gets no task (it leaves the ranking).
--@ guard int run_view

-- Places in the view of a run (lua/lib/run_view.lua).
local AV, PH, OP, V, W, CORES, COMMITTED, NG, PRIO, ITP, NPS, GPM = 1, 3, 4, 5, 7, 10, 11, 13, 14, 17, 18, 19
local run = redis.call('HMGET', KEYS[2], 'ph', 'opid', 'v')
if not run[1] then
  return { 'NORUN' }
end
local fields = run_view(KEYS[2], KEYS[3])
local answer = 'REFUSED'
if run[1] == ARGV[4] and (run[2] == '' or run[2] == ARGV[7]) then
  answer = 'CHANGED'
  local running = ARGV[5] == 'running'
  -- A finished run keeps its operation until it leaves: its last write may have to be repeated.
  fields[PH], fields[OP], fields[V], fields[W] =
    ARGV[5], running and '' or ARGV[6], int(run[3] + 1), ARGV[8]
  redis.call('HSET', KEYS[2], 'ph', fields[PH], 'op', fields[OP], 'opid', running and '' or ARGV[7],
    'v', fields[V], 'w', fields[W])
  if ARGV[5] == 'finished' then
    fields[NPS], fields[GPM] = '0', '0'
    redis.call('HSET', KEYS[2], 'nps', '0', 'gpm', '0')
  end
  if running then
    --@ rank
    rank_as(KEYS[4], ARGV[3], fields[AV], fields[CORES], fields[COMMITTED], fields[NG], fields[PRIO], fields[ITP])
  else
    redis.call('HDEL', KEYS[4], ARGV[3])
  end
end
table.insert(fields, 1, answer)
return fields
