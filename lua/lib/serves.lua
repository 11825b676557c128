-- `serves`: whether the server serves the history in `there[3]` (a replication id): a primary that was demoted and promoted
-- again serves another one.
local serves = there[3] and string.find(redis.call('INFO', 'replication'), 'master_replid:' .. there[3], 1, true)
