#!lua
-- Take one page of a queue's table into the queue that is being built.
--
-- KEYS     1 state      queue hash: see queue_begin.lua
--          2 ready      queue sorted set: id -> number
--          3 delayed    queue sorted set: id -> due time, ms
--          4 leases     queue sorted set: id -> end of the lease, ms
-- ARGV     1 from       id up to which it must be built already
--          2 to         id up to which it is built then
--          3 done       1: this is the last page
--          4 taken      messages up to this number may be leased still
--          5 lease      ms; the longest that any of these leases can be
--          then three for each message: id, number, due time (ms, 0 at once)
-- RETURNS  {state (w, r, or l if it is not being built on this master), id up to which it is built}
-- EFFECTS  the messages are in the queue; those that may be leased count as leased for as long as that may be
-- COST     O(messages)

local state_key, ready, delayed, leases = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local from, to, done, taken, lease = ARGV[1], ARGV[2], ARGV[3] == "1", tonumber(ARGV[4]), tonumber(ARGV[5])
local SECTION, BUILDING, WHOLE, LOST = "replication", "r", "w", "l"
local master = string.match(redis.call("INFO", SECTION), "master_replid:(%x+)")
local state = redis.call("HMGET", state_key, "m", "s", "c", "b", "q")
if state[1] ~= master then return {LOST, ""} end
if state[2] ~= BUILDING or state[3] ~= from then return {state[2], state[3]} end
local time = redis.call("TIME")
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local free, highest = tonumber(state[4]) + lease, math.max(tonumber(state[5] or 0) or 0, taken)
for i = 6, #ARGV, 3 do
  local id, number, due = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  highest = math.max(highest, number)
  if due > now then
    redis.call("ZADD", delayed, "NX", string.format("%.0f", due), id)
  elseif number <= taken and free > now then
    redis.call("ZADD", leases, "NX", string.format("%.0f", free), id)
  else
    redis.call("ZADD", ready, "NX", string.format("%.0f", number), id)
  end
end
redis.call("HSET", state_key, "c", to, "s", done and WHOLE or BUILDING, "q", string.format("%.0f", highest),
  "t", string.format("%.0f", taken), "l", string.format("%.0f", lease))
return {done and WHOLE or BUILDING, to}
