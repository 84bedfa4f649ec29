#!lua
-- Begin to build a queue out of its table, unless it was built, or is being built, on this very master.
--
-- KEYS     1 state      queue hash: m replication id of the master that it was built on, s w (whole) or r (being built),
--                       q highest number given, t numbers that may have been taken, l longest lease (ms), c id up to
--                       which it is built, b when that began (ms)
--          2 ready      queue sorted set: id -> number
--          3 delayed    queue sorted set: id -> due time, ms
--          4 leases     queue sorted set: id -> end of the lease, ms
--          5 tokens     queue hash: id -> token of its lease; those of a successor may be older than the leases
-- ARGV     1 token      of the caller, written so that a WAIT behind this call covers what an earlier one stored
-- RETURNS  {state (w or r), id up to which it is built}
-- EFFECTS  a queue of another master, or without a state, is emptied and being built from now on; tries stay
-- COST     O(messages) to free them

local state_key, ready, delayed, leases, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local token = ARGV[1]
local SECTION, BUILDING = "replication", "r"
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
redis.call("HSET", state_key, "w", token)
if redis.call("HGET", state_key, "m") ~= master then
  local time = redis.call("TIME")
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  redis.call("DEL", ready, delayed, leases, tokens)
  redis.call("HSET", state_key, "m", master, "s", BUILDING, "c", "", "b", string.format("%.0f", now))
end
return {redis.call("HGET", state_key, "s"), redis.call("HGET", state_key, "c")}
