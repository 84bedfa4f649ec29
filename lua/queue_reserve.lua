#!lua
-- Give out numbers for new messages, which say their order.
--
-- KEYS     1 state      queue hash: see queue_begin.lua
--          2 ready      queue sorted set: id -> number
--          3 delayed    queue sorted set: id -> due time, ms
--          4 leases     queue sorted set: id -> end of the lease, ms
-- ARGV     1 count      of numbers
--          2 limit      messages that a queue may have
-- RETURNS  {state (w, r, or l if it was not built on this master), first number; 0 if the queue is too long, its length}
-- EFFECTS  the highest number grows
-- COST     O(1)

local state_key, ready, delayed, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local count, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local SECTION, WHOLE, LOST = "replication", "w", "l"
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
local state = redis.call("HMGET", state_key, "m", "s", "q")
if state[1] ~= master then return {LOST, 0, 0} end
if state[2] ~= WHOLE then return {state[2], 0, 0} end
local length = redis.call("ZCARD", ready) + redis.call("ZCARD", delayed) + redis.call("ZCARD", leases)
if length + count > limit then return {WHOLE, 0, length} end
local highest = tonumber(state[3])
redis.call("HSET", state_key, "q", string.format("%.0f", highest + count))
return {WHOLE, highest + 1, length}
