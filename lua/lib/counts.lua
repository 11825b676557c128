-- Statistics: ten counts, comma-separated: wins, losses, draws, crashes, time losses, five pair counts.

local COUNTS = '^(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+),(%d+)$'

local function counts(text)
  local list = { string.match(text, COUNTS) }
  for i = 1, 10 do
    list[i] = tonumber(list[i])
  end
  return list
end

local function games_of(list)
  return list[1] + list[2] + list[3]
end
