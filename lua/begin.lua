#!lua flags=allow-oom
-- Begin to replay a lane that is not whole: from now on only the fence with this token can make it whole.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), the highest stamp, the token of the lane's last replay
-- ARGV     1 zero       the stamp before every arrival
--          2 token      of the replay
--          3 force      1: also a lane that is whole, because an operator knows better
-- RETURNS  1 if the lane is in this replay now, else 0
-- EFFECTS  state becomes rebuilding with the token, unless the lane is whole
-- COST     O(1)

local state_key = KEYS[1]
local zero, token, force = ARGV[1], ARGV[2], ARGV[3]
local WHOLE, REBUILDING, STATE_BYTES = "w", "r", 27
local held = redis.call("GET", state_key) or REBUILDING .. zero
local begins = string.sub(held, 1, 1) ~= WHOLE or force == "1"
-- Written even when nothing changes: a WAIT behind this call must cover what an earlier, unconfirmed try stored.
redis.call("SET", state_key, begins and REBUILDING .. string.sub(held, 2, STATE_BYTES) .. token or held)
return begins and 1 or 0
