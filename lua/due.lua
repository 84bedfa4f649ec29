#!lua flags=no-writes
-- List the windows of one lane that are due for sealing, earliest first.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), the highest stamp, and of a lane in replay its token
--          2 due        lane sorted set: window member -> due time, ms
-- ARGV     1 now        ms
--          2 limit      members at most
-- RETURNS  {state ("" if none), member, due time (ms), ...}
-- EFFECTS  none
-- COST     O(members listed)

local state_key, due_key = KEYS[1], KEYS[2]
local now, limit = ARGV[1], ARGV[2]
local result = redis.call("ZRANGE", due_key, "-inf", now, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
table.insert(result, 1, redis.call("GET", state_key) or "")
return result
