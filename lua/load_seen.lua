-- Restores what workers have seen, where nothing newer is known.
-- KEYS    1 generation (hash), 2 seen (hash)
-- ARGV    1 generation, 2 clock (unused), then for each worker: short name, the latest run, then a blank and each of the runs
-- Returns YES
--@ guard_loading
for i = 3, #ARGV, 2 do
  redis.call('HSETNX', KEYS[2], ARGV[i], ARGV[i + 1])
end
return { 'YES' }
