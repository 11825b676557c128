-- A slice of one of the tables, for housekeeping and audits.
-- KEYS    1 generation (hash), 2 the table (hash or zset)
-- ARGV    1 generation, 2 clock (unused), 3 HSCAN or ZSCAN, 4 cursor, 5 about so many entries
-- Returns SLICE cursor (name value)*: an entry that stays is seen at least once, perhaps twice
--@ guard
local slice = redis.call(ARGV[3], KEYS[2], ARGV[4], 'COUNT', ARGV[5])
local answer = slice[2]
table.insert(answer, 1, slice[1])
table.insert(answer, 1, 'SLICE')
return answer
