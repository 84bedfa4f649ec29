#!lua flags=allow-oom
-- Call windows of one source partial: something of them is kept elsewhere from now on, so reads must ask there as well.
--
-- KEYS     1 windows    source hash: window token -> c (all of the window's rows are here) or p (perhaps not), then its
--                       expiry, ms; 0 while it has unsealed rows
-- ARGV     then the tokens of the windows
-- RETURNS  the number of the windows that are here
-- EFFECTS  a window that is here becomes p; its expiry stays
-- COST     O(tokens)

local windows = KEYS[1]
local PARTIAL = "p"
local here = 0
for i = 1, #ARGV do
  local held = redis.call("HGET", windows, ARGV[i])
  if held then
    -- Written even when nothing changes: a WAIT behind this call must cover what an earlier, unconfirmed try stored.
    redis.call("HSET", windows, ARGV[i], PARTIAL .. string.sub(held, 2))
    here = here + 1
  end
end
return here
