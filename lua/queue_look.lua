#!lua flags=no-writes
-- Count the messages of a queue.
--
-- KEYS     1 state      queue hash: see queue_begin.lua
--          2 ready      queue sorted set: id -> number
--          3 delayed    queue sorted set: id -> due time, ms
--          4 leases     queue sorted set: id -> end of the lease, ms
-- ARGV     none
-- RETURNS  {state (w, r, or l if it was not built on this master), waiting, delayed, leased, id of the first ready
--          message ("" if none)}
-- EFFECTS  none; a message that is due, or whose lease is over, counts as waiting
-- COST     O(log messages)

local state_key, ready, delayed, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local SECTION, LOST = "replication", "l"
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
local state = redis.call("HMGET", state_key, "m", "s")
if state[1] ~= master then return {LOST, 0, 0, 0, ""} end
local time = redis.call("TIME")
local now = string.format("%.0f", tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local due, over = redis.call("ZCOUNT", delayed, "-inf", now), redis.call("ZCOUNT", leases, "-inf", now)
local first = redis.call("ZRANGE", ready, "-inf", "+inf", "BYSCORE", "LIMIT", 0, 1, "WITHSCORES")
return {state[2], redis.call("ZCARD", ready) + due + over, redis.call("ZCARD", delayed) - due,
  redis.call("ZCARD", leases) - over, first[1] or ""}
