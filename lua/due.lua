#!lua flags=no-writes
-- List the windows of one lane that are due for sealing, and since when the lane has rows that no block holds.
--
-- KEYS     1 state      lane string: w (whole) or r (rebuilding), the highest stamp, the token of the lane's last replay
--          2 due        lane sorted set: window member -> due time, ms
--          3 since      lane sorted set: window member -> when its first row that no block holds came to the stream, ms;
--                       "tick" -> the same of the newest record before which the ingester has done all of the lane
-- ARGV     1 now        ms
--          2 closed     s: in a lane that is in replay, windows that end by then are due, and no others
--          3 limit      members at most
-- RETURNS  {state ("" if none), arrival of the first row that no block holds (ms, "" if there is none, 0 if unknown),
--          tick (ms, "" if none), start of the first window with such rows (s, "" if there is none or it is unknown),
--          member, due time (ms), ...}
-- EFFECTS  none
-- COST     O(members)

local state_key, due_key, since = KEYS[1], KEYS[2], KEYS[3]
local now, closed, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local REBUILDING, STATE_BYTES, CHUNK, MEMBERS_MAX = "r", 27, 1000, 5000
local TICK = "tick"

local state = redis.call("GET", state_key) or ""

local function span(member)
  local start, length = string.match(member, "(%d+)%+(%d+)$")
  return tonumber(start), tonumber(length)
end

local function text(number)
  return number < math.huge and string.format("%.0f", number) or ""
end

-- A window without its arrival was opened by older code.
local function first_unsealed()
  local first, from = math.huge, math.huge
  local some = redis.call("ZRANGE", due_key, "-inf", "+inf", "BYSCORE", "LIMIT", 0, MEMBERS_MAX, "WITHSCORES")
  if #some == 2 * MEMBERS_MAX then return "0", "" end
  for i = 1, #some, 2 do
    local arrived = redis.call("ZSCORE", since, some[i])
    if not arrived then return "0", "" end
    first, from = math.min(first, tonumber(arrived)), math.min(from, (span(some[i])))
  end
  return text(first), text(from)
end

local arrived, from = first_unsealed()
local result = {state, arrived, redis.call("ZSCORE", since, TICK) or "", from}
local NONE = #result

-- Closed windows are sealed while the replay goes on, or it fills Redis; an open one would be sealed again and again.
local function is_closed(member)
  local start, length = span(member)
  return start + length <= closed
end

local function take_closed()
  local first = 0
  repeat
    local some = redis.call("ZRANGE", due_key, "-inf", "+inf", "BYSCORE", "LIMIT", first, CHUNK, "WITHSCORES")
    for i = 1, #some, 2 do
      if #result - NONE >= 2 * limit then return end
      if is_closed(some[i]) then
        result[#result + 1] = some[i]
        result[#result + 1] = some[i + 1]
      end
    end
    first = first + CHUNK
  until #some < 2 * CHUNK
end

if string.sub(state, 1, 1) == REBUILDING and #state > STATE_BYTES then
  take_closed()
elseif string.sub(state, 1, 1) ~= REBUILDING and state ~= "" then
  local some = redis.call("ZRANGE", due_key, "-inf", now, "BYSCORE", "LIMIT", 0, limit, "WITHSCORES")
  for i = 1, #some do result[#result + 1] = some[i] end
end
return result
