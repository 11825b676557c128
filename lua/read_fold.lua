-- A run's folded record, and what is waiting to be folded.
-- KEYS    1 generation (hash), 2 run (hash), 3 pending (list)
-- ARGV    1 generation, 2 clock (unused)
-- Returns NORUN | FOLD fields entry*
--@ guard fold
if redis.call('EXISTS', KEYS[2]) == 0 then
  return { 'NORUN' }
end
return fold_view(KEYS[2], KEYS[3], { 'FOLD' })
