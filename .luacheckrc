-- The Lua that Redis runs: 5.1, with what Redis adds, and without what it takes away.

-- A script is put together from parts in lua/lib and its own file. What the parts define at their outermost level, all of
-- them may use.
local shared = {}
for path in io.popen("ls lua/lib/*.lua 2>/dev/null"):lines() do
  local file = assert(io.open(path))
  local text = "\n" .. file:read("*a")
  file:close()
  for name in text:gmatch("\nlocal function ([%w_]+)") do
    shared[#shared + 1] = name
  end
  for names in text:gmatch("\nlocal ([%w_, \n]+) =") do
    for name in names:gmatch("[%w_]+") do
      shared[#shared + 1] = name
    end
  end
end

std = {
  read_globals = {
    "KEYS", "ARGV", "cjson", "cmsgpack", "bit", "struct",
    redis = {
      fields = {
        "call", "pcall", "error_reply", "status_reply", "sha1hex", "log",
        "LOG_DEBUG", "LOG_VERBOSE", "LOG_NOTICE", "LOG_WARNING",
        "REDIS_VERSION", "REDIS_VERSION_NUM",
      },
    },
    "assert", "error", "ipairs", "next", "pairs", "pcall", "select", "tonumber", "tostring", "type", "unpack",
    math = { other_fields = true }, string = { other_fields = true }, table = { other_fields = true },
  },
}
read_globals = shared
max_line_length = 140
-- A part is used by others.
files["lua/lib/*.lua"] = { ignore = { "211", "431" } }
