-- Statistics: ten counts, comma-separated: wins, losses, draws, crashes, time losses, five pair counts.

-- A list of numbers without its brackets is JSON without its brackets, which is read by C and not by patterns.
local function counts(text)
  return cjson.decode('[' .. text .. ']')
end

local function games_of(list)
  return list[1] + list[2] + list[3]
end
