#!lua flags=no-writes
-- Tell a writer the indexes of some series in a window's dictionary, and which dictionary that is.
--
-- KEYS     1 lists      hash: length of the dictionary after an append (u32 BE) -> digest of it up to there; for older
--                       rows list identity -> series keys, one a line
--          2 dictionary hash: series key -> index
-- ARGV     then the series keys
-- RETURNS  {length (u32 BE), its digest ("" if older code made it), then the index of each series, "" if it has none}
-- EFFECTS  none
-- COST     O(series)

local lists, dictionary = KEYS[1], KEYS[2]
local CHUNK = 4000
local SMALL = 512 -- such a hash is searched from end to end for each name

local length = redis.call("HLEN", dictionary)
local packed = struct.pack(">I4", length)
local result = {packed, redis.call("HGET", lists, packed) or ""}

if length <= SMALL then
  local all, index_of = redis.call("HGETALL", dictionary), {}
  for i = 1, #all, 2 do index_of[all[i]] = all[i + 1] end
  for i = 1, #ARGV do result[#result + 1] = index_of[ARGV[i]] or "" end
  return result
end
for first = 1, #ARGV, CHUNK do
  local indexes = redis.call("HMGET", dictionary, unpack(ARGV, first, math.min(first + CHUNK - 1, #ARGV)))
  for i = 1, #indexes do result[#result + 1] = indexes[i] or "" end
end
return result
