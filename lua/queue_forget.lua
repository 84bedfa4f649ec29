#!lua flags=allow-oom
-- Take messages out of a queue that its table does not have any more.
--
-- KEYS     1 ready      queue sorted set: id -> number
--          2 delayed    queue sorted set: id -> due time, ms
--          3 leases     queue sorted set: id -> end of the lease, ms
--          4 tries      queue hash: id -> how often it was leased
--          5 tokens     queue hash: id -> token of its lease
-- ARGV     then the ids
-- RETURNS  the number of messages that were in the queue
-- EFFECTS  they are not
-- COST     O(ids)

local ready, delayed, leases, tries, tokens = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local here = 0
for i = 1, #ARGV do
  local id = ARGV[i]
  here = here + redis.call("ZREM", ready, id) + redis.call("ZREM", delayed, id) + redis.call("ZREM", leases, id)
  redis.call("HDEL", tries, id)
  redis.call("HDEL", tokens, id)
end
return here
