-- Where the values of some series stand in a row.  Each function calls take(number, offset) with the bytes in front of
-- the value for each series that the row has; by_index: {{number of the series, its index in the dictionary}, ...},
-- ascending by index.

local ones = {} -- bits that are set in each byte, filled when a bitmap is first met

-- Runs: count u16 LE, for each the first index and the number of indexes, u32 LE, then the values of all.
local function in_runs(row, by_index, take)
  local runs, wanted, before = struct.unpack("<I2", row, HEAD + 1), 1, 0
  local values = HEAD + 2 + 8 * runs
  for run = 0, runs - 1 do
    local first, length = struct.unpack("<I4I4", row, HEAD + 3 + 8 * run)
    while wanted <= #by_index and by_index[wanted][2] < first + length do
      local number, index = by_index[wanted][1], by_index[wanted][2]
      if index >= first then take(number, values + 8 * (before + index - first)) end
      wanted = wanted + 1
    end
    if wanted > #by_index then return end
    before = before + length
  end
end

-- Bitmap: first index and number of bytes, u32 LE, then the bits of the indexes from the first on, lowest bit first.
local function in_bitmap(row, by_index, take)
  if not ones[0] then
    ones[0] = 0
    for byte = 1, 255 do ones[byte] = ones[math.floor(byte / 2)] + byte % 2 end
  end
  local first, bytes = struct.unpack("<I4I4", row, HEAD + 1)
  local values, at, before = HEAD + 8 + bytes, 0, 0
  for _, place in ipairs(by_index) do
    local bit = place[2] - first
    if bit >= 8 * bytes then return end
    if bit >= 0 then
      while at < math.floor(bit / 8) do
        before = before + ones[string.byte(row, HEAD + 9 + at)]
        at = at + 1
      end
      local byte, weight = string.byte(row, HEAD + 9 + at), 2 ^ (bit % 8)
      if math.floor(byte / weight) % 2 == 1 then take(place[1], values + 8 * (before + ones[byte % weight])) end
    end
  end
end

-- Pairs, of older code: the indexes of all, u32 LE, then the values of all.
local function in_pairs(row, by_index, take)
  local count = (#row - HEAD) / 12
  for _, place in ipairs(by_index) do
    local index = struct.pack("<I4", place[2])
    local at = string.find(row, index, HEAD + 1, true)
    while at and at <= HEAD + 4 * count do
      if (at - HEAD - 1) % 4 == 0 then
        take(place[1], HEAD + 4 * count + 2 * (at - HEAD - 1))
        break
      end
      at = string.find(row, index, at + 1, true)
    end
  end
end

-- List, of older code: the values in the order of a list; here: {{number of the series, offset}, ...}.
local function in_list(here, take)
  for _, place in ipairs(here) do take(place[1], place[2]) end
end
