#!lua
-- Call a lane whole that has no state yet: the first start of a stack, before anything is written.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), then the highest stamp
-- ARGV     1 zero       the stamp before every arrival
-- RETURNS  1 if the lane had no state, else 0
-- EFFECTS  state becomes whole if there was none
-- COST     O(1)

local state_key, zero = KEYS[1], ARGV[1]
local WHOLE = "w"
local held = redis.call("GET", state_key)
-- Written even when nothing changes: a WAIT behind this call must cover what an earlier, unconfirmed try stored.
redis.call("SET", state_key, held or WHOLE .. zero)
return held and 0 or 1
