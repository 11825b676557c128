-- Members of `active`, `dirty` and the worker map: `<run>/<number in ten digits>`.
local function of_member(member)
  return string.sub(member, 1, 24), int(string.sub(member, 26))
end
