-- Statistics: ten counts, comma-separated: wins, losses, draws, crashes, time losses, five pair counts.

local function counts(text)
  local list = {}
  for number in string.gmatch(text, '%d+') do
    list[#list + 1] = tonumber(number)
  end
  return list
end

local function games_of(list)
  return list[1] + list[2] + list[3]
end
