#!lua flags=allow-oom
-- Begin to replay a lane that is not whole: from now on only the fence with this token can make it whole.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), the highest stamp, the token of the lane's last replay
-- ARGV     1 zero       the stamp before every arrival
--          2 known      the token that the lane had when the caller looked at it
--          3 token      of the replay; "" for none yet
--          4 force      1: also a lane that is whole, because an operator knows better, or its tail is lost
-- RETURNS  0 if the lane has another token than both: something came in between, and the caller has to look again; else
--          1: the lane is in this replay, or was, or it is whole
-- EFFECTS  state becomes rebuilding with the token, unless the lane is whole, or was in this replay before
-- COST     O(1)

local state_key = KEYS[1]
local zero, known, token, force = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local WHOLE, REBUILDING, STATE_BYTES = "w", "r", 27
local held = redis.call("GET", state_key) or REBUILDING .. zero
local generation = string.sub(held, STATE_BYTES + 1)
local joined = token ~= "" and generation == token
local agrees = joined or generation == known
local begins = agrees and not joined and (string.sub(held, 1, 1) ~= WHOLE or force == "1")
-- Written even when nothing changes: a WAIT behind this call must cover what an earlier, unconfirmed try stored.
redis.call("SET", state_key, begins and REBUILDING .. string.sub(held, 2, STATE_BYTES) .. token or held)
return agrees and 1 or 0
